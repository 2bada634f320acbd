"""How truly a score ranks paths: Kendall's tau against stand-alone training, with its interval.

A table's scores are read from shared weights; the losses they stand for come from training each path alone. Pairs are
compared inside a block only and pooled over blocks. Intervals are percentile bootstraps over the paths of each block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_RESAMPLES = 2000
_LEVEL = 0.95


@dataclass(frozen=True)
class Tau:
    """Kendall's tau-b over ``pairs`` pairs; ``low`` and ``high`` bound its 95 % interval."""

    value: float
    low: float
    high: float
    pairs: int


def kendall_tau(
    score: Mapping[int, Sequence[float]],
    truth: Mapping[int, Sequence[float]],
    *,
    within: tuple[Mapping[int, Sequence[float]], float] | None = None,
    seed: int = 0,
) -> Tau:
    """Tau-b of ``score`` against ``truth``, both by block and in the same order of paths.

    ``within`` (sizes by block, share) compares only pairs whose sizes differ by at most that share of the larger.
    """
    blocks = [_Pairs.of(score[b], truth[b], None if within is None else (within[0][b], within[1])) for b in truth]
    rng = np.random.default_rng([seed, 11])
    draws = [
        _pooled([pairs.weighted(rng.integers(len(pairs.order), size=len(pairs.order))) for pairs in blocks])
        for _ in range(_RESAMPLES)
    ]
    known = np.array([draw for draw in draws if not np.isnan(draw)])
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]) if len(known) else (np.nan, np.nan)
    value = _pooled([pairs.weighted(np.arange(len(pairs.order))) for pairs in blocks])
    return Tau(value, float(low), float(high), sum(int(np.triu(pairs.counted, 1).sum()) for pairs in blocks))


@dataclass(frozen=True)
class _Pairs:
    """Signs of all differences of one block: ``(paths, paths)``."""

    order: Values
    truth: Values
    counted: NDArray[np.bool_]

    @classmethod
    def of(cls, score: Sequence[float], truth: Sequence[float], within: tuple[Sequence[float], float] | None) -> _Pairs:
        a, b = np.asarray(score, float), np.asarray(truth, float)
        counted = ~np.eye(len(a), dtype=bool)
        if within is not None:
            sizes = np.asarray(within[0], float)
            gap = np.abs(sizes[:, None] - sizes[None, :])
            counted &= gap <= within[1] * np.maximum(sizes[:, None], sizes[None, :])
        return cls(np.sign(a[:, None] - a[None, :]), np.sign(b[:, None] - b[None, :]), counted)

    def weighted(self, chosen: NDArray[np.int64]) -> tuple[float, float, float]:
        """Agreement, and the pairs not tied in the score and in the truth, of a resample of the paths."""
        weight = np.bincount(chosen, minlength=len(self.order)).astype(float)
        pairs = np.outer(weight, weight) * self.counted
        a, b = self.order, self.truth
        return float((pairs * a * b).sum()), float((pairs * a * a).sum()), float((pairs * b * b).sum())


def _pooled(sums: Sequence[tuple[float, float, float]]) -> float:
    agreement, untied_score, untied_truth = (sum(column) for column in zip(*sums, strict=True))
    scale = (untied_score * untied_truth) ** 0.5
    return agreement / scale if scale else float("nan")
