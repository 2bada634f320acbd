"""A search under a simulated clock: the real session, proposer and scheduler, with losses and times from a table.

What takes hours with models takes seconds, so schedulers and searchers can be compared at full size.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas_ray.search._session import SearchSession, Task

AtRung = Callable[[Any, int], float]  # of an architecture and a rung


@dataclass(frozen=True)
class Arrival:
    """A loss that was reported at ``seconds`` of the simulated clock."""

    seconds: float
    candidate_id: str
    rung: int
    loss: float


def simulate(
    session: SearchSession,
    loss: AtRung,
    seconds: AtRung,
    *,
    num_workers: int = 1,
    until: float = math.inf,
) -> list[Arrival]:
    """Run ``session`` to its end on ``num_workers`` simulated workers; what was reported, in that order.

    ``loss`` gives the loss at a rung, and raises what the trial would raise; ``seconds`` is what going there from the
    rung before takes. What would be reported after ``until`` is not: those candidates stay as they are, running. Equal
    times are served in the order in which the work began, so the outcome is a function of the arguments alone.
    """
    if num_workers < 1:
        raise ValueError(f"found {num_workers} workers; accepted: 1 or more.")
    found: list[Arrival] = []
    busy: list[tuple[float, int, Task, int]] = []  # end, number, task, rung
    now, number, is_exhausted = 0.0, 0, False
    while True:
        while len(busy) < num_workers and not is_exhausted:
            task = session.next_task()
            if task is None:
                is_exhausted = True
            else:
                ends = now + seconds(task.architecture, task.first_rung)
                heapq.heappush(busy, (ends, number, task, task.first_rung))
                number += 1
        if not busy or busy[0][0] > until:
            return found
        now, _, task, rung = heapq.heappop(busy)
        try:
            value = loss(task.architecture, rung)
        except Exception as error:
            session.ended(task.candidate_id, error)
            continue
        found.append(Arrival(now, task.candidate_id, rung, value))
        if session.report(task.candidate_id, rung, value):
            heapq.heappush(busy, (now + seconds(task.architecture, rung + 1), number, task, rung + 1))
            number += 1
        else:
            session.ended(task.candidate_id)
