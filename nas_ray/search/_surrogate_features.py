"""Candidates as rows of numbers, in the parts that the surrogate's kernel adds up.

``groups``: the dimensions of one group (a block) each, and every dimension without a group. ``summary``: how often
each value occurs in a group, what is ordered, and the known costs. ``flat``: all dimensions at once. ``prior``: the
prediction that came with the candidate, if there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.search._dimensions import Categorical, Dimension, Encoding, Value, position
from nas_ray.search._pareto import Floats
from nas_ray.search._price import Priced

_ONE_HOT, _ORDERED, _COST = 0.5, 1.5, 3.0  # weights beside the counts' 1: those that predicted untried paths best


@dataclass(frozen=True)
class Part:
    """One kernel: its columns of the rows and the role in which it is weighted."""

    role: str
    columns: NDArray[np.int64]


class Features:
    """Rows of a space's candidates, scaled so that each column has standard deviation 1 over ``sample``."""

    def __init__(self, encoding: Encoding[Any], sample: Sequence[Priced[Any]]) -> None:
        self._encoding = encoding
        self._dimensions = [d for d in encoding.dimensions if not (isinstance(d, Categorical) and len(d.values) == 1)]
        self._slots: list[dict[Value, int]] = []  # per dimension: the one-hot column of each value
        self._counts: list[dict[Value, int]] = []  # per dimension: the count column of each value
        self._places: list[int | None] = []  # per dimension: the column of its position
        self._kinds: list[str] = []
        self._groups: list[str] = []
        self._lay_out()
        self._num_values = len(self._kinds)
        self._logs = _positive_columns([priced.values for priced in sample])
        has_prior = any(priced.prior is not None for priced in sample)
        self._kinds += ["cost"] * len(self._logs) + ["prior"] * has_prior
        self._groups += [""] * (len(self._kinds) - self._num_values)
        self._mean, self._scale = np.zeros(len(self._kinds)), np.ones(len(self._kinds))
        raw = self.rows(sample)
        weights = np.array(
            [{"one-hot": _ONE_HOT, "count": 1.0, "ordered": _ORDERED}.get(k, _COST) for k in self._kinds]
        )
        deviation = raw.std(axis=0)
        self._mean = raw.mean(axis=0)
        self._scale = weights / np.where(deviation > 1e-9, deviation, 1.0)
        self.parts = tuple(self._parts())

    def rows(self, candidates: Sequence[Priced[Any]]) -> Floats:
        """``(candidates, columns)``."""
        found = np.zeros((len(candidates), len(self._kinds)))
        for row, priced in zip(found, candidates, strict=True):
            chosen = self._encoding.encode(priced.architecture)
            for number, dimension in enumerate(self._dimensions):
                if dimension.name in chosen:
                    self._fill(row, number, dimension, chosen[dimension.name])
            for column, (cost, log) in enumerate(self._logs.items(), start=self._num_values):
                row[column] = _finite(priced.values[cost], log)
            if priced.prior is not None and self._kinds[-1] == "prior":
                row[-1] = _finite(priced.prior, False)
        return (found - self._mean) * self._scale

    def _fill(self, row: Floats, number: int, dimension: Dimension, value: Value) -> None:
        if value in self._slots[number]:
            row[self._slots[number][value]] = 1.0
        if value in self._counts[number]:
            row[self._counts[number][value]] += 1.0
        if (place := self._places[number]) is not None:
            row[place] = 1.0 + position(dimension, value)  # 0: not active

    def _lay_out(self) -> None:
        shared = _shared_values(self._dimensions)
        columns = {key: self._add("count", key[0]) for key in shared}
        for dimension in self._dimensions:
            group = dimension.group or dimension.name
            values = dimension.values if isinstance(dimension, Categorical) else ()
            ordered = not isinstance(dimension, Categorical) or dimension.ordered
            self._slots.append({value: self._add("one-hot", group) for value in values})
            mine = {} if ordered else {v: columns[dimension.group, v] for v in values if (dimension.group, v) in shared}
            self._counts.append(mine)
            self._places.append(self._add("ordered", group) if ordered else None)

    def _add(self, kind: str, group: str) -> int:
        self._kinds.append(kind)
        self._groups.append(group)
        return len(self._kinds) - 1

    def _parts(self) -> list[Part]:
        kinds, groups = np.array(self._kinds), np.array(self._groups)
        found = [Part("group", np.flatnonzero(groups == group)) for group in dict.fromkeys(self._groups) if group]
        found.append(Part("summary", np.flatnonzero(np.isin(kinds, ("count", "ordered", "cost", "prior")))))
        found.append(Part("flat", np.flatnonzero(np.isin(kinds, ("one-hot", "ordered")))))
        found.append(Part("prior", np.flatnonzero(kinds == "prior")))
        return [part for part in found if len(part.columns)]


def _shared_values(dimensions: Sequence[Dimension]) -> list[tuple[str, Value]]:
    """Values that several unordered dimensions of a group have, by group."""
    times: dict[tuple[str, Value], int] = {}
    for dimension in dimensions:
        if dimension.group and isinstance(dimension, Categorical) and not dimension.ordered:
            for value in dimension.values:
                times[dimension.group, value] = times.get((dimension.group, value), 0) + 1
    return [key for key, count in times.items() if count > 1]


def _positive_columns(values: Sequence[tuple[float | None, ...]]) -> dict[int, bool]:
    """The objectives that are known, each with whether all its values are positive."""
    known = [j for j in range(len(values[0])) if values[0][j] is not None] if values else []
    return {j: all((row[j] or 0.0) > 0 for row in values) for j in known}


def _finite(value: float | None, log: bool) -> float:
    if value is None or not math.isfinite(value):
        return 0.0
    return math.log(max(value, 1e-300)) if log else value
