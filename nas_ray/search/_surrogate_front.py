"""How much a candidate is expected to move the front, if one objective is uncertain and the others are known.

At a point z of the known objectives the front's level is the least uncertain objective of what costs no more than z.
A candidate that costs no more than z lowers it by ``max(0, level - value)``, in expectation the closed form of Jones
et al. (1998). Summed over all z below the reference that is the expected hypervolume improvement, exactly with two
objectives; with more, z are a fixed sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from nas_ray.search._pareto import Floats, non_dominated

_SAMPLES = 256
_ROOT = float(np.sqrt(2 * np.pi))


@dataclass(frozen=True)
class Levels:
    """The front's ``levels`` over cells of the known objectives.

    With one known objective a cell is the stretch from ``lower`` to ``upper``, which a candidate improves as far as
    its own cost is below; with more it is the point ``upper``, all or nothing.
    """

    levels: Floats  # (cells,)
    lower: Floats  # (cells, known)
    upper: Floats  # (cells, known)
    exact: bool

    def improvement(self, mean: Floats, deviation: Floats, known: Floats) -> Floats:
        """Expected improvement ``(candidates,)`` from ``mean``, ``deviation`` ``(candidates,)`` and ``known``."""
        gain = expected_gain(self.levels[None], mean[:, None], deviation[:, None])
        if self.exact:
            reach = np.asarray(self.upper[:, 0] - np.maximum(self.lower[:, 0], known))
        else:
            reach = np.asarray((known[:, None] <= self.upper).all(axis=2), dtype=np.float64)
        return np.asarray((gain * np.maximum(reach, 0.0)).sum(axis=1), dtype=np.float64)


def expected_gain(level: Floats, mean: Floats, deviation: Floats) -> Floats:
    """The mean of ``max(0, level - value)`` of a normal value."""
    gap = level - mean
    at = gap / deviation
    return np.asarray(gap * ndtr(at) + deviation * np.exp(-0.5 * at**2) / _ROOT)


def front_levels(values: Floats, uncertain: int, reference: Floats) -> Levels:
    """The levels of the front of ``values`` ``(candidates, objectives)`` below ``reference``."""
    values = values[non_dominated(values)]
    known = np.delete(np.arange(values.shape[1]), uncertain)
    top, corner = reference[uncertain], reference[known]
    if not len(known):
        levels = np.array([values[:, uncertain].min(initial=top)])
        return Levels(levels, np.zeros((1, 0)), np.zeros((1, 0)), exact=False)
    if len(known) == 1:
        inside = values[values[:, known[0]] < corner[0]]
        inside = inside[np.argsort(inside[:, known[0]], kind="stable")]
        starts = np.concatenate(([-np.inf], inside[:, known[0]]))[:, None]
        ends = np.append(inside[:, known[0]], corner[0])[:, None]
        levels = np.minimum(np.append(top, inside[:, uncertain]), top)
        return Levels(levels, starts, ends, exact=True)
    low = values[:, known].min(axis=0, initial=np.inf)
    low = np.where(np.isfinite(low), np.minimum(low, corner), corner)
    points = low + (corner - low) * np.random.default_rng(0).random((_SAMPLES, len(known)))
    below = (values[None, :, known] <= points[:, None]).all(axis=2)
    levels = np.where(below, values[None, :, uncertain], top).min(axis=1, initial=top)
    return Levels(levels, points, points, exact=False)
