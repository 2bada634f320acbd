"""Progressive shrinking: bins over parameters and latency, the worst paths of each bin removed at epoch ends.

NAS-BERT, section 3.2.2. Bin b of B holds the paths whose parameters lie in ((b-1)/B, b/B] of the largest path's; a path
slower than b/B of the slowest path's latency is dropped. Decided here: a path faster than its band stays (the paper
drops it too), the removal is a share of what was evaluated (the paper's fixed number never ends on large bins), and a
bin is never shrunk below ``keep``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas_ray.space import Path


@dataclass(frozen=True)
class ShrinkPlan:
    """How a block's paths are reduced; field names as in the trial spec."""

    bins: int
    epochs: int
    warm_epochs: int
    sample: int
    keep: int
    remove: float


def path_bins(paths: Sequence[Path], latencies: Mapping[str, float], num_bins: int) -> dict[int, tuple[Path, ...]]:
    """Paths by bin (0-based); paths slower than the band of their parameters are left out."""
    largest = max(path.num_params() for path in paths)
    slowest = max(latencies[path.path_id] for path in paths)
    bins: dict[int, list[Path]] = {}
    for path in paths:
        by_size = _band(path.num_params(), largest, num_bins)
        by_time = _band(latencies[path.path_id], slowest, num_bins)
        if by_time <= by_size:
            bins.setdefault(by_size, []).append(path)
    return {number: tuple(bins[number]) for number in sorted(bins)}


def _band(value: float, most: float, num_bins: int) -> int:
    """The 0-based b with ``value`` in (b, b + 1] bands of ``most``, rounding of sums forgiven."""
    return min(num_bins - 1, max(0, math.ceil(value * num_bins / most - 1e-9) - 1)) if most else 0


def shrink_once(
    bins: Mapping[int, Sequence[Path]],
    plan: ShrinkPlan,
    losses: Callable[[Sequence[Path]], Mapping[str, float]],
    rng: np.random.Generator,
) -> tuple[dict[int, tuple[Path, ...]], dict[str, float]]:
    """Evaluate a sample of each bin and remove its worst, at least one while a bin is above ``keep``.

    Returns the bins left and the losses seen. A loss that is not a number counts as the worst.
    """
    samples = {number: _sample(paths, plan.sample, rng) for number, paths in bins.items()}
    chosen = [path for number, paths in bins.items() if len(paths) > plan.keep for path in samples[number]]
    seen = dict(losses(chosen)) if chosen else {}
    left: dict[int, tuple[Path, ...]] = {}
    for number, paths in bins.items():
        judged = sorted(
            (path for path in samples[number] if path.path_id in seen), key=lambda p: _rank(seen[p.path_id])
        )
        most = max(0, len(paths) - plan.keep)
        removed = {path.path_id for path in judged[len(judged) - min(most, max(1, int(len(judged) * plan.remove))) :]}
        left[number] = tuple(path for path in paths if path.path_id not in removed)
    return left, seen


def _rank(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _sample(paths: Sequence[Path], count: int, rng: np.random.Generator) -> list[Path]:
    if len(paths) <= count:
        return list(paths)
    return [paths[i] for i in sorted(rng.choice(len(paths), count, replace=False).tolist())]
