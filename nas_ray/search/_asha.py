"""Asynchronous successive halving, decided when a result arrives, among candidates of like cost.

With one objective the best go on (Li et al. 2020); with several the best by non-dominated rank, spread over a rank
that cannot go on whole (Schmucker et al. 2021). A halving by loss alone would stop the cheap end of a Pareto front, so
candidates are judged within bins of the logarithm of their cost (ours).

Who goes on is decided once. The cases at the edge:

- **Late joiners** are compared with all that reached the rung before them; those that were stopped stay stopped.
- **Ties**: candidates of equal objective values stand together, and all go on if the first of them does.
- **No finite value**: stopped, unless exempt; it counts as arrived and stands last.
- **Failed trials**: what they reported before they failed stays, as it was measured; they reach no further rung.
- **One candidate in a bin** goes on, and so does everybody until ``min_per_bin`` have arrived.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nas_ray.search._objectives import Objective, minimised
from nas_ray.search._standing import Ascending, NonDominated, Standing, Values

Metrics = Mapping[str, float]
_Key = tuple[bool, int, int]  # apart, cost bin, rung


class Scheduler(Protocol):
    """Who goes on to the next rung; what the session asks of it."""

    def report(self, candidate_id: str, rung_index: int, metrics: Metrics) -> bool:
        """Take the ``loss`` at a rung, with the candidate's costs; whether it goes on to the next rung."""
        ...

    def restore(self, records: Iterable[tuple[str, int, Metrics]]) -> None:
        """Take a journal's reports without deciding again; later decisions are as if never interrupted."""
        ...


def log_edges(low: float, high: float, num_bins: int) -> tuple[float, ...]:
    """The ``num_bins - 1`` inner edges of bins that are even over the logarithm of a cost between low and
    high."""
    if not 0 < low <= high or num_bins < 1:
        raise ValueError(f"found costs {low} to {high} and {num_bins} bins; accepted: 0 < low <= high, 1 bin or more.")
    step = (math.log(high) - math.log(low)) / num_bins
    return tuple(math.exp(math.log(low) + step * i) for i in range(1, num_bins))


@dataclass
class _Group:
    """Those that are compared with each other."""

    standing: Standing
    num_arrived: int = 0


class Asha:
    """Decides who goes on. ``rungs`` are cumulative budgets, ascending; the last one completes a candidate.

    Args:
        rungs: budgets at which losses are reported.
        objectives: by which candidates are compared; more than one makes it multi-objective.
        eta: of ``n`` candidates that reached a rung in a bin, the best ``max(1, floor(n / eta))`` go on, ties
            included. 1 stops nobody, infinity all but the best so far.
        min_per_bin: nobody is stopped before so many candidates of the bin reached the rung (itself included).
        cost: the metric that bins are cut by.
        bin_edges: inner edges of the cost bins, ascending (see ``log_edges``); a cost on an edge belongs above it.
        exempt: candidates that are never stopped and never compared with (references).
        apart: candidates that are judged among themselves (solver proposals, which would crowd out the others).
        apart_rungs: so many rungs, from the first; all, if not given.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        *,
        objectives: Sequence[Objective] = (Objective("loss"),),
        eta: float = 3.0,
        min_per_bin: int = 3,
        cost: str = "encoder_params",
        bin_edges: Sequence[float] = (),
        exempt: Collection[str] = (),
        apart: Collection[str] = (),
        apart_rungs: int | None = None,
    ) -> None:
        if not rungs or list(rungs) != sorted(set(rungs)) or rungs[0] <= 0:
            raise ValueError(f"found rungs {list(rungs)}; accepted: ascending budgets above 0.")
        if not eta >= 1 or min_per_bin < 1 or list(bin_edges) != sorted(bin_edges):
            raise ValueError("accepted: eta and min_per_bin of at least 1, and ascending bin_edges.")
        if not objectives:
            raise ValueError("found no objectives; accepted: one or more.")
        self.rungs = tuple(rungs)
        self._objectives = tuple(objectives)
        self._new_standing: Callable[[], Standing] = Ascending if len(objectives) == 1 else NonDominated
        self._eta = eta
        self._min_per_bin = min_per_bin
        self._cost = cost
        self._edges = tuple(bin_edges)
        self._exempt = frozenset(exempt)
        self._apart = frozenset(apart)
        self._apart_rungs = len(self.rungs) if apart_rungs is None else apart_rungs
        self._groups: dict[_Key, _Group] = {}
        self._reports: dict[tuple[str, int], tuple[_Key, Values | None]] = {}

    def report(self, candidate_id: str, rung_index: int, metrics: Metrics) -> bool:
        """Record a candidate's objectives; whether it goes on to the next rung.

        At the last rung the answer is always False: the candidate is completed, not stopped. An objective that is
        not finite stops any candidate but an exempt one. Reporting the same rung again replaces the first report.

        Raises:
            ValueError: no such rung. SpecError: ``metrics`` lack an objective.
        """
        self._record(candidate_id, rung_index, metrics)
        if rung_index == len(self.rungs) - 1:
            return False
        if candidate_id in self._exempt:
            return True
        key, values = self._reports[candidate_id, rung_index]
        if values is None:
            return False
        group = self._groups[key]
        if group.num_arrived < self._min_per_bin:
            return True
        return group.standing.is_among(values, max(1, math.floor(group.num_arrived / self._eta)))

    def restore(self, records: Iterable[tuple[str, int, Metrics]]) -> None:
        """Take a journal's (candidate_id, rung_index, metrics) without deciding again."""
        for record in records:
            self._record(*record)

    def _record(self, candidate_id: str, rung_index: int, metrics: Metrics) -> None:
        if not 0 <= rung_index < len(self.rungs):
            raise ValueError(f"found rung {rung_index}; accepted: 0 to {len(self.rungs) - 1}.")
        if candidate_id in self._exempt:
            return
        if (candidate_id, rung_index) in self._reports:
            key, old = self._reports[candidate_id, rung_index]
            self._groups[key].num_arrived -= 1
            if old is not None:
                self._groups[key].standing.remove(old)
        key = self._key(candidate_id, rung_index, metrics)
        values = minimised(self._objectives, metrics)
        found = values if all(map(math.isfinite, values)) else None
        self._reports[candidate_id, rung_index] = key, found
        group = self._groups.setdefault(key, _Group(self._new_standing()))
        group.num_arrived += 1
        if found is not None:
            group.standing.add(found)

    def _key(self, candidate_id: str, rung_index: int, metrics: Metrics) -> _Key:
        is_apart = candidate_id in self._apart and rung_index < self._apart_rungs
        return is_apart, bisect_right(self._edges, metrics[self._cost]) if self._edges else 0, rung_index
