"""The student of a path architecture: embedding, maps at the seams, operations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_ray.blocks._operations import Numerics, build_operation
from nas_ray.space import parse_operation


class ReducedEmbedding(nn.Module):
    """Words and positions at a size of their own: ids ``(batch, tokens)`` to ``(batch, tokens, size)``."""

    def __init__(self, vocab_size: int, num_positions: int, size: int, norm_eps: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, size)
        self.positions = nn.Embedding(num_positions, size)
        self.norm = nn.LayerNorm(size, eps=norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        return self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])  # type: ignore[no-any-return]


class Seam(nn.Linear):
    """The affine map between two slots."""


class PathStudent(nn.Module):
    """A whole encoder: ids and mask ``(batch, tokens)`` to ``(batch, tokens, hidden of the last slot)``."""

    def __init__(self, embedding: nn.Module, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.embedding = embedding
        self.stages = nn.ModuleList(stages)

    def encode(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Everything behind the embedding."""
        for stage in self.stages:
            hidden = stage(hidden) if isinstance(stage, Seam) else stage(hidden, mask)
        return hidden

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.encode(self.embedding(ids), mask)


def build_part(part: str, head_size: int, numerics: Numerics) -> nn.Module:
    """An untrained module for one part behind the embedding (``map:a-b`` or ``width:token``)."""
    kind, _, rest = part.partition(":")
    if kind == "map":
        a, b = (int(width) for width in rest.split("-"))
        return Seam(a, b)
    return build_operation(int(kind), parse_operation(rest, head_size), numerics)


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
