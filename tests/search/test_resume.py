"""A search killed at any record and resumed, as often as one likes: a property of every searcher and scheduler."""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from nas_ray.search import (
    Asha,
    MemoryJournal,
    NullListener,
    Proposer,
    SearchSession,
    make_searcher,
    simulate,
    task_id,
)
from nas_ray.space import Architecture, Rung
from tests.search.problems import OBJECTIVES, SEARCHERS, SMALL, SMALL_OPTIONS, costs, loss

RUNGS = (1, 2, 4)
NUM_CANDIDATES = 14
REFERENCE, *ENQUEUED = (Architecture(64, (path, path)) for path in SMALL.paths[5:9])
Records = list[dict[str, Any]]


class Killed(Exception):
    """What no part of a search may catch for good."""


class DyingJournal(MemoryJournal):
    """Keeps ``lives`` more records, then the process is gone; a killed process leaves nothing but its journal."""

    def __init__(self, records: Records, lives: float) -> None:
        super().__init__(json.loads(json.dumps(records)))
        self.lives = lives

    def append(self, record: dict[str, Any]) -> None:
        if self.lives <= 0:
            raise Killed
        self.lives -= 1
        super().append(record)


def number_of(architecture: Architecture) -> int:
    return zlib.crc32(architecture.arch_id.encode())


def loss_at(architecture: Architecture, rung: int) -> float:
    if number_of(architecture) % 7 == 0 and rung == 1:
        raise MemoryError("boom")
    return math.nan if number_of(architecture) % 11 == 0 else loss(architecture) + 0.1 / (rung + 1)


def seconds_at(architecture: Architecture, rung: int) -> float:
    return 1.0 + number_of(architecture) % 5 + rung


def live(records: Records, searcher: str, scheduler: str, num_workers: int, lives: float = math.inf) -> Records:
    """One process from its start to its end, or to its death after ``lives`` records; the journal that it leaves."""
    journal = DyingJournal(records, lives)
    proposer = Proposer(
        make_searcher(searcher, SMALL, 2, 0, SMALL_OPTIONS[searcher]),
        SMALL,
        OBJECTIVES,
        [],
        costs,
        NUM_CANDIDATES,
        enqueued=[(architecture, "front") for architecture in ENQUEUED],
        exclude={REFERENCE.arch_id},
    )
    asha = Asha(
        RUNGS,
        objectives=OBJECTIVES if scheduler == "mo_asha" else OBJECTIVES[:1],
        eta=2,
        min_per_bin=2,
        bin_edges=(200_000.0,),
        exempt={task_id(REFERENCE)},
        apart=set(map(task_id, ENQUEUED)),
        apart_rungs=1,
    )
    try:
        session = SearchSession(
            proposer,
            None if scheduler == "none" else asha,
            [Rung("stitched", budget) for budget in RUNGS],
            journal,
            [(REFERENCE, "reference")],
            costs,
            NullListener(),
            SMALL.head_size,
        )
        simulate(session, loss_at, seconds_at, num_workers=num_workers)
    except Killed:
        pass
    return journal.records


@given(
    st.sampled_from(SEARCHERS),
    st.sampled_from(["mo_asha", "asha", "none"]),
    st.integers(1, 4),
    st.lists(st.integers(0, 25), max_size=8),
)
@example("evolution", "mo_asha", 1, [1] * 200)
@example("random", "none", 3, [1] * 200)
def test_killed_at_any_record_nothing_is_lost_or_done_twice(
    searcher: str, scheduler: str, num_workers: int, deaths: list[int]
) -> None:
    records: Records = []
    for lives in deaths:
        before, records = records, live(records, searcher, scheduler, num_workers, lives)
        assert json.dumps(records[: len(before)]) == json.dumps(before)  # NaN is not equal to itself
    records = live(records, searcher, scheduler, num_workers)

    suggested = [r for r in records if r["kind"] == "suggested"]
    assert len({r["arch_id"] for r in suggested}) == len(suggested) == NUM_CANDIDATES + 1
    assert Counter(r["candidate_id"] for r in records if r["kind"] == "done") == Counter(
        r["candidate_id"] for r in suggested
    )
    for candidate in (r["candidate_id"] for r in suggested):
        own = [(r["kind"], r.get("rung")) for r in records if r.get("candidate_id") == candidate]
        assert own == [("suggested", None), *(("rung", rung) for rung in range(len(own) - 2)), ("done", None)]
    if num_workers == 1:
        assert json.dumps(records) == json.dumps(live([], searcher, scheduler, 1))


def test_the_undisturbed_search_has_all_kinds_of_ends() -> None:
    """Else the property would say little."""
    records = live([], "random", "mo_asha", 2)
    ends = Counter(r["status"] for r in records if r["kind"] == "done")
    assert set(ends) == {"completed", "stopped", "failed"}
    assert {r["reason"] for r in records if r["kind"] == "done"} >= {"", "MemoryError: boom"}
