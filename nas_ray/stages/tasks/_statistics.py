"""What several seeds say together, and how sure one difference is over examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import numpy as np

_LEVEL = 0.95
_RESAMPLES = 1000


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation, and the interval of 95 % that Student's t gives the mean; no more than the mean of a
    single value."""
    mean = fmean(values)
    if len(values) < 2:
        return {"mean": mean, "deviation": None, "low": None, "high": None}
    from scipy.stats import t

    deviation = stdev(values)
    half = float(t.ppf((1 + _LEVEL) / 2, len(values) - 1)) * deviation / sqrt(len(values))
    return {"mean": mean, "deviation": deviation, "low": mean - half, "high": mean + half}


def spreads(scores: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The same of every metric."""
    return {name: spread([found[name] for found in scores]) for name in scores[0]}


def verdict(differences: Sequence[float]) -> dict[str, Any]:
    """``spread`` of differences in pairs, and what it says: ``better``, ``worse`` or ``open``; a few equal differences
    prove nothing."""
    found = spread(differences)
    low, high = found["low"], found["high"]
    if low is None or high is None or low == high or low <= 0 <= high:
        return {**found, "verdict": "open"}
    said = "better" if low > 0 else "worse"
    return {**found, "verdict": said}


def resampled(score: Callable[[Sequence[int]], float], groups: Sequence[str]) -> dict[str, float]:
    """``score`` of all examples, and its percentile interval of 95 % over bootstrap samples of whole ``groups``.

    ``score`` takes numbers of examples, some several times; ``groups`` names the group of each example.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    rows, rng = list(members.values()), np.random.default_rng(0)
    draws = (rng.integers(len(rows), size=len(rows)) for _ in range(_RESAMPLES))
    found = [score([number for at in draw for number in rows[at]]) for draw in draws]
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return {"difference": score(range(len(groups))), "low": float(low), "high": float(high)}
