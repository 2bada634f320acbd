"""Who stands before whom among the candidates that reached one rung: by one value, or by several.

Both keep their order as values come in, so that a decision among thousands takes well under a millisecond.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from typing import Protocol

import numpy as np

from nas_ray.search._pareto import Floats

Values = tuple[float, ...]


class Standing(Protocol):
    """Minimised objective values, all finite; one row a candidate."""

    def add(self, values: Values) -> None: ...

    def remove(self, values: Values) -> None:
        """Take back one row that was added."""
        ...

    def is_among(self, values: Values, count: int) -> bool:
        """Whether fewer than ``count`` rows stand before ``values``, which must have been added."""
        ...


class Ascending:
    """One objective: the smaller value stands before, equal values stand together."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, values: Values) -> None:
        insort(self._values, values[0])

    def remove(self, values: Values) -> None:
        del self._values[bisect_left(self._values, values[0])]

    def is_among(self, values: Values, count: int) -> bool:
        return bisect_left(self._values, values[0]) < count


class NonDominated:
    """Several objectives: by non-dominated rank, and within a rank by an epsilon-net (Schmucker et al. 2021).

    The net begins with the row of least first objective and takes the row farthest from those taken so far, in
    objectives that are scaled to the rank's own range; of equally far rows the lexicographically first. Equal rows
    stand together. Nothing depends on the order in which rows came.

    A new row goes to the first rank that does not dominate it, and pushes those that it dominates one rank down (Li et
    al. 2017).
    """

    def __init__(self) -> None:
        self._counts: Counter[Values] = Counter()
        self._fronts: list[Floats] = []  # the distinct rows of each rank
        self._sizes: list[int] = []  # of each rank, equal rows counted

    def add(self, values: Values) -> None:
        self._counts[values] += 1
        rank = self._rank(values)
        if self._counts[values] > 1:
            self._sizes[rank] += 1
            return
        moved = np.array([values])
        while len(moved):
            if rank == len(self._fronts):
                self._fronts.append(moved)
                self._sizes.append(self._num(moved))
                return
            front = self._fronts[rank]
            beaten = (moved[:, None] <= front).all(axis=2).any(axis=0)
            pushed = front[beaten]
            self._fronts[rank] = np.concatenate([front[~beaten], moved])
            self._sizes[rank] += self._num(moved) - self._num(pushed)
            moved, rank = pushed, rank + 1

    def remove(self, values: Values) -> None:
        """Rare, so everything is ranked again."""
        left = self._counts - Counter([values])
        self._counts, self._fronts, self._sizes = Counter(), [], []
        for row in left.elements():
            self.add(row)

    def is_among(self, values: Values, count: int) -> bool:
        rank = self._rank(values)
        before = sum(self._sizes[:rank])
        if before >= count or before + self._sizes[rank] <= count:
            return before < count
        return self._is_in_net(self._fronts[rank], values, count - before)

    def _rank(self, values: Values) -> int:
        """The first rank without a row that dominates ``values``; what a rank dominates, those before it do too."""
        row, low, high = np.array(values), 0, len(self._fronts)
        while low < high:
            middle = (low + high) // 2
            front = self._fronts[middle]
            if ((front <= row).all(axis=1) & (front < row).any(axis=1)).any():
                low = middle + 1
            else:
                high = middle
        return low

    def _num(self, rows: Floats) -> int:
        return sum(self._counts[tuple(row)] for row in rows.tolist())

    def _is_in_net(self, front: Floats, values: Values, count: int) -> bool:
        """Whether the net takes ``values`` before it has taken ``count`` rows."""
        front = front[np.lexsort(front.T[::-1])]
        low, high = front.min(axis=0), front.max(axis=0)
        scaled = (front - low) / np.where(high > low, high - low, 1.0)
        target = int(np.flatnonzero((front == values).all(axis=1))[0])
        nearest = np.full(len(front), np.inf)
        taken = 0
        while count > 0:
            if taken == target:
                return True
            count -= self._counts[tuple(front[taken].tolist())]
            nearest = np.minimum(nearest, ((scaled - scaled[taken]) ** 2).sum(axis=1))
            nearest[taken] = -1.0
            taken = int(nearest.argmax())
        return False
