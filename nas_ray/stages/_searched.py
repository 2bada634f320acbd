"""What is searched: the space that the tables cover, alone or beside hyperparameters of distillation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nas_ray.errors import TableError
from nas_ray.search import Candidate, Categorical, Dimension, DimensionSpace, Float, Joint, JointSpace, Point
from nas_ray.space import Architecture
from nas_ray.spec import Range
from nas_ray.stages._context import Context
from nas_ray.tables import QualityTable


@dataclass(frozen=True)
class Searched:
    """What is searched: architectures, or architectures beside hyperparameters of their training."""

    space: Any
    middle: Point | None
    table_costs: Callable[[Architecture], Mapping[str, float]]
    predicted: Callable[[Architecture], float | None]

    def candidate(self, architecture: Architecture) -> Candidate:
        """``architecture`` with the middle of every hyperparameter."""
        return architecture if self.middle is None else Joint(architecture, self.middle)

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        """By the tables."""
        return self.table_costs(_architecture(candidate))

    def prior(self, candidate: Candidate) -> float | None:
        """The tables' prediction of its loss."""
        return self.predicted(_architecture(candidate))


def searched_space(context: Context) -> Searched:
    """Architectures; beside them what `search.distill` leaves open."""
    space, distill = scored_space(context), context.spec.search.distill
    middle = None
    if distill is not None and distill.searched:
        points = DimensionSpace([dimension_of(name, values) for name, values in distill.searched.items()])
        space, middle = JointSpace(space, points), points.decode(distill.middle)
    return Searched(space, middle, context.costs.of, lambda architecture: table_loss(context, architecture))


def dimension_of(name: str, values: Range | tuple[int, ...]) -> Dimension:
    """A searched hyperparameter as a dimension of a space."""
    if isinstance(values, Range):
        return Float(name, values.low, values.high, log=values.log)
    return Categorical(name, tuple(sorted(values)), ordered=True)


def _architecture(candidate: Candidate) -> Architecture:
    found = candidate.architecture if isinstance(candidate, Joint) else candidate
    assert isinstance(found, Architecture), "table runs search paths"
    return found


def quality(context: Context) -> QualityTable:
    """The quality table, read once."""
    if "quality" not in context.cache:
        context.cache["quality"] = QualityTable.read(context.path("tables/quality.parquet"))
    table: QualityTable = context.cache["quality"]
    return table


def scored_space(context: Context) -> Any:
    """The space restricted to the paths that have a loss, unless rungs of block losses judge the others."""
    losses = quality(context).losses[1:]
    if context.spec.search.block_rungs or all(len(found) == len(context.space.paths) for found in losses):
        return context.space
    return context.space.restrict([frozenset(found) for found in losses])


def table_loss(context: Context, architecture: Architecture) -> float | None:
    """The summed loss, or None for a reference whose paths were not scored."""
    try:
        return quality(context).total(architecture)
    except TableError:
        return None
