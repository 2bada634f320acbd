"""Observed candidates in order of preference, shared by the evolutionary searchers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from nas_ray.search._pareto import crowding, ranks
from nas_ray.search._searcher import A


@dataclass(frozen=True)
class Member(Generic[A]):
    """One observed candidate with its minimised objective values."""

    architecture: A
    values: tuple[float, ...]
    finished: bool


def preference(members: Sequence[Member[A]]) -> list[int]:
    """Indices of ``members``, best first: finished, then non-dominated rank, then crowding, then age.

    Stopped candidates stand behind all finished ones: their low-fidelity values are no measure against full
    ones.
    """
    keys: list[tuple[bool, int, float, int]] = []
    for finished in (True, False):
        rows = [i for i, member in enumerate(members) if member.finished is finished]
        if not rows:
            continue
        values = np.array([members[i].values for i in rows])
        front = ranks(values)
        distance = np.zeros(len(rows))
        for rank in range(int(front.max()) + 1):
            distance[front == rank] = crowding(values[front == rank])
        keys += [(not finished, int(r), -float(d), i) for r, d, i in zip(front, distance, rows, strict=True)]
    return [key[-1] for key in sorted(keys)]
