"""The exact best T combinations of additive tables under bounds, out of 10^20, without listing them.

What can follow a choice is known before: the non-dominated sums of everything behind it, merged from the far end
(``completions``). So each prefix is worth exactly its own sum and its best completion within what the bounds leave, and
of all prefixes of a length only the best T need be kept: T combinations at least as good run through them. With one
bound that worth is a binary search; with more, a bound on it is, and only the most promising are looked up exactly.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_ray.search._front import Choice, Front, FrontPoint, Seam, completions
from nas_ray.search._pareto import Floats, non_dominated

_CHUNK = 2_000_000  # sums that are held at a time
_POOL = 4_096  # prefixes, at least, that are kept until their worth is known exactly
_SLACK = 1e-12  # of a bound: sums in another order differ in the last digits; the end goes without

_Rows = NDArray[np.int64]


def exact_top(
    slots: Sequence[Sequence[Choice]],
    seam: Seam,
    bounds: Sequence[float | None],
    count: int,
    *,
    objective: int = 0,
    max_points: int = 100_000,
) -> Front:
    """The ``count`` combinations of one choice per slot with the least ``objective`` under ``bounds``, ascending.

    Slots, seams and bounds as in ``exact_front``. Choices with NaN or infinity in a metric that counts are left out.
    Fewer points mean that no more combinations meet the bounds.
    """
    wanted = count
    while True:
        points, dropped, is_exact = _Top(slots, seam, bounds, objective, max_points).run(wanted)
        if not dropped or len(points) >= count or len(points) + dropped < wanted:
            break  # found, or all that there are
        wanted += dropped + count  # some met the bounds only but for rounding
    what = "exact: no other combination of the tables' choices that meets the bounds has a lower sum"
    thinned = f"thinned to {max_points} partial sums a state: combinations beside these may be as good"
    return Front(points[:count], what if is_exact else thinned)


@dataclass(frozen=True)
class _Group:
    """The choices of one slot that share a boundary."""

    boundary: Hashable
    values: Floats  # (choices, metrics)
    choices: _Rows  # numbers within the slot


@dataclass(frozen=True)
class _Prefixes:
    """Sums of the first choices that end in one boundary, and where each came from."""

    boundary: Hashable
    values: Floats  # (prefixes, metrics)
    before: _Rows  # number of the state at the slot before
    row: _Rows  # row within that state
    choice: _Rows  # number within this slot


class _Rest:
    """What can follow: non-dominated sums of the objective and the bounded metrics."""

    def __init__(self, values: Floats) -> None:
        values = values[non_dominated(values)] if len(values) else values
        self._values = values[np.argsort(values[:, 0], kind="stable")]
        self._least = [self._staircase(j) for j in range(1, values.shape[1])]

    def _staircase(self, j: int) -> tuple[Floats, Floats]:
        order = np.argsort(self._values[:, j], kind="stable")
        return self._values[order, j], np.minimum.accumulate(self._values[order, 0])

    @property
    def is_simple(self) -> bool:
        """Whether ``lower`` is exact."""
        return len(self._least) < 2

    def lower(self, budgets: Floats) -> Floats:
        """At least so much follows, by ``(n, bounds)`` that is left; infinity where nothing can."""
        if not len(self._values):
            return np.full(len(budgets), np.inf)
        found = np.full(len(budgets), self._values[0, 0])
        for j, (costs, least) in enumerate(self._least):
            at = np.searchsorted(costs, budgets[:, j], side="right") - 1
            found = np.maximum(found, np.where(at >= 0, least[at], np.inf))
        return found

    def exact(self, budgets: Floats) -> Floats:
        """The least that can follow: the first sum, in the objective's order, that is within a budget."""
        if self.is_simple:
            return self.lower(budgets)
        found = np.full(len(budgets), np.inf)
        step = max(1, _CHUNK // max(1, len(self._values)))
        for start in range(0, len(budgets), step):
            part = slice(start, start + step)
            within = (self._values[None, :, 1:] <= budgets[part, None]).all(axis=2)
            first = within.argmax(axis=1)
            found[part] = np.where(np.any(within, axis=1), self._values[first, 0], np.inf)
        return found


@dataclass
class _Pool:
    """Candidate prefixes: lower bound of their worth, state and row before, group and choice row."""

    lower: Floats
    where: _Rows  # (n, 4)
    cut: float = np.inf  # the least lower bound that was left out

    def add(self, lower: Floats, where: _Rows, most: int) -> None:
        keep = np.flatnonzero(lower < min(self.cut, np.inf))
        self.lower = np.concatenate([self.lower, lower[keep]])
        self.where = np.concatenate([self.where, where[keep]])
        if len(self.lower) > most:
            order = np.argpartition(self.lower, most)
            self.cut = min(self.cut, float(self.lower[order[most]]))
            self.lower, self.where = self.lower[order[:most]], self.where[order[:most]]


class _Top:
    """One run: prefixes slot by slot, each level the best of all that extend the last."""

    def __init__(
        self, slots: Sequence[Sequence[Choice]], seam: Seam, bounds: Sequence[float | None], objective: int, points: int
    ) -> None:
        self._slots, self._seam = slots, seam
        self._bounded = [j for j, bound in enumerate(bounds) if bound is not None]
        self._kept = [objective, *(j for j in self._bounded if j != objective)]
        self._limits = np.array([np.inf if bound is None else bound for bound in bounds])
        self._budget = np.array([self._limits[j] + _SLACK * abs(self._limits[j]) for j in self._kept[1:]])
        if objective in self._bounded:
            self._cap = float(self._limits[objective]) * (1 + np.sign(self._limits[objective]) * _SLACK)
        else:
            self._cap = np.inf
        self._groups = [self._grouped(slot) for slot in slots]
        behind, self._is_exact = completions(slots, seam, bounds, objective, points)
        self._rests = [{b: _Rest(sums[:, self._kept]) for b, sums in found.items()} for found in behind]

    def run(self, count: int) -> tuple[tuple[FrontPoint, ...], int, bool]:
        """Points, how many more met the bounds but for rounding, and whether nothing was thinned."""
        start = _Prefixes(None, np.zeros((1, len(self._limits))), *(np.zeros(1, dtype=np.int64) for _ in range(3)))
        levels = [[start]]
        for slot in range(len(self._slots)):
            levels.append(self._extended(slot, levels[-1], count))
        ends = [(number, row) for number, state in enumerate(levels[-1]) for row in range(len(state.values))]
        if not ends:
            return (), 0, self._is_exact
        totals = np.concatenate([s.values + np.array(self._seam(s.boundary, None)) for s in levels[-1]])
        within = ((totals <= self._limits) | np.isinf(self._limits)).all(axis=1)
        rows = np.flatnonzero(within)
        rows = rows[np.argsort(totals[rows, self._kept[0]], kind="stable")]
        points = tuple(FrontPoint(self._names(levels, *ends[row]), tuple(totals[row].tolist())) for row in rows)
        return points, int((~within).sum()), self._is_exact

    def _grouped(self, slot: Sequence[Choice]) -> list[_Group]:
        numbers: dict[Hashable, list[int]] = {}
        for number, choice in enumerate(slot):
            if np.isfinite([choice.values[j] for j in self._kept]).all():
                numbers.setdefault(choice.boundary, []).append(number)
        return [
            _Group(boundary, np.array([slot[n].values for n in members], dtype=np.float64), np.array(members))
            for boundary, members in numbers.items()
        ]

    def _extended(self, slot: int, before: list[_Prefixes], count: int) -> list[_Prefixes]:
        """The best ``count`` prefixes that end in ``slot``."""
        most = count if len(self._kept) < 3 else max(_POOL, 16 * count)
        while True:
            pool = _Pool(np.zeros(0), np.zeros((0, 4), dtype=np.int64))
            for lower, where in self._worths(slot, before):
                pool.add(lower, where, most)
            chosen, worst = self._best(slot, before, pool, count)
            if pool.cut >= worst or len(self._kept) < 3:
                return self._states(slot, before, chosen)
            most *= 8  # what was left out may be better than what was found

    def _worths(self, slot: int, before: list[_Prefixes]) -> Iterator[tuple[Floats, _Rows]]:
        """Lower bounds of all prefixes, those that cannot meet the bounds left out, in parts."""
        for (s, state), (g, group) in (
            (a, b) for a in enumerate(before) for b in enumerate(self._groups[slot]) if len(a[1].values)
        ):
            rest, size = self._rests[slot][group.boundary], len(group.choices)
            step = max(1, _CHUNK // size)
            for start in range(0, len(state.values), step):
                rows = np.arange(start, min(start + step, len(state.values)))
                sums = self._sums(slot, state, group, np.repeat(rows, size), np.tile(np.arange(size), len(rows)))
                lower = sums[:, 0] + rest.lower(self._budget - sums[:, 1:])
                kept = np.flatnonzero(np.isfinite(lower) & (lower <= self._cap))
                where = np.column_stack((np.full(len(kept), s), rows[kept // size], np.full(len(kept), g), kept % size))
                yield lower[kept], where

    def _sums(self, slot: int, state: _Prefixes, group: _Group, rows: _Rows, choices: _Rows) -> Floats:
        """Objective and bounded metrics of prefixes ``rows`` and ``choices`` behind them, seam included."""
        values = state.values[:, self._kept] + self._cost(slot, state, group)[self._kept]
        return np.asarray(values[rows] + group.values[choices][:, self._kept])

    def _cost(self, slot: int, state: _Prefixes, group: _Group) -> Floats:
        return np.array(self._seam(state.boundary, group.boundary)) if slot else np.zeros(len(self._limits))

    def _best(self, slot: int, before: list[_Prefixes], pool: _Pool, count: int) -> tuple[_Rows, float]:
        """The ``count`` best of ``pool`` by exact worth, and the last one's worth (infinity if there are fewer)."""
        order = np.argsort(pool.lower, kind="stable")
        worth = np.full(len(order), np.inf)
        step = 2 * count
        for done in range(0, len(order), step):
            if done and np.sort(worth[:done])[count - 1] <= pool.lower[order[done]]:
                break  # nothing that follows can be better
            part = order[done : done + step]
            worth[done : done + step] = self._exact(slot, before, pool.where[part], pool.lower[part])
        ranked = np.argsort(worth, kind="stable")[:count]
        ranked = ranked[worth[ranked] <= self._cap]
        ranked = ranked[np.isfinite(worth[ranked])]
        worst = float(worth[ranked[-1]]) if len(ranked) == count else np.inf
        return pool.where[order[ranked]], worst

    def _exact(self, slot: int, before: list[_Prefixes], where: _Rows, lower: Floats) -> Floats:
        if len(self._kept) < 3:
            return lower
        worth = np.full(len(where), np.inf)
        for s, g in {(int(a), int(b)) for a, b in where[:, [0, 2]]}:
            mine = np.flatnonzero((where[:, 0] == s) & (where[:, 2] == g))
            group = self._groups[slot][g]
            sums = self._sums(slot, before[s], group, where[mine, 1], where[mine, 3])
            worth[mine] = sums[:, 0] + self._rests[slot][group.boundary].exact(self._budget - sums[:, 1:])
        return worth

    def _states(self, slot: int, before: list[_Prefixes], chosen: _Rows) -> list[_Prefixes]:
        found = []
        for g, group in enumerate(self._groups[slot]):
            mine = chosen[chosen[:, 2] == g]
            values = [
                before[s].values[row] + self._cost(slot, before[s], group) + group.values[choice]
                for s, row, _, choice in mine
            ]
            table = np.array(values).reshape(len(mine), len(self._limits))
            found.append(_Prefixes(group.boundary, table, mine[:, 0], mine[:, 1], group.choices[mine[:, 3]]))
        return found

    def _names(self, levels: list[list[_Prefixes]], number: int, row: int) -> tuple[str, ...]:
        names: list[str] = []
        for slot, states in zip(reversed(self._slots), reversed(levels[1:]), strict=True):
            state = states[number]
            names.append(slot[int(state.choice[row])].name)
            number, row = int(state.before[row]), int(state.row[row])
        return tuple(reversed(names))
