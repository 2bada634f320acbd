"""Spaces made of typed dimensions: hyperparameters by themselves, or beside an architecture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import numpy as np

from nas_ray.errors import SpaceError
from nas_ray.search._dimensions import (
    Categorical,
    Dimension,
    Float,
    Integer,
    Value,
    Values,
    check_dimensions,
    position,
)
from nas_ray.search._encoding import make_encoding
from nas_ray.search._searcher import A, Space

_STEP = 0.15  # standard deviation of a mutation, as a share of a dimension's range
_DIGITS = 6
_TRIES = 32


@dataclass(frozen=True)
class Point:
    """A value for each active dimension, in the order of the dimensions."""

    items: tuple[tuple[str, Value], ...]

    def __getitem__(self, name: str) -> Value:
        return dict(self.items)[name]

    @cached_property
    def arch_id(self) -> str:
        """Canonical: equal points have equal ids, whatever they were made from."""
        return json.dumps(dict(self.items), sort_keys=True, separators=(",", ":"))


class DimensionSpace:
    """All points of ``dimensions``; one with a condition has a value only where that holds."""

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        check_dimensions(dimensions)
        self.dimensions = tuple(dimensions)

    def contains(self, architecture: Point) -> bool:
        values = dict(architecture.items)
        active = [d for d in self.dimensions if _is_active(d, values)]
        if [d.name for d in active] != [name for name, _ in architecture.items]:
            return False
        return all(_is_allowed(d, values[d.name]) for d in active)

    def sample(self, rng: np.random.Generator) -> Point:
        """Even over each dimension (over its logarithm, where it says so)."""
        return self.decode({d.name: _sampled(d, rng) for d in self.dimensions})

    def mutate(self, architecture: Point, rng: np.random.Generator) -> Point:
        """Another value of one active dimension, near where values are ordered; what that activates is sampled."""
        values = {d.name: _sampled(d, rng) for d in self.dimensions} | dict(architecture.items)
        active = [d for d in self.dimensions if d.name in dict(architecture.items) and _is_choice(d)]
        if active:
            chosen = active[int(rng.integers(len(active)))]
            values[chosen.name] = _changed(chosen, values[chosen.name], rng)
        return self.decode(values)

    def crossover(self, a: Point, b: Point, rng: np.random.Generator) -> Point:
        """Each value from one of the parents that have it."""
        values: dict[str, Value] = {}
        for dimension in self.dimensions:
            known = [dict(parent.items)[dimension.name] for parent in (a, b) if dimension.name in dict(parent.items)]
            drawn = _sampled(dimension, rng)
            values[dimension.name] = known[int(rng.integers(len(known)))] if known else drawn
        return self.decode(values)

    def encode(self, architecture: Point) -> Values:
        return dict(architecture.items)

    def decode(self, values: Values) -> Point:
        """The point of ``values``: inactive dimensions left out, numbers moved into their range."""
        kept: dict[str, Value] = {}
        for dimension in self.dimensions:
            if _is_active(dimension, kept):
                kept[dimension.name] = _clean(dimension, values[dimension.name])
        return Point(tuple(kept.items()))

    def members(self, most: int) -> Iterator[Point]:
        """Every point, if all dimensions are discrete and have at most ``most`` combinations; else none."""
        if math.prod(_size(d) for d in self.dimensions) <= most:
            yield from (Point(tuple(items.items())) for items in self._extended({}, 0))

    def _extended(self, before: dict[str, Value], place: int) -> Iterator[dict[str, Value]]:
        if place == len(self.dimensions):
            yield before
            return
        dimension = self.dimensions[place]
        if not _is_active(dimension, before):
            yield from self._extended(before, place + 1)
            return
        for value in _listed(dimension):
            yield from self._extended({**before, dimension.name: value}, place + 1)


@dataclass(frozen=True)
class Joint(Generic[A]):
    """An architecture and a point beside it."""

    architecture: A
    point: Point

    @property
    def arch_id(self) -> str:
        return f"{self.architecture.arch_id} {self.point.arch_id}"


class JointSpace(Generic[A]):
    """Every architecture of one space with every point of another, such as those of training."""

    def __init__(self, architectures: Space[A], points: DimensionSpace) -> None:
        self.architectures, self.points = architectures, points
        self._encoding = make_encoding(architectures)
        self.dimensions: tuple[Dimension, ...] = (*self._encoding.dimensions, *points.dimensions)
        check_dimensions(self.dimensions)

    def contains(self, architecture: Joint[A]) -> bool:
        return self.architectures.contains(architecture.architecture) and self.points.contains(architecture.point)

    def sample(self, rng: np.random.Generator) -> Joint[A]:
        return Joint(self.architectures.sample(rng), self.points.sample(rng))

    def mutate(self, architecture: Joint[A], rng: np.random.Generator) -> Joint[A]:
        """One of the two halves, mutated."""
        if rng.random() < 0.5:
            return Joint(self.architectures.mutate(architecture.architecture, rng), architecture.point)
        return Joint(architecture.architecture, self.points.mutate(architecture.point, rng))

    def crossover(self, a: Joint[A], b: Joint[A], rng: np.random.Generator) -> Joint[A]:
        half = self.architectures.crossover(a.architecture, b.architecture, rng)
        return Joint(half, self.points.crossover(a.point, b.point, rng))

    def encode(self, architecture: Joint[A]) -> Values:
        return {**self._encoding.encode(architecture.architecture), **self.points.encode(architecture.point)}

    def decode(self, values: Values) -> Joint[A]:
        return Joint(self._encoding.decode(values), self.points.decode(values))


def _is_active(dimension: Dimension, chosen: Values) -> bool:
    return dimension.when is None or dimension.when.holds(chosen)


def _is_allowed(dimension: Dimension, value: Value) -> bool:
    try:
        return type(cleaned := _clean(dimension, value)) is type(value) and cleaned == value
    except (SpaceError, TypeError, ValueError):
        return False


def _is_choice(dimension: Dimension) -> bool:
    return len(dimension.values) > 1 if isinstance(dimension, Categorical) else dimension.low < dimension.high


def _clean(dimension: Dimension, value: Value) -> Value:
    if isinstance(dimension, Categorical):
        if value not in dimension.values:
            raise SpaceError(f"dimension '{dimension.name}': found {value!r}; accepted: {dimension.values}.")
        return dimension.values[dimension.values.index(value)]
    if isinstance(dimension, Integer):
        return min(max(round(float(value)), dimension.low), dimension.high)
    rounded = float(f"{float(value):.{_DIGITS}g}")
    return min(max(rounded, float(dimension.low)), float(dimension.high))


def _at(dimension: Integer | Float, share: float) -> Value:
    """The value at ``share`` of the range, from 0 to 1."""
    low, high = float(dimension.low), float(dimension.high)
    if isinstance(dimension, Integer):
        low, high = low - 0.499, high + 0.499  # every number has its own stretch
    if dimension.log:
        return _clean(dimension, math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
    return _clean(dimension, low + share * (high - low))


def _sampled(dimension: Dimension, rng: np.random.Generator) -> Value:
    share = float(rng.random())
    if isinstance(dimension, Categorical):
        return dimension.values[int(share * len(dimension.values))]
    return _at(dimension, share)


def _changed(dimension: Dimension, value: Value, rng: np.random.Generator) -> Value:
    """Another value of a dimension that has more than one."""
    if isinstance(dimension, Categorical):
        others = [other for other in dimension.values if other != value]
        if dimension.ordered and rng.random() < 0.7:
            near = dimension.values.index(value)
            others = [*dimension.values[max(0, near - 1) : near], *dimension.values[near + 1 : near + 2]]
        return others[int(rng.integers(len(others)))]
    for _ in range(_TRIES):
        share = position(dimension, value) + float(rng.normal()) * _STEP
        found = _at(dimension, min(1.0, max(0.0, share)))
        if isinstance(dimension, Integer) and found == value:
            found = _clean(dimension, int(value) + (1 if rng.random() < 0.5 else -1))
        if found != value:
            return found
    return value  # the range is narrower than the digits kept


def _size(dimension: Dimension) -> float:
    if isinstance(dimension, Categorical):
        return len(dimension.values)
    return dimension.high - dimension.low + 1 if isinstance(dimension, Integer) else math.inf


def _listed(dimension: Dimension) -> Sequence[Value]:
    if isinstance(dimension, Categorical):
        return dimension.values
    return range(int(dimension.low), int(dimension.high) + 1)
