"""The weights of a teacher layer under one set of names, whatever its family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from nas_ray.modeling import Numerics
from nas_ray.teacher._source import activation


@dataclass(frozen=True)
class LayerWeights:
    """The linear maps and LayerNorms of one post-LayerNorm transformer layer."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    attention_norm: nn.LayerNorm
    up: nn.Linear
    down: nn.Linear
    output_norm: nn.LayerNorm


def numerics_of(config: Any) -> Numerics:
    """What students take over from a teacher of this configuration.

    Raises:
        TeacherError: its activation is not GELU.
    """
    return Numerics(activation(config), float(getattr(config, "layer_norm_eps", 1e-12)))


def layer_weights(layer: Any) -> LayerWeights:
    """The weights of one layer of BERT, RoBERTa, ELECTRA or DistilBERT."""
    attention = layer.attention
    if hasattr(attention, "q_lin"):  # DistilBERT
        return LayerWeights(
            attention.q_lin,
            attention.k_lin,
            attention.v_lin,
            attention.out_lin,
            layer.sa_layer_norm,
            layer.ffn.lin1,
            layer.ffn.lin2,
            layer.output_layer_norm,
        )
    own = attention.self
    return LayerWeights(
        own.query,
        own.key,
        own.value,
        attention.output.dense,
        attention.output.LayerNorm,
        layer.intermediate.dense,
        layer.output.dense,
        layer.output.LayerNorm,
    )


def weights_of(block: Any) -> list[LayerWeights]:
    """The weights of every layer of a teacher block."""
    return [layer_weights(layer) for layer in block.layers]
