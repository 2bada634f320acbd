"""Dominance of rows of numbers, by moocore; smaller is better everywhere."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def non_dominated(values: Floats) -> Mask:
    """Which rows of ``values`` (n, m) no other row dominates.

    Of equal rows the first stays. Rows with NaN or infinity never stay.
    """
    values = _table(values)
    mask = np.zeros(len(values), dtype=bool)
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(rows) and values.shape[1] == 1:
        mask[rows[np.argmin(values[rows, 0])]] = True
    elif len(rows):
        mask[rows] = moocore.is_nondominated(values[rows], keep_weakly=False)
    return mask


def ranks(values: Floats) -> NDArray[np.int64]:
    """Fronts of non-dominated sorting, from 0 (Deb et al. 2002); equal rows share a rank.

    Rows with NaN or infinity share the last rank.
    """
    values = _table(values)
    finite = np.isfinite(values).all(axis=1)
    found = np.zeros(len(values), dtype=np.int64)
    if finite.any():
        twice = np.column_stack((values[finite], values[finite, 0]))  # one column alone has no fronts in moocore
        unique, inverse = np.unique(twice, axis=0, return_inverse=True)
        found[finite] = np.asarray(moocore.pareto_rank(unique), dtype=np.int64)[inverse.ravel()]
    found[~finite] = found[finite].max(initial=-1) + 1
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
    """Volume that the rows dominate below ``reference``, exact."""
    values, corner = _table(values), np.asarray(reference, dtype=np.float64)
    inside = values[np.isfinite(values).all(axis=1) & (values < corner).all(axis=1)]
    if not len(inside):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - inside.min())
    return float(moocore.hypervolume(inside, ref=corner))


def _table(values: Floats) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"found values of shape {values.shape}; accepted: (n, m) with m of at least 1.")
    return values
