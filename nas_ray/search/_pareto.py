"""Dominance of rows of numbers; smaller is better everywhere."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BLOCK = 512
_MANY = 2_000  # rows from which discarding by a few strong rows first is worth its pass


def non_dominated(values: Floats) -> Mask:
    """Which rows of ``values`` (n, m) no other row dominates.

    Of equal rows the first stays. Rows with NaN or infinity never stay. Two and three columns are swept in
    O(n log n); more are compared block by block.
    """
    values = _table(values)
    mask = np.zeros(len(values), dtype=bool)
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(rows) > _MANY and values.shape[1] > 2:
        rows = rows[~_beaten_by_strong(values[rows])]
    # Sorted by all columns (lexsort is stable), a row can only be beaten by one before it.
    rows = rows[np.lexsort(values[rows].T[::-1])]
    ordered = values[rows]
    sweep = {1: _sweep_1, 2: _sweep_2, 3: _sweep_3}.get(values.shape[1], _sweep_blocks)
    mask[rows[sweep(ordered)]] = True
    return mask


def ranks(values: Floats) -> NDArray[np.int64]:
    """Fronts of non-dominated sorting, from 0 (Deb et al. 2002); equal rows share a rank.

    Rows with NaN or infinity share the last rank.
    """
    values = _table(values)
    found = np.zeros(len(values), dtype=np.int64)
    finite = np.isfinite(values).all(axis=1)
    unique, inverse = np.unique(values[finite], axis=0, return_inverse=True)
    unique_ranks = np.zeros(len(unique), dtype=np.int64)
    left, rank = np.arange(len(unique)), 0
    while len(left):
        best = non_dominated(unique[left])
        unique_ranks[left[best]] = rank
        left, rank = left[~best], rank + 1
    found[finite] = unique_ranks[inverse.ravel()]
    found[~finite] = rank
    return found


def crowding(values: Floats) -> Floats:
    """Crowding distance in one front (Deb et al. 2002): infinity at the ends, 0 for rows with NaN."""
    values = _table(values)
    found = np.zeros(len(values))
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    for column in values[rows].T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]] if len(order) else 0.0
        found[rows[order[:1]]] = found[rows[order[-1:]]] = np.inf
        if span > 0:
            found[rows[order[1:-1]]] += (column[order[2:]] - column[order[:-2]]) / span
    return found


def hypervolume(values: Floats, reference: Floats | tuple[float, ...]) -> float:
    """Volume that the rows dominate below ``reference``, exact; by slices of the last column."""
    values, corner = _table(values), np.asarray(reference, dtype=np.float64)
    inside = np.isfinite(values).all(axis=1) & (values < corner).all(axis=1)
    return _volume(values[inside], corner)


def _volume(values: Floats, corner: Floats) -> float:
    values = values[non_dominated(values)]
    if not len(values):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - values[0, 0])
    values = values[np.argsort(values[:, -1], kind="stable")]
    if len(corner) == 2:  # ascending in the second column means descending in the first
        tops = np.append(values[1:, 1], corner[1])
        return float(((corner[0] - values[:, 0]) * (tops - values[:, 1])).sum())
    tops = np.append(values[1:, -1], corner[-1])
    heights = tops - values[:, -1]
    return float(sum(h * _volume(values[: i + 1, :-1], corner[:-1]) for i, h in enumerate(heights) if h > 0))


def _table(values: Floats) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"found values of shape {values.shape}; accepted: (n, m) with m of at least 1.")
    return values


def _sweep_1(ordered: Floats) -> Mask:
    return np.asarray(np.arange(len(ordered)) == 0)


def _sweep_2(ordered: Floats) -> Mask:
    best_before = np.minimum.accumulate(np.append(np.inf, ordered[:, 1]))[:-1]
    found: Mask = ordered[:, 1] < best_before
    return found


def _sweep_3(ordered: Floats) -> Mask:
    """Ascending in the first column, a row is beaten iff it is on or above the staircase of the others."""
    found = np.zeros(len(ordered), dtype=bool)
    ys: list[float] = []  # ascending, and zs descending
    zs: list[float] = []
    for i, (y, z) in enumerate(ordered[:, 1:].tolist()):
        at = bisect_right(ys, y)
        if at and zs[at - 1] <= z:
            continue
        found[i] = True
        start = end = bisect_left(ys, y)
        while end < len(ys) and zs[end] >= z:
            end += 1
        ys[start:end], zs[start:end] = [y], [z]
    return found


def _sweep_blocks(ordered: Floats) -> Mask:
    found = np.zeros(len(ordered), dtype=bool)
    for start in range(0, len(ordered), _BLOCK):
        block = ordered[start : start + _BLOCK]
        rows = np.flatnonzero(~_beaten(block, ordered[:start][found[:start]]))
        among = (block[rows][:, None] >= block[rows][None]).all(axis=2)  # [i, j]: j is no worse than i
        found[start + rows[~np.tril(among, -1).any(axis=1)]] = True
    return found


def _beaten(block: Floats, others: Floats) -> Mask:
    found = np.zeros(len(block), dtype=bool)
    for start in range(0, len(others), _BLOCK):
        part = others[start : start + _BLOCK]
        found |= np.any(np.all(part[None] <= block[:, None], axis=2), axis=1)
    return found


def _beaten_by_strong(values: Floats) -> Mask:
    """Rows that a strong row dominates: one that is best under some fixed weighting of the columns."""
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    weights = np.random.default_rng(0).dirichlet(np.ones(values.shape[1]), size=32)
    found = np.zeros(len(values), dtype=bool)
    for weight in weights:
        strong = values[int(np.argmin(scaled @ weight))]
        found |= (strong <= values).all(axis=1) & (strong < values).any(axis=1)
    return found
