"""Progressive shrinking: a block's paths grow fewer at epoch ends, so that training goes to those that may win.

NAS-BERT, section 3.2.2 and its ablations. Mode ``paths`` (the paper's PS-arch) removes the worst paths of each bin,
mode ``operations`` (PS-op) the worst operations, mode ``none`` nothing: it evaluates what ``paths`` would begin with,
so that the curves can be compared. Bin b of B holds the paths whose parameters lie in ((b-1)/B, b/B] of the largest's.

What the paper leaves open, as decided here:

- A bin's upper edge belongs to it; with the paper's two strict inequalities the largest path would be in no bin.
- Latency: ``at_most`` drops a path slower than its bin's share of the slowest path's latency and keeps one that is
  faster; ``band`` is the paper's text: both bounds, of the largest path's latency; ``ignore`` drops nothing.
- R when fewer than E paths are left: the same share of those evaluated (the paper's R is E / 2). The number of epochs
  is not given: with E = 2,000 and R = E / 2 the largest bin of the paper's space (46,770 paths) needs 53 after the warm
  ones. A ``sample`` as large as the bin (every path costs one operation, see ``score_paths``) halves it each epoch: 13.
- A bin that begins with ``keep`` paths or fewer (the paper's last one has 7) stays as it is.
- The development set is the *select* split. Losses are those of refitted readouts, as everywhere here.
- Training ends for each block by itself, if ``stop`` says so; the learning rate is then still that of its schedule.
- ``operations`` knows no bins: an operation is a width, a layer and a kind, its loss the mean over the sampled paths of
  the whole block that hold it. The worst go until ``remove`` of the paths is gone; one that would leave fewer than
  bins x keep paths (what ``paths`` leaves) or that no sampled path holds stays. E is 1,000 of the block.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas_ray.space import Operation, Path

Bins = dict[int, tuple[Path, ...]]
LatencyRule = Literal["at_most", "band", "ignore"]
Losses = Callable[[Sequence[Path]], Mapping[str, float]]
_Place = tuple[int, int, Operation]  # width, layer, what stands there


@dataclass(frozen=True)
class ShrinkPlan:
    """How a block's paths are reduced; field names as in the trial spec."""

    bins: int
    epochs: int
    warm_epochs: int
    sample: int
    keep: int
    remove: float
    mode: Literal["paths", "operations", "none"]
    latency: LatencyRule
    batches: int | None
    stop: bool

    def quota(self, count: int) -> int:
        """How many of ``count`` go: a share below 1, else a number; at least one, at most all."""
        return min(count, max(1, int(count * self.remove if self.remove < 1 else self.remove)))


def path_bins(
    paths: Sequence[Path], latencies: Mapping[str, float], num_bins: int, latency: LatencyRule = "at_most"
) -> Bins:
    """Paths by bin (0-based); paths that the latency rule refuses are left out."""
    times = {path.path_id: 0.0 if latency == "ignore" else latencies[path.path_id] for path in paths}
    largest = max(paths, key=lambda path: (path.num_params(), times[path.path_id]))
    most = times[largest.path_id] if latency == "band" else max(times.values())
    bins: dict[int, list[Path]] = {}
    for path in paths:
        by_size = _band(path.num_params(), largest.num_params(), num_bins)
        by_time = _band(times[path.path_id], most, num_bins) if most else by_size
        if by_time == by_size or (by_time < by_size and latency != "band"):
            bins.setdefault(by_size, []).append(path)
    return {number: tuple(bins[number]) for number in sorted(bins)}


def _band(value: float, most: float, num_bins: int) -> int:
    """The 0-based b with ``value`` in (b, b + 1] bands of ``most``, rounding of sums forgiven."""
    return max(0, math.ceil(value * num_bins / most - 1e-9) - 1)


def is_shrunk(bins: Mapping[int, Sequence[Path]], plan: ShrinkPlan) -> bool:
    """Whether nothing more will be removed."""
    if plan.mode == "paths":
        return all(len(paths) <= plan.keep for paths in bins.values())
    if plan.mode == "none":
        return False
    paths = [path for held in bins.values() for path in held]
    held_by = Counter(place for path in paths for place in _places(path))
    return all(len(paths) - count < plan.bins * plan.keep for count in held_by.values())


def shrink_once(
    bins: Mapping[int, Sequence[Path]], plan: ShrinkPlan, losses: Losses, rng: np.random.Generator
) -> tuple[Bins, dict[str, float]]:
    """Evaluate a sample and remove the worst, at least one while something may still go.

    Returns the bins left and the losses seen; none once nothing more may go. A loss that is no number is the worst.
    """
    if plan.mode == "operations":
        return _drop_operations(bins, plan, losses, rng)
    samples = {number: _sample(paths, plan.sample, rng) for number, paths in bins.items()}
    judged = [number for number, paths in bins.items() if plan.mode == "none" or len(paths) > plan.keep]
    chosen = [path for number in judged for path in samples[number]]
    seen = dict(losses(chosen)) if chosen else {}
    left = {number: tuple(paths) for number, paths in bins.items()}
    for number in judged if plan.mode == "paths" else ():
        ranked = sorted(samples[number], key=lambda path: _rank(seen[path.path_id]))
        count = min(len(bins[number]) - plan.keep, plan.quota(len(ranked)))
        removed = {path.path_id for path in ranked[len(ranked) - count :]}
        left[number] = tuple(path for path in bins[number] if path.path_id not in removed)
    return left, seen


def _drop_operations(
    bins: Mapping[int, Sequence[Path]], plan: ShrinkPlan, losses: Losses, rng: np.random.Generator
) -> tuple[Bins, dict[str, float]]:
    left = {number: tuple(paths) for number, paths in bins.items()}
    if is_shrunk(bins, plan):
        return left, {}
    paths = [path for held in bins.values() for path in held]
    sample = _sample(paths, plan.sample, rng)
    seen = dict(losses(sample))
    found: dict[_Place, list[float]] = defaultdict(list)
    for path in sample:
        for place in _places(path):
            found[place].append(_rank(seen[path.path_id]))
    remaining, most = paths, len(paths) - plan.quota(len(paths))
    for place in sorted(found, key=lambda place: float(np.mean(found[place])), reverse=True):
        if len(remaining) <= most:
            break
        without = [path for path in remaining if not _holds(path, place)]
        if len(without) >= plan.bins * plan.keep:
            remaining = without
    kept = {path.path_id for path in remaining}
    smaller = {number: tuple(p for p in held if p.path_id in kept) for number, held in left.items()}
    return {number: held for number, held in smaller.items() if held}, seen


def _places(path: Path) -> Iterator[_Place]:
    return ((path.width, layer, operation) for layer, operation in enumerate(path.operations))


def _holds(path: Path, place: _Place) -> bool:
    width, layer, operation = place
    return path.width == width and path.operations[layer : layer + 1] == (operation,)


def _rank(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _sample(paths: Sequence[Path], count: int, rng: np.random.Generator) -> list[Path]:
    if len(paths) <= count:
        return list(paths)
    return [paths[i] for i in sorted(rng.choice(len(paths), count, replace=False).tolist())]
