"""A teacher cut into an embedding and blocks whose composition is the uncut encoder, to the bit on CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.masking_utils import create_bidirectional_mask

from nas_ray.errors import TeacherError
from nas_ray.space import TeacherShape
from nas_ray.teacher._source import TeacherSource, check_blocks, first_line, quiet, teacher_shape


class TeacherEmbedding(nn.Module):
    """Token ids ``(batch, tokens)`` to hidden states ``(batch, tokens, hidden)``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.project: nn.Module | None = getattr(model, "embeddings_project", None)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embeddings(input_ids=ids)
        return hidden if self.project is None else self.project(hidden)  # type: ignore[no-any-return]

    def tables(self, num_tokens: int) -> tuple[Tensor, Tensor]:
        """Word vectors ``(vocab, size)`` and what is added at each of ``num_tokens`` positions, before LayerNorm."""
        position = self.embeddings.position_embeddings.weight
        first = self.embeddings.padding_idx + 1 if hasattr(self.embeddings, "padding_idx") else 0
        added = position[first : first + num_tokens]
        types = getattr(self.embeddings, "token_type_embeddings", None)
        return self.embeddings.word_embeddings.weight, added if types is None else added + types.weight[0]


class TeacherBlock(nn.Module):
    """Consecutive layers of the teacher: hidden states ``(batch, tokens, hidden)`` to the same shape."""

    def __init__(self, layers: list[nn.Module], config: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.config = config

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask`` ``(batch, tokens)`` is 1 where there is text, or None."""
        bias = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=mask)
        for layer in self.layers:
            hidden = layer(hidden, bias)
        return hidden


@dataclass(frozen=True)
class Teacher:
    """The parts of a teacher and its sizes."""

    embedding: TeacherEmbedding
    blocks: tuple[TeacherBlock, ...]
    shape: TeacherShape
    config: Any

    def hidden_states(self, ids: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The embedding's output and every block's, each ``(batch, tokens, hidden)``."""
        states = [self.embedding(ids)]
        for block in self.blocks:
            states.append(block(states[-1], mask))
        return states


def load_model(source: TeacherSource) -> Any:
    """The uncut encoder in fp32 and evaluation mode, without a pooler.

    Raises:
        TeacherError: the weights cannot be loaded, or some of the encoder's are not in the files.
    """
    config = source.config
    extra: dict[str, Any] = {} if config.model_type in ("distilbert", "electra") else {"add_pooling_layer": False}
    return load_weights(AutoModel, source, "encoder", "a folder that save_pretrained wrote", **extra)


def load_weights(
    kind: Any,
    source: TeacherSource,
    part: str,
    accepted: str,
    *,
    new_head: bool = False,
    what: str = "teacher",
    **options: Any,
) -> Any:
    """The model of transformers' class ``kind`` at ``source``, all of its weights, in fp32 and evaluation mode.

    With ``new_head`` what is no part of the encoder may be missing, and is initialised.

    Raises:
        TeacherError: they cannot be loaded, or some are not in the files; names ``what`` it is, the ``part`` and the
            ``accepted``.
    """
    try:
        with quiet():
            model, report = kind.from_pretrained(
                source.location, dtype=torch.float32, output_loading_info=True, **options
            )
    except Exception as error:  # safetensors, pickle and zip files each raise their own
        raise TeacherError(
            f"the weights of {what} '{source.location}' cannot be loaded: {first_line(error)}"
        ) from error
    encoder = f"{model.base_model_prefix}." if new_head else ""
    other_shape = [mismatch[0] for mismatch in report["mismatched_keys"]]  # these are filled with random numbers, too
    missing = sorted(name for name in [*report["missing_keys"], *other_shape] if name.startswith(encoder))
    if new_head:  # BERT's own heads for sequences keep a part of theirs in the encoder
        missing = [name for name in missing if not name.startswith(f"{encoder}pooler.")]
    if missing:  # transformers fills them with random numbers
        raise TeacherError(
            f"the weights of {what} '{source.location}' lack {len(missing)} tensors of the {part}, the first "
            f"'{missing[0]}'; accepted: {accepted}."
        )
    return model.eval().requires_grad_(False)


def load_teacher(source: TeacherSource, num_blocks: int) -> Teacher:
    """The teacher at ``source`` cut into ``num_blocks`` equal blocks.

    Raises:
        TeacherError: it cannot be loaded, or its layers do not divide.
    """
    check_blocks(int(source.config.num_hidden_layers), num_blocks)
    return cut(load_model(source), num_blocks)


def cut(model: Any, num_blocks: int) -> Teacher:
    """Cut an encoder of a supported family; the parts share its weights."""
    layers = list((model.transformer if hasattr(model, "transformer") else model.encoder).layer)
    size = len(layers) // num_blocks
    blocks = tuple(TeacherBlock(layers[i * size : (i + 1) * size], model.config) for i in range(num_blocks))
    embedding = TeacherEmbedding(model)
    config = model.config
    shape = teacher_shape(config)
    return Teacher(embedding, blocks, shape, config)
