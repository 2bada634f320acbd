"""From an architecture, or a stitched candidate, to a model of ``nas_ray.modeling``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import nn
from transformers import BertModel

from nas_ray.blocks import PathStudent, layer_of
from nas_ray.modeling import (
    Attention,
    FeedForward,
    NasRayConfig,
    NasRayModel,
    Numerics,
    ReducedEmbedding,
    Seam,
    describe_layer,
)
from nas_ray.space import Architecture, Path, Start, parts
from nas_ray.teacher import LayerWeights, Teacher, TeacherBlock, TeacherEmbedding, numerics_of, quiet, weights_of

_ACTIVATIONS = {"none": "gelu", "tanh": "gelu_new"}


def path_config(
    architecture: Architecture, teacher: Teacher, start: Start, frozen: Path | None, head_size: int
) -> NasRayConfig:
    """The configuration of ``architecture`` with the maps that ``start`` gives it; its parts are those that tables
    count. ``frozen`` is the path that copies the teacher's block."""
    size, *rest = parts(architecture, teacher.shape, start, frozen)
    layers = [layer_of(part, head_size) for part in rest]
    return _config(teacher, int(size.partition(":")[2]), layers, start, architecture.arch_id)


def untrained_model(config: NasRayConfig, seed: int) -> NasRayModel:
    """A model in evaluation mode with the papers' initialisation, a function of ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _settled(NasRayModel(config))


@torch.no_grad()
def scale_as(model: NasRayModel | BertModel, teacher: Teacher) -> None:
    """Let an untrained ``model`` that ends in a layer norm of the teacher's width say states of the teacher's scale.

    Gain and bias of that norm begin as the teacher's last ones. The learning rate bounds how far a gain moves in a
    step, so training on hidden states would spend its first thousand steps on a scale that is known. A map in the end
    begins near 0 and needs no help.
    """
    last = model.layers[-1:] if isinstance(model, NasRayModel) else model.encoder.layer[-1:]
    norms = [module for module in last.modules() if isinstance(module, nn.LayerNorm)]
    theirs = weights_of(teacher.blocks[-1])[-1].output_norm
    if norms and norms[-1].normalized_shape == theirs.normalized_shape:
        norms[-1].load_state_dict(theirs.state_dict())


@torch.no_grad()
def stitched_model(student: PathStudent, teacher: Teacher, start: Start, arch_id: str) -> NasRayModel:
    """A model in evaluation mode with the weights of ``student``; outputs are equal within 1e-5 in fp32.

    The teacher's own embedding and blocks, where the student has them, are written as parts of a path student: token
    types are folded into the positions. With start ``scratch`` a stitched student has a map at every seam, more than
    the costs of its architecture count.
    """
    embedding, layers = _embedding(student.embedding, teacher)
    for stage in student.stages:
        layers += _layers(stage, teacher)
    config = _config(
        teacher, embedding.words.embedding_dim, [describe_layer(found) for found in layers], start, arch_id
    )
    with torch.device("meta"):
        model = NasRayModel(config)
    model.embedding, model.layers = embedding, nn.ModuleList(layers)
    model.requires_grad_(True)
    return _settled(model)


def save_model(model: Any, folder: FilePath) -> None:
    """Write the configuration and the weights of ``model``."""
    with quiet():
        model.save_pretrained(folder)


def _config(
    teacher: Teacher, embedding_size: int, layers: Sequence[dict[str, Any]], start: Start, arch_id: str
) -> NasRayConfig:
    numerics = numerics_of(teacher.config)
    return NasRayConfig(
        vocab_size=teacher.shape.vocab_size,
        max_position_embeddings=teacher.shape.num_positions,
        embedding_size=embedding_size,
        layers=list(layers),
        hidden_act=_ACTIVATIONS[numerics.gelu],
        layer_norm_eps=numerics.norm_eps,
        start=start,
        arch_id=arch_id,
        pad_token_id=teacher.config.pad_token_id,
    )


def _embedding(found: nn.Module, teacher: Teacher) -> tuple[ReducedEmbedding, list[nn.Module]]:
    """The student's embedding, and the map behind it where the teacher has one (ELECTRA's small embeddings)."""
    if isinstance(found, ReducedEmbedding):
        return copy.deepcopy(found), []
    assert isinstance(found, TeacherEmbedding), "students have an embedding of their own or the teacher's"
    words, positions = found.tables(teacher.shape.num_positions)
    own = ReducedEmbedding(len(words), len(positions), words.shape[1], numerics_of(teacher.config).norm_eps)
    own.words.weight.copy_(words)
    own.positions.weight.copy_(positions)
    own.norm.load_state_dict(found.embeddings.LayerNorm.state_dict())
    return own, [] if found.project is None else [_seam(found.project)]


def _layers(stage: nn.Module, teacher: Teacher) -> list[nn.Module]:
    if not isinstance(stage, TeacherBlock):
        return [copy.deepcopy(stage)]
    numerics = numerics_of(teacher.config)
    heads = teacher.shape.heads
    return [module for layer in weights_of(stage) for module in _copied(layer, heads, numerics)]


def _copied(layer: LayerWeights, heads: int, numerics: Numerics) -> tuple[nn.Module, nn.Module]:
    """One layer of the teacher as attention and feed-forward operations."""
    width, inner = layer.up.in_features, layer.query.out_features
    attention = Attention(width, heads, inner // heads, numerics)
    projections = (layer.query, layer.key, layer.value)
    attention.qkv.weight.copy_(torch.cat([part.weight for part in projections]))
    attention.qkv.bias.copy_(torch.cat([part.bias for part in projections]))
    feed_forward = FeedForward(width, layer.up.out_features // width, numerics)
    for module, found in (
        (attention.output, layer.attention_output),
        (attention.norm, layer.attention_norm),
        (feed_forward.up, layer.up),
        (feed_forward.down, layer.down),
        (feed_forward.norm, layer.output_norm),
    ):
        module.load_state_dict(found.state_dict())
    return attention, feed_forward


def _settled(model: NasRayModel) -> NasRayModel:
    """``model``, which computes as when it is used: without dropout."""
    nn.Module.eval(model)
    return model


def _seam(linear: Any) -> Seam:
    seam = Seam(linear.in_features, linear.out_features)
    seam.load_state_dict(linear.state_dict())
    return seam
