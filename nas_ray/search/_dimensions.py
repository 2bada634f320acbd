"""Typed dimensions: what a searcher may know of a search space beside its candidates.

A space says which dimensions it has and translates candidates to values of them and back (`Encoding`). What is not
active (its ``when`` does not hold) has no value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from nas_ray.errors import SpaceError
from nas_ray.search._searcher import A

Value = str | int | float
Values = Mapping[str, Value]


@dataclass(frozen=True)
class When:
    """Holds where the dimension ``name`` is active and has one of ``values``."""

    name: str
    values: tuple[Value, ...]

    def holds(self, chosen: Values) -> bool:
        return chosen.get(self.name) in self.values


@dataclass(frozen=True)
class Categorical:
    """One of ``values``; of ``ordered`` ones, which must be numbers, neighbours are alike."""

    name: str
    values: tuple[Value, ...]
    ordered: bool = False
    when: When | None = None
    group: str = ""
    """Dimensions of one group act together, like the layers of a block; dimensions without one stand alone."""

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise SpaceError(f"dimension '{self.name}': found {self.values}; accepted: one or more different values.")
        if self.ordered and any(isinstance(value, str) for value in self.values):
            raise SpaceError(f"dimension '{self.name}': found {self.values}; accepted: numbers, where ordered.")


@dataclass(frozen=True)
class Integer:
    """A whole number from ``low`` to ``high``, both included; ``log``: even over the logarithm."""

    name: str
    low: int
    high: int
    log: bool = False
    when: When | None = None
    group: str = ""

    def __post_init__(self) -> None:
        _check_range(self)


@dataclass(frozen=True)
class Float:
    """A number from ``low`` to ``high``; ``log``: even over the logarithm. Six significant digits are kept."""

    name: str
    low: float
    high: float
    log: bool = False
    when: When | None = None
    group: str = ""

    def __post_init__(self) -> None:
        _check_range(self)


Dimension = Categorical | Integer | Float


class Encoding(Protocol[A]):
    """Both directions: ``decode(encode(a)) == a`` for members, and whatever is decoded is a member.

    ``decode`` takes a value for every dimension, active or not.
    """

    @property
    def dimensions(self) -> tuple[Dimension, ...]: ...

    def encode(self, architecture: A) -> Values: ...

    def decode(self, values: Values) -> A: ...


def position(dimension: Dimension, value: Value) -> float:
    """Where ``value`` stands in its dimension, from 0 to 1; of unordered values, 0."""
    if isinstance(dimension, Categorical):
        if not dimension.ordered or len(dimension.values) < 2:
            return 0.0
        return dimension.values.index(value) / (len(dimension.values) - 1)
    low, high, at = float(dimension.low), float(dimension.high), float(value)
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low) if high > low else 0.0


def check_dimensions(dimensions: Iterable[Dimension]) -> None:
    """Refuse equal names, and conditions on what does not come before.

    Raises:
        SpaceError: names the dimension and what is accepted.
    """
    known: set[str] = set()
    for dimension in dimensions:
        if dimension.name in known:
            raise SpaceError(f"dimension '{dimension.name}': found twice; accepted: every name once.")
        if dimension.when is not None and dimension.when.name not in known:
            raise SpaceError(
                f"dimension '{dimension.name}': found a condition on '{dimension.when.name}'; "
                f"accepted: a dimension before it ({', '.join(known) or 'none'})."
            )
        known.add(dimension.name)


def _check_range(dimension: Integer | Float) -> None:
    low, high = dimension.low, dimension.high
    if not (math.isfinite(low) and math.isfinite(high) and low <= high and (low > 0 or not dimension.log)):
        accepted = "0 < low <= high" if dimension.log else "low <= high"
        raise SpaceError(f"dimension '{dimension.name}': found {low} to {high}; accepted: {accepted}.")
