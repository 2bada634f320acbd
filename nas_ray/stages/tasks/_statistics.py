"""What several seeds say together."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

_LEVEL = 0.95


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
    """``spread`` of differences in pairs, and what it says: ``better``, ``worse`` or ``open``."""
    found = spread(differences)
    low, high = found["low"], found["high"]
    said = "open" if low is None or high is None or low <= 0 <= high else "better" if low > 0 else "worse"
    return {**found, "verdict": said}
