"""Plain encoders of a uniform architecture: real BERT models, as transformers builds them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer, BertLMPredictionHead

from nas_ray.modeling import Numerics
from nas_ray.space import UniformArchitecture

_ACTIVATIONS = {"none": "gelu", "tanh": "gelu_new"}


class UniformStudent(nn.Module):
    """A plain encoder: ids and mask ``(batch, tokens)`` to hidden states ``(batch, tokens, hidden)``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        encoder: Any = BertModel(config, add_pooling_layer=False)
        self.encoder = encoder.eval()

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        found = self.encoder(input_ids=ids, attention_mask=None if mask is None else mask.long())
        return found.last_hidden_state  # type: ignore[no-any-return]


def uniform_config(
    architecture: UniformArchitecture, vocab_size: int, num_positions: int, numerics: Numerics
) -> BertConfig:
    """The configuration of ``architecture``."""
    config = BertConfig(
        vocab_size=vocab_size,
        max_position_embeddings=num_positions,
        num_hidden_layers=architecture.depth,
        num_attention_heads=architecture.heads,
        hidden_size=architecture.hidden,
        intermediate_size=architecture.intermediate,
        hidden_act=_ACTIVATIONS[numerics.gelu],
        layer_norm_eps=numerics.norm_eps,
    )
    config._attn_implementation = "sdpa"
    return config


def build_uniform(config: BertConfig, seed: int) -> UniformStudent:
    """An untrained student in evaluation mode; its weights, N(0, 0.02), are a function of ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UniformStudent(config)


def build_prediction_head(config: BertConfig, words: nn.Parameter, seed: int) -> nn.Module:
    """BERT's masked-LM head ``(..., hidden)`` to ``(..., vocab)``, its decoder tied to the student's ``words``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head: Any = BertLMPredictionHead(config)  # type: ignore[no-untyped-call]
        head.transform.dense.weight.data.normal_(0.0, config.initializer_range)
        head.transform.dense.bias.data.zero_()
    head.decoder.weight = words
    head.decoder.bias.data.zero_()
    return head.eval()  # type: ignore[no-any-return]


def build_layer(config: BertConfig) -> nn.Module:
    """One layer of such an encoder, for measuring its speed."""
    layer: Any = BertLayer(config)  # type: ignore[no-untyped-call]
    return layer.eval()  # type: ignore[no-any-return]
