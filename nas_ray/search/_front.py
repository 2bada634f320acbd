"""The exact front of additive tables: all combinations of one choice per slot, merged left to right.

Partial sums that end in the same boundary state have the same future, so of those only the non-dominated ones
are kept (in the objectives and the bounded metrics); partial sums that cannot meet a bound any more are
dropped, and those that meet one whatever follows are not compared by it. That returns the front of 10^20
combinations without sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.search._pareto import Floats, non_dominated

Seam = Callable[[Any, Any], tuple[float, ...]]  # (boundary before, boundary after or None)

_End = Callable[..., Any]  # np.min or np.max

_CHUNK = 400_000  # sums that are held at a time
_SLACK = 1e-12  # of a bound: sums in another order differ in the last digits; the end goes without


@dataclass(frozen=True)
class Choice:
    """One option of a slot: name, boundary state on both of its sides, additive metrics (loss first)."""

    name: str
    boundary: Hashable
    values: tuple[float, ...]


@dataclass(frozen=True)
class FrontPoint:
    """One choice per slot and the metrics of the whole, seams included."""

    names: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Front:
    """Non-dominated points, ascending in the first objective, and what is promised about them."""

    points: tuple[FrontPoint, ...]
    guarantee: str


@dataclass(frozen=True)
class _Group:
    """The choices of one slot that share a boundary, without the dominated ones."""

    boundary: Hashable
    values: Floats  # (choices, metrics)
    choices: NDArray[np.int64]  # numbers within the slot
    most: Floats  # of each metric, over all choices that may be taken


_Rest = tuple[Floats, Floats]  # the least and the most of each metric that is still to come


@dataclass(frozen=True)
class _State:
    """Partial sums that end in one boundary, and where each came from."""

    boundary: Hashable
    values: Floats  # (sums, metrics)
    before: NDArray[np.int64]  # number of the state at the slot before; -1 at the first slot
    row: NDArray[np.int64]  # row within that state
    choice: NDArray[np.int64]  # number within this slot

    def take(self, rows: NDArray[np.int64]) -> _State:
        return _State(self.boundary, self.values[rows], self.before[rows], self.row[rows], self.choice[rows])


def exact_front(
    slots: Sequence[Sequence[Choice]],
    seam: Seam,
    bounds: Sequence[float | None],
    minimise: Sequence[int],
    *,
    metrics: Sequence[str] = (),
    max_points: int = 20_000,
) -> Front:
    """The front of all combinations of one choice per slot, in the metrics ``minimise``.

    ``seam(before, after)`` gives the metrics that are added between neighbouring slots, and behind the last
    one with ``after=None``; infinity forbids the seam. ``bounds`` has one entry per metric, None where there
    is no bound. Choices with NaN or infinity in a metric that counts are left out. Of combinations with equal
    objectives one stays. No feasible combination gives no points. Beyond ``max_points`` partial sums in one
    state they are thinned, and ``guarantee`` then states the error; ``metrics`` are the names that it uses.
    """
    return _Merge(slots, seam, bounds, minimise, metrics, max_points).run()


def completions(
    slots: Sequence[Sequence[Choice]], seam: Seam, bounds: Sequence[float | None], objective: int, max_points: int
) -> tuple[list[dict[Hashable, Floats]], bool]:
    """Per slot and boundary, all that is worth adding behind a choice of it: non-dominated sums in ``objective`` and
    the bounded metrics, ``(sums, metrics)``; and whether nothing was thinned.

    The same merge from the other end: the seam behind the last slot comes first. What stands before may be any choice,
    a dominated one too.
    """
    none = (0.0,) * len(bounds)

    def turned(before: Any, after: Any) -> tuple[float, ...]:
        return none if after is None else seam(after, before)

    ends = [replace(c, values=tuple(np.add(c.values, seam(c.boundary, None)).tolist())) for c in slots[-1]]
    backwards = [ends, *reversed(slots[:-1])]
    merge = _Merge(backwards, turned, bounds, [objective], (), max_points, dominated_too=True)
    levels = list(reversed(merge.levels()))
    counts = [objective, *(j for j, bound in enumerate(bounds) if bound is not None)]
    last = {c.boundary: np.array([seam(c.boundary, None)]) for c in slots[-1]}
    found: list[dict[Hashable, Floats]] = []
    for slot, after in zip(slots[:-1], levels[1:], strict=True):
        found.append({})
        for boundary in dict.fromkeys(choice.boundary for choice in slot):
            sums = [state.values + np.array(seam(boundary, state.boundary)) for state in after]
            found[-1][boundary] = _joined(sums, counts)
    return [*found, last], merge.is_exact


def _joined(parts: list[Floats], counts: list[int]) -> Floats:
    whole = np.concatenate(parts)
    return whole[np.isfinite(whole[:, counts]).all(axis=1)]


class _Merge:
    """One run of the solver: groups of choices, least rests, levels of states, then the points."""

    def __init__(
        self,
        slots: Sequence[Sequence[Choice]],
        seam: Seam,
        bounds: Sequence[float | None],
        minimise: Sequence[int],
        metrics: Sequence[str],
        max_points: int,
        *,
        dominated_too: bool = False,
    ) -> None:
        _check(slots, bounds, minimise)
        self._slots = slots
        self._seams: dict[tuple[Hashable, Hashable | None], Floats] = {}
        self._seam = seam
        self._minimise = list(minimise)
        self._bounded = [j for j, b in enumerate(bounds) if b is not None and j not in minimise]
        self._kept = [*minimise, *self._bounded]
        self._bounds = np.array([math.inf if bound is None else bound for bound in bounds])
        self._metrics = metrics or [f"metric {j}" for j in range(len(bounds))]
        self._max_points = max_points
        self._errors = np.zeros(len(bounds))
        self._dominated_too = dominated_too
        self._groups = [self._group(slot) for slot in slots]

    def run(self) -> Front:
        levels = self.levels()
        return Front(self._finish(levels), self._guarantee())

    def levels(self) -> list[list[_State]]:
        """The partial sums behind each slot, by the boundary that they end in."""
        levels: list[list[_State]] = []
        for groups, least, most in zip(self._groups, self._rests(np.min), self._rests(np.max), strict=True):
            rests = [(least[group.boundary], most[group.boundary]) for group in groups]
            if not levels:
                levels.append([self._first(group, rest) for group, rest in zip(groups, rests, strict=True)])
                continue
            merged = [self._extend(levels[-1], group, rest) for group, rest in zip(groups, rests, strict=True)]
            thinned = [self._thin(state, most[state.boundary]) for state in merged]
            self._errors += np.max([error for _, error in thinned], axis=0, initial=0.0)
            levels.append([state for state, _ in thinned])
        return levels

    @property
    def is_exact(self) -> bool:
        """Whether nothing was thinned."""
        return not self._errors.any()

    def _cost(self, before: Hashable, after: Hashable | None) -> Floats:
        key = (before, after)
        if key not in self._seams:
            self._seams[key] = np.array(self._seam(before, after), dtype=np.float64)
        return self._seams[key]

    def _group(self, slot: Sequence[Choice]) -> list[_Group]:
        numbers: dict[Hashable, list[int]] = {}
        for number, choice in enumerate(slot):
            numbers.setdefault(choice.boundary, []).append(number)
        found = []
        for boundary, members in numbers.items():
            values = np.array([slot[number].values for number in members], dtype=np.float64)
            best = np.flatnonzero(non_dominated(values[:, self._kept]))
            if len(best):
                taken = np.isfinite(values[:, self._kept]).all(axis=1) if self._dominated_too else best
                found.append(_Group(boundary, values[best], np.array(members)[best], values[taken].max(axis=0)))
        return found

    def _rests(self, end: _End) -> list[dict[Hashable, Floats]]:
        """Per slot and boundary, the least or the most (``end``) of each metric that can still be added behind it."""
        rests = [{group.boundary: self._cost(group.boundary, None) for group in self._groups[-1]}]
        for here, after in zip(self._groups[-2::-1], self._groups[:0:-1], strict=True):
            nearest = rests[0]
            ends = [g.most if end is np.max else end(g.values, axis=0) for g in after]
            ahead = [(g.boundary, at + nearest[g.boundary]) for g, at in zip(after, ends, strict=True)]
            rests.insert(0, {group.boundary: self._rest(group.boundary, ahead, end) for group in here})
        return rests

    def _rest(self, boundary: Hashable, ahead: list[tuple[Hashable, Floats]], end: _End) -> Floats:
        sums = np.array([self._cost(boundary, after) + rest for after, rest in ahead])
        return end(sums, axis=0) if len(sums) else np.full(len(self._bounds), math.inf)

    def _first(self, group: _Group, rest: _Rest) -> _State:
        none = np.full(len(group.choices), -1)
        return self._prune(_State(group.boundary, group.values, none, none, group.choices), rest)

    def _extend(self, states: list[_State], group: _Group, rest: _Rest) -> _State:
        """All sums of a partial sum before, the seam, and a choice of ``group``; pruned."""
        empty = np.zeros(0, dtype=np.int64)
        found = _State(group.boundary, np.zeros((0, len(self._bounds))), empty, empty, empty)
        step = max(1, _CHUNK // len(group.choices))
        for number, state in enumerate(states):
            cost = self._cost(state.boundary, group.boundary)
            for start in range(0, len(state.values), step):
                part = np.arange(start, min(start + step, len(state.values)))
                sums = (state.values[part] + cost)[:, None] + group.values[None]
                new = _State(
                    group.boundary,
                    sums.reshape(-1, len(self._bounds)),
                    np.full(len(part) * len(group.choices), number),
                    np.repeat(part, len(group.choices)),
                    np.tile(group.choices, len(part)),
                )
                found = self._prune(_join(found, self._prune(new, rest)), rest)
        return found

    def _prune(self, state: _State, rest: _Rest) -> _State:
        least, most = rest
        within = state.values + least <= self._bounds + _SLACK * np.abs(_finite(self._bounds))
        state = state.take(np.flatnonzero((within | np.isinf(self._bounds)).all(axis=1)))
        return state.take(np.flatnonzero(non_dominated(self._compared(state.values, most)[:, self._kept])))

    def _compared(self, values: Floats, most: Floats) -> Floats:
        """``values``; those that meet a bound whatever follows are equal in that metric."""
        values = values.copy()
        for j in self._bounded:
            if math.isfinite(most[j]):
                safe = self._bounds[j] - most[j] - _SLACK * abs(self._bounds[j])
                values[:, j] = np.maximum(values[:, j], safe)
        return values

    def _thin(self, state: _State, most: Floats) -> tuple[_State, Floats]:
        """One sum per cell of a grid over the metrics after the first, that with the least first metric."""
        error = np.zeros(len(self._bounds))
        if len(state.values) <= self._max_points:
            return state, error
        first, *others = self._kept
        values = self._compared(state.values, most)
        low = values[:, others].min(axis=0)
        span = values[:, others].max(axis=0) - low
        order = np.lexsort(values[:, [first, *others]].T[::-1])
        cells = 2 * self._max_points
        while True:
            width = np.where(span > 0, span / cells, 1.0)
            grid = np.floor((values[order][:, others] - low) / width)
            rows = np.unique(grid, axis=0, return_index=True)[1]
            if len(rows) <= self._max_points:
                break
            cells = max(1, cells * 3 // 4)
        error[others] = np.where(span > 0, span / cells, 0.0)
        return state.take(np.sort(order[rows])), error

    def _finish(self, levels: list[list[_State]]) -> tuple[FrontPoint, ...]:
        ends = [(number, row) for number, state in enumerate(levels[-1]) for row in range(len(state.values))]
        if not ends:
            return ()
        totals = np.concatenate([state.values + self._cost(state.boundary, None) for state in levels[-1]])
        rows = np.flatnonzero(((totals <= self._bounds) | np.isinf(self._bounds)).all(axis=1))
        rows = rows[non_dominated(totals[rows][:, self._minimise])]
        rows = rows[np.lexsort(totals[rows][:, self._minimise].T[::-1])]
        return tuple(FrontPoint(self._names(levels, *ends[row]), tuple(totals[row].tolist())) for row in rows)

    def _names(self, levels: list[list[_State]], number: int, row: int) -> tuple[str, ...]:
        names: list[str] = []
        for slot, states in zip(reversed(self._slots), reversed(levels), strict=True):
            state = states[number]
            names.append(slot[int(state.choice[row])].name)
            number, row = int(state.before[row]), int(state.row[row])
        return tuple(reversed(names))

    def _guarantee(self) -> str:
        worse = [f"{self._metrics[j]} by at most {self._errors[j]:.4g}" for j in self._kept if self._errors[j] > 0]
        if not worse:
            return "exact: no combination of the tables' choices that meets the bounds dominates a point"
        first = self._metrics[self._kept[0]]
        return (
            f"thinned to {self._max_points} partial sums a state: for every combination that meets the "
            f"bounds with the same margin there is a point with no more {first}, worse in {', '.join(worse)}"
        )


def _check(slots: Sequence[Sequence[Choice]], bounds: Sequence[float | None], minimise: Sequence[int]) -> None:
    if not slots or not minimise:
        raise ValueError("found no slots or no objectives; accepted: at least one of each.")
    lengths = {len(choice.values) for slot in slots for choice in slot} - {len(bounds)}
    if lengths:
        raise ValueError(f"found {sorted(lengths)} metrics; accepted: {len(bounds)}, as many as bounds.")


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 0.0)


def _join(a: _State, b: _State) -> _State:
    return _State(
        a.boundary,
        np.concatenate([a.values, b.values]),
        np.concatenate([a.before, b.before]),
        np.concatenate([a.row, b.row]),
        np.concatenate([a.choice, b.choice]),
    )
