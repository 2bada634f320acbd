"""Size and speed of plain encoders: closed forms, and a table of layer latencies (papers: Bort's surrogates)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas_ray.space import TeacherShape, UniformArchitecture, UniformSpace
from nas_ray.tables._parts import PartTable


@dataclass(frozen=True)
class Surrogates:
    """Size and operations of a plain encoder in closed form, under one vocabulary and length of text."""

    vocab_size: int
    num_positions: int
    sequence_length: int
    num_token_types: int = 2

    def encoder_params(self, a: UniformArchitecture) -> int:
        """Weights without embeddings: four projections, two feed-forward layers, two LayerNorms a layer."""
        h, i = a.hidden, a.intermediate
        return a.depth * (4 * h * h + 2 * h * i + 9 * h + i)

    def params(self, a: UniformArchitecture) -> int:
        """All weights of the backbone: words, positions, token types and their LayerNorm, and the encoder."""
        rows = self.vocab_size + self.num_positions + self.num_token_types
        return (rows + 2) * a.hidden + self.encoder_params(a)

    def operations(self, a: UniformArchitecture) -> int:
        """Additions and multiplications of all matrix products of one sequence, D (8 L H^2 + 4 L^2 H + 4 L H I)."""
        n, h = self.sequence_length, a.hidden
        return a.depth * (8 * n * h * h + 4 * n * n * h + 4 * n * h * a.intermediate)

    def of(self, a: UniformArchitecture) -> dict[str, float]:
        """Every cost in closed form, by name."""
        return {"encoder_params": self.encoder_params(a), "params": self.params(a), "flops": self.operations(a)}


@dataclass(frozen=True)
class UniformCosts:
    """All costs of plain encoders: sizes and FLOPs in closed form, milliseconds from the table."""

    surrogates: Surrogates
    latency: PartTable

    def of(self, a: UniformArchitecture) -> dict[str, float]:
        """Every cost by name.

        Raises:
            TableError: the latency table lacks a part.
        """
        return {**self.surrogates.of(a), "latency_ms": self.latency.total(uniform_parts(a))}


def uniform_parts(a: UniformArchitecture) -> tuple[str, ...]:
    """The parts that latency adds up over: the embedding, then one whole layer for each of the depth."""
    return (f"embedding:{a.hidden}", *[f"layer:A{a.heads}-H{a.hidden}-I{a.intermediate}"] * a.depth)


def all_uniform_parts(space: UniformSpace, maximum: UniformArchitecture) -> tuple[str, ...]:
    """Every part of any architecture of the space and of the maximum point, sorted."""
    return tuple(sorted({part for a in (*space.architectures, maximum) for part in uniform_parts(a)}))


def parse_layer(part: str) -> UniformArchitecture:
    """The one-layer encoder that the key ``layer:A<heads>-H<hidden>-I<intermediate>`` names."""
    heads, hidden, intermediate = (int(size[1:]) for size in part.removeprefix("layer:").split("-"))
    return UniformArchitecture(1, heads, hidden, intermediate)


def maximum_point(shape: TeacherShape) -> UniformArchitecture:
    """The teacher as a tuple: the maximum point that others are measured against."""
    return UniformArchitecture(shape.num_layers, shape.heads, shape.hidden, shape.intermediate)


def uniform_of(parts: Sequence[str]) -> UniformArchitecture:
    """The architecture whose ``uniform_parts`` these are."""
    return replace(parse_layer(parts[1]), depth=len(parts) - 1)
