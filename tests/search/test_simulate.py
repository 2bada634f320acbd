"""The simulated clock: in closed form on a few candidates, deterministic and quick on ten thousand."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest

from nas_ray.search import (
    Arrival,
    Asha,
    MemoryJournal,
    NullListener,
    Objective,
    Proposer,
    Scheduler,
    SearchSession,
    log_edges,
    make_searcher,
    simulate,
)
from nas_ray.space import Architecture, Rung
from tests.search.problems import OBJECTIVES, QUICKSTART, costs, loss

RUNGS = (1, 2, 4)


def session(
    num: int, scheduler: Scheduler | None = None, rungs: Sequence[int] = RUNGS, searcher: str = "random"
) -> SearchSession:
    proposer = Proposer(make_searcher(searcher, QUICKSTART, 2, 0), QUICKSTART, OBJECTIVES, [], costs, num)
    ladder = [Rung("stitched", budget) for budget in rungs]
    return SearchSession(proposer, scheduler, ladder, MemoryJournal(), [], costs, NullListener(), 32)


def rung_loss(architecture: Architecture, rung: int) -> float:
    return loss(architecture) + 0.1 / (rung + 1)


def rung_seconds(architecture: Architecture, rung: int) -> float:
    return float(RUNGS[rung] - (RUNGS[rung - 1] if rung else 0))


def test_one_worker_goes_through_one_candidate_after_the_other() -> None:
    search = session(3)
    found = simulate(search, rung_loss, rung_seconds)
    assert [arrival.seconds for arrival in found] == [1, 2, 4, 5, 6, 8, 9, 10, 12]
    assert [arrival.rung for arrival in found] == [0, 1, 2] * 3
    assert search.num_done == 3


def test_workers_work_at_once_and_nobody_waits_for_a_straggler() -> None:
    search = session(4, rungs=(1,))
    order = iter([10.0, 1.0, 1.0, 1.0])
    times: dict[str, float] = {}
    found = simulate(search, rung_loss, lambda a, rung: times.setdefault(a.arch_id, next(order, 1.0)), num_workers=2)
    assert [arrival.seconds for arrival in found] == [1, 2, 3, 10]


def test_the_clock_stops_at_until_and_what_is_under_way_stays_so() -> None:
    search = session(10)
    found = simulate(search, rung_loss, rung_seconds, num_workers=2, until=5.0)
    assert [arrival.seconds for arrival in found] == [1, 1, 2, 2, 4, 4, 5, 5]
    assert (search.num_done, len(search.outcomes)) == (2, 4)


def test_who_is_stopped_frees_its_worker() -> None:
    search = session(40, Asha(RUNGS, eta=2, min_per_bin=1))
    found = simulate(search, rung_loss, rung_seconds)
    assert found[-1].seconds == sum(rung_seconds(None, arrival.rung) for arrival in found)  # type: ignore[arg-type]
    assert found[-1].seconds < 0.7 * 4 * 40
    assert {outcome.status for outcome in search.outcomes.values()} == {"completed", "stopped"}


def test_a_trial_that_raises_has_failed_and_the_others_go_on() -> None:
    search = session(5)
    broken: list[str] = []

    def fails_at_rung_1(architecture: Architecture, rung: int) -> float:
        if rung == 1 and (not broken or architecture.arch_id in broken):
            broken.append(architecture.arch_id)
            raise MemoryError("boom")
        return math.nan if len(search.outcomes) == 5 else rung_loss(architecture, rung)

    simulate(search, fails_at_rung_1, rung_seconds)
    outcomes = list(search.outcomes.values())
    assert [outcome.status for outcome in outcomes] == ["failed", "completed", "completed", "completed", "failed"]
    assert [outcome.reason for outcome in outcomes if outcome.reason] == ["MemoryError: boom", "no finite loss"]


def test_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="found 0 workers"):
        simulate(session(1), rung_loss, rung_seconds, num_workers=0)


def run(num: int, objectives: Sequence[Objective] = OBJECTIVES) -> list[Arrival]:
    sizes = [costs(QUICKSTART.sample(np.random.default_rng(i)))["encoder_params"] for i in range(50)]
    asha = Asha(RUNGS, objectives=objectives, eta=2, bin_edges=log_edges(min(sizes), max(sizes), 4))
    return simulate(session(num, asha), rung_loss, rung_seconds, num_workers=16)


def test_the_same_twice() -> None:
    assert run(300) == run(300)


@pytest.mark.proof
@pytest.mark.parametrize("objectives", [OBJECTIVES, OBJECTIVES[:1]], ids=["mo_asha", "asha"])
def test_ten_thousand_candidates_take_seconds(objectives: Sequence[Objective]) -> None:
    began = time.process_time()
    found = run(10_000, objectives)
    assert time.process_time() - began < 60
    assert len({arrival.candidate_id for arrival in found}) == 10_000
