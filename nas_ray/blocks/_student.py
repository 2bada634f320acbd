"""The student of a path architecture: embedding, maps at the seams, operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas_ray.modeling import Numerics, ReducedEmbedding, Seam, build_layer
from nas_ray.space import parse_operation


class PathStudent(nn.Module):
    """A whole encoder: ids and mask ``(batch, tokens)`` to ``(batch, tokens, hidden of the last slot)``."""

    def __init__(self, embedding: nn.Module, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.embedding = embedding
        self.stages = nn.ModuleList(stages)

    def encode(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Everything behind the embedding."""
        for stage in self.stages:
            hidden = stage(hidden, mask)
        return hidden

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.encode(self.embedding(ids), mask)


def layer_of(part: str, head_size: int) -> dict[str, Any]:
    """The layer, a kind and its sizes, of one part behind the embedding (``map:a-b`` or ``width:token``)."""
    kind, _, rest = part.partition(":")
    if kind == "map":
        before, after = (int(width) for width in rest.split("-"))
        return {"kind": "map", "before": before, "after": after}
    operation = parse_operation(rest, head_size)
    return {"kind": operation.kind, "width": int(kind), **operation.sizes}


def build_part(part: str, head_size: int, numerics: Numerics) -> nn.Module:
    """An untrained module for one part behind the embedding."""
    return build_layer(layer_of(part, head_size), numerics)


def build_student(
    parts: Sequence[str], vocab_size: int, num_positions: int, head_size: int, numerics: Numerics
) -> PathStudent:
    """An untrained student with the given parts, for measuring its speed."""
    size = int(parts[0].partition(":")[2])
    embedding = ReducedEmbedding(vocab_size, num_positions, size, numerics.norm_eps)
    return PathStudent(embedding, [build_part(part, head_size, numerics) for part in parts[1:]]).eval()


@torch.no_grad()
def linear_of(weight: Tensor, bias: Tensor) -> Seam:
    """A seam with the given ``(out, in)`` weight and bias."""
    seam = Seam(weight.shape[1], weight.shape[0])
    seam.weight.copy_(weight)
    seam.bias.copy_(bias)
    return seam
