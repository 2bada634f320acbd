"""Which paths a step trains and which paths are watched: functions of seeds and indices alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas_ray.space import Path

Law = Literal["paths", "widths", "depths", "prefixes", "sandwich"]
_ROUND = 4  # turns of a width in ``sandwich``: its largest path, its smallest, two drawn


@dataclass(frozen=True)
class _Width:
    """The paths of one width, as the laws draw from them."""

    paths: tuple[Path, ...]
    depths: tuple[tuple[Path, ...], ...]  # by depth, ascending
    leaves: tuple[Path, ...]  # that are no prefix of another
    ends: tuple[Path, Path]  # largest and smallest

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _Width:
        depths = sorted({path.depth for path in paths})
        inner = {path.operations[:k] for path in paths for k in range(1, path.depth)}
        ordered = sorted(paths, key=lambda path: (path.num_params(), path.path_id))
        return cls(
            tuple(paths),
            tuple(tuple(path for path in paths if path.depth == depth) for depth in depths),
            tuple(path for path in paths if path.operations not in inner),
            (ordered[-1], ordered[0]),
        )

    def draw(self, law: Law, turn: int, rng: np.random.Generator) -> Path:
        if law == "sandwich" and turn % _ROUND < len(self.ends):
            return self.ends[turn % _ROUND]
        if law in ("depths", "sandwich"):
            return _one(self.depths[int(rng.integers(len(self.depths)))], rng)
        return _one(self.leaves if law == "prefixes" else self.paths, rng)


_last: tuple[Sequence[Path], Mapping[int, _Width]] | None = None


def step_paths(paths: Sequence[Path], count: int, seed: int, block: int, step: int, law: Law = "depths") -> list[Path]:
    """``count`` paths for one update, which ``step`` numbers.

    ``paths``: uniform over paths, as in NAS-BERT, which gives most steps to the deepest ones (80 % in its space). All
    others take the widths in turn. ``widths``: then uniform over the paths of that width. ``depths``: uniform over
    depths, then over paths of that depth. ``sandwich``: like ``depths``, but of the paths that a width gets the first
    is its largest, the second its smallest. ``prefixes``: uniform over the paths that are no prefix of another; the
    worker trains every prefix of what is drawn.
    """
    rng = np.random.default_rng([seed, block, step, 1])
    if law == "paths":
        return [_one(paths, rng) for _ in range(count)]
    groups = _by_width(paths)
    widths = sorted(groups)
    turns = (divmod(step * count + k, len(widths)) for k in range(count))
    return [groups[widths[place]].draw(law, turn, rng) for turn, place in turns]


def _one(paths: Sequence[Path], rng: np.random.Generator) -> Path:
    return paths[int(rng.integers(len(paths)))]


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


def _by_width(paths: Sequence[Path]) -> Mapping[int, _Width]:
    """``paths`` grouped; the last answer is kept, since steps ask for the same (up to 97,650) paths in a row."""
    global _last
    if _last is not None and _last[0] is paths and isinstance(paths, tuple):
        return _last[1]
    by_width: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_width[path.width].append(path)
    groups = {width: _Width.of(same) for width, same in by_width.items()}
    _last = (paths, groups)
    return groups
