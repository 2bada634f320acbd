"""Which paths a step trains and which paths are watched: functions of seeds and indices alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from nas_ray.space import Path

Groups = Mapping[int, Mapping[int, Sequence[Path]]]  # width → depth → paths

_last: tuple[Sequence[Path], Groups] | None = None


def step_paths(paths: Sequence[Path], count: int, seed: int, block: int, step: int) -> list[Path]:
    """``count`` paths for one step: widths in turn, then uniform over depths, then over paths of that depth.

    Uniform sampling over paths would give most steps to the deepest ones (80 % in NAS-BERT's space).
    """
    rng = np.random.default_rng([seed, block, step, 1])
    groups = _by_width_and_depth(paths)
    widths = sorted(groups)
    chosen = []
    for k in range(count):
        depths = groups[widths[(step * count + k) % len(widths)]]
        same = depths[sorted(depths)[int(rng.integers(len(depths)))]]
        chosen.append(same[int(rng.integers(len(same)))])
    return chosen


def stratified_sample(paths: Sequence[Path], count: int, seed: int) -> list[Path]:
    """``count`` distinct paths (all, if there are fewer) spread over widths, and over sizes within a width."""
    rng = np.random.default_rng([seed, 2])
    by_width: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_width[path.width].append(path)
    shares = _shares({width: len(same) for width, same in by_width.items()}, count)
    chosen: list[Path] = []
    for width in sorted(shares):
        ordered = sorted(by_width[width], key=lambda path: (path.num_params(), path.path_id))
        for stratum in np.array_split(np.arange(len(ordered)), shares[width]):
            chosen.append(ordered[int(rng.choice(stratum))])
    return chosen


def _shares(sizes: Mapping[int, int], count: int) -> dict[int, int]:
    """How many of each width: as equal as the widths' ``sizes`` allow, zeros left out."""
    shares: dict[int, int] = {}
    left = min(count, sum(sizes.values()))
    for number, width in enumerate(sorted(sizes, key=lambda width: (sizes[width], width))):
        share = min(sizes[width], -(-left // (len(sizes) - number)))
        left -= share
        if share:
            shares[width] = share
    return shares


def _by_width_and_depth(paths: Sequence[Path]) -> Groups:
    """``paths`` grouped; the last answer is kept, since steps ask for the same (up to 97,650) paths in a row."""
    global _last
    if _last is not None and _last[0] is paths and isinstance(paths, tuple):
        return _last[1]
    groups: dict[int, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        groups[path.width][path.depth].append(path)
    _last = (paths, groups)
    return groups
