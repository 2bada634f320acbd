"""What a search optimises and what it must keep to; metrics are named as in the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nas_ray.errors import SpecError, unknown

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it improves, as in Ray Tune."""

    metric: str
    mode: Mode = "min"

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise SpecError(unknown("mode", self.mode, ("min", "max")), key="objectives")

    def minimised(self, metrics: Mapping[str, float]) -> float:
        """The value with the sign under which smaller is better."""
        value = _read(metrics, self.metric, "objectives")
        return value if self.mode == "min" else -value


@dataclass(frozen=True)
class Constraint:
    """``metric`` must be at most ``bound``."""

    metric: str
    bound: float

    def violation(self, metrics: Mapping[str, float]) -> float:
        """0 where the constraint holds, else the excess relative to the bound; infinity for NaN."""
        value = _read(metrics, self.metric, "constraints")
        if math.isnan(value):
            return math.inf
        return max(0.0, value - self.bound) / (abs(self.bound) or 1.0)


def minimised(objectives: Sequence[Objective], metrics: Mapping[str, float]) -> tuple[float, ...]:
    """The objective values of ``metrics``, smaller is better.

    Raises:
        SpecError: an objective's metric is not among ``metrics``.
    """
    return tuple(objective.minimised(metrics) for objective in objectives)


def violation(constraints: Sequence[Constraint], metrics: Mapping[str, float]) -> float:
    """Sum of the relative excesses; 0 if and only if every constraint holds.

    Raises:
        SpecError: a constraint's metric is not among ``metrics``.
    """
    return sum((constraint.violation(metrics) for constraint in constraints), 0.0)


def _read(metrics: Mapping[str, float], metric: str, key: str) -> float:
    if metric not in metrics:
        raise SpecError(unknown("metric", metric, metrics), key=key)
    return float(metrics[metric])
