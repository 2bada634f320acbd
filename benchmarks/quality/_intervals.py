"""Values of arms and paired differences between them, with 95 % intervals.

A measure is a weighted mean over buckets of test texts. A resample draws buckets, the same for all arms, and at each
size seeds, the same for both sides of a difference; random architectures are drawn themselves instead. Percentiles of
the resamples are the interval. Sizes are given, not drawn: a pooled value is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A value and where its 95 % lie."""

    value: float
    low: float
    high: float

    @property
    def excludes_0(self) -> bool:
        """Whether all of it lies on one side."""
        return self.low > 0 or self.high < 0


class Resamples:
    """Draws of the buckets of one measure, with their ``weights``; the first is the whole."""

    def __init__(self, weights: Sequence[float], seed: int = 0, count: int = _RESAMPLES) -> None:
        rng, size = np.random.default_rng([seed, 23]), len(weights)
        counts = np.stack([np.bincount(row, minlength=size) for row in rng.integers(size, size=(count, size))])
        weighted = np.concatenate([np.ones((1, size)), counts]) * np.asarray(weights)
        self._weights = weighted / weighted.sum(1, keepdims=True)
        self._rng, self.count = rng, count

    def means(self, buckets: Sequence[float]) -> Array:
        """The measure in the whole and in each draw ``(1 + count,)``."""
        found: Array = self._weights @ np.asarray(buckets)
        return found

    def seeds(self, runs: int) -> Array:
        """Weights ``(1 + count, runs)`` of so many seeds or architectures in each draw."""
        drawn = self._rng.integers(runs, size=(self.count, runs))
        counts = np.stack([np.bincount(row, minlength=runs) for row in drawn]) / runs
        return np.concatenate([np.full((1, runs), 1 / runs), counts])


def averaged(runs: Sequence[Array], weights: Array) -> Array:
    """The mean over runs in each draw."""
    found: Array = (np.stack(runs, axis=1) * weights).sum(1)
    return found


def interval(draws: Array) -> Interval:
    """Of draws whose first is the whole."""
    low, high = np.percentile(draws[1:], [2.5, 97.5])
    return Interval(float(draws[0]), float(low), float(high))
