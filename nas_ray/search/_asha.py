"""Asynchronous successive halving, decided when a result arrives, among candidates of like cost.

A halving by loss alone would stop the cheap end of a Pareto front. So candidates are judged within bins of
the logarithm of their cost (Li et al. 2020, promotion by rank; the bins are ours).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence

_Place = tuple[bool, int, int]  # enqueued group, cost bin, rung


def log_edges(low: float, high: float, num_bins: int) -> tuple[float, ...]:
    """The ``num_bins - 1`` inner edges of bins that are even over the logarithm of a cost between low and
    high."""
    if not 0 < low <= high or num_bins < 1:
        raise ValueError(f"found costs {low} to {high} and {num_bins} bins; accepted: 0 < low <= high, 1 bin or more.")
    step = (math.log(high) - math.log(low)) / num_bins
    return tuple(math.exp(math.log(low) + step * i) for i in range(1, num_bins))


class Asha:
    """Decides who goes on. ``rungs`` are cumulative budgets, ascending; the last one completes a candidate.

    Args:
        rungs: budgets at which losses are reported. eta: of ``n`` losses recorded at a rung of a bin, the
        best ``max(1, floor(n / eta))`` go on, ties included.
            1 stops nobody, infinity all but the best so far.
        min_per_bin: nobody is stopped before so many candidates of the bin reached the rung (itself
        included). bin_edges: inner edges of the cost bins, ascending (see ``log_edges``); a cost on an edge
        belongs above it. exempt: candidates that are never stopped and never compared with (references).
        apart: candidates that are judged among themselves (solver proposals, which would crowd out the
        others).
    """

    def __init__(
        self,
        rungs: Sequence[int],
        *,
        eta: float = 3.0,
        min_per_bin: int = 3,
        bin_edges: Sequence[float] = (),
        exempt: Collection[str] = (),
        apart: Collection[str] = (),
    ) -> None:
        if not rungs or list(rungs) != sorted(set(rungs)) or rungs[0] <= 0:
            raise ValueError(f"found rungs {list(rungs)}; accepted: ascending budgets above 0.")
        if not eta >= 1 or min_per_bin < 1 or list(bin_edges) != sorted(bin_edges):
            raise ValueError("accepted: eta and min_per_bin of at least 1, and ascending bin_edges.")
        self.rungs = tuple(rungs)
        self._eta = eta
        self._min_per_bin = min_per_bin
        self._edges = tuple(bin_edges)
        self._exempt = frozenset(exempt)
        self._apart = frozenset(apart)
        self._losses: dict[_Place, dict[str, float]] = {}
        self._places: dict[tuple[str, int], _Place] = {}

    def report(self, candidate_id: str, rung_index: int, loss: float, cost: float) -> bool:
        """Record a loss; whether the candidate goes on to the next rung.

        At the last rung the answer is always False: the candidate is completed, not stopped. A loss that is
        not finite stops any candidate but an exempt one. Reporting the same rung again replaces the first
        report.
        """
        place = self._record(candidate_id, rung_index, loss, cost)
        if rung_index == len(self.rungs) - 1:
            return False
        if place is None:
            return True
        if not math.isfinite(loss):
            return False
        losses = sorted(self._losses[place].values())
        if len(losses) < self._min_per_bin:
            return True
        return loss <= losses[max(1, math.floor(len(losses) / self._eta)) - 1]

    def restore(self, records: Iterable[tuple[str, int, float, float]]) -> None:
        """Take a journal's (candidate_id, rung_index, loss, cost) without deciding again."""
        for record in records:
            self._record(*record)

    def _record(self, candidate_id: str, rung_index: int, loss: float, cost: float) -> _Place | None:
        if not 0 <= rung_index < len(self.rungs):
            raise ValueError(f"found rung {rung_index}; accepted: 0 to {len(self.rungs) - 1}.")
        if candidate_id in self._exempt:
            return None
        key = (candidate_id, rung_index)
        if key in self._places:
            del self._losses[self._places[key]][candidate_id]
        place = (candidate_id in self._apart, bisect_right(self._edges, cost), rung_index)
        self._places[key] = place
        reached = loss if math.isfinite(loss) else math.inf  # it reached the rung, and stands last
        self._losses.setdefault(place, {})[candidate_id] = reached
        return place
