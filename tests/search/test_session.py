"""The session: what is given out, who goes on, and that a killed search continues as if never interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas_ray.search import (
    Asha,
    Journal,
    Objective,
    Outcome,
    Proposer,
    SearchSession,
    Task,
    make_searcher,
    read_journal,
    read_outcomes,
    task_id,
)
from nas_ray.space import Architecture, Operation, OperationChoice, PathSpace, Rung
from nas_ray.space import Path as BlockPath

RUNGS = (1, 2, 4)
LADDER = tuple(Rung("stitched", budget) for budget in RUNGS)
SPACE = PathSpace("toy", 2, 3, (32, 64), 16, (OperationChoice("attention"), OperationChoice("feed_forward")), (64,))


_OPEN: list[Journal] = []


@pytest.fixture(autouse=True)
def _close_journals() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


class Recorder:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, task: Task) -> None:
        self.events.append(("started", task.candidate_id))

    def rung(self, task: Task, rung: Rung, loss: float) -> None:
        self.events.append((f"rung {rung.budget}", task.candidate_id))

    def ended(self, task: Task, outcome: Outcome) -> None:
        self.events.append(("ended", task.candidate_id))


def costs(architecture: Architecture) -> dict[str, float]:
    return {"encoder_params": float(sum(path.num_params() for path in architecture.paths))}


def loss_of(architecture: Architecture, rung: int) -> float:
    return 1e5 / costs(architecture)["encoder_params"] + 0.001 * len(architecture.arch_id) + 0.01 / (rung + 1)


def reference() -> Architecture:
    path = BlockPath(64, (Operation("attention", heads=4, head_size=16),))
    return Architecture(64, (path, path))


def make(folder: Path, *, asha: bool = True, num: int = 12, listener: Recorder | None = None) -> SearchSession:
    known = reference()
    objectives = [Objective("loss"), Objective("encoder_params")]
    searcher = make_searcher("evolution", SPACE, 2, 0, {})
    proposer = Proposer(searcher, SPACE, objectives, [], costs, num, exclude={known.arch_id})
    halving = Asha(RUNGS, eta=2, min_per_bin=2, exempt={task_id(known)}) if asha else None
    journal = Journal(folder / "journal.jsonl")
    _OPEN.append(journal)
    return SearchSession(proposer, halving, LADDER, journal, [(known, "uniform 64")], costs, listener or Recorder(), 16)


def run(session: SearchSession, die: Callable[[int], bool] = lambda _: False) -> None:
    """Evaluate tasks one after another; ``die`` gets the number of calls so far and may end the process."""
    calls = 0

    def alive() -> None:
        nonlocal calls
        calls += 1
        if die(calls):
            raise InterruptedError

    while (task := session.next_task()) is not None:
        alive()
        for rung in range(task.first_rung, len(RUNGS)):
            goes_on = session.report(task.candidate_id, rung, loss_of(task.architecture, rung))
            alive()
            if not goes_on:
                break
        session.ended(task.candidate_id)
        alive()


def summary(session: SearchSession) -> list[tuple[str, str, dict[int, float]]]:
    return [(name, o.status, dict(sorted(o.losses.items()))) for name, o in session.outcomes.items()]


def test_references_come_first_and_are_never_stopped(tmp_path: Path) -> None:
    session = make(tmp_path)
    run(session)
    first = next(iter(session.outcomes.values()))
    assert first.task.kind == "reference"
    assert first.status == "completed"
    kinds = [o.task.kind for o in session.outcomes.values()]
    assert kinds.count("reference") == 1
    assert kinds.count("candidate") == 12
    assert any(o.status == "stopped" for o in session.outcomes.values())


def test_without_a_scheduler_everyone_completes(tmp_path: Path) -> None:
    session = make(tmp_path, asha=False)
    run(session)
    assert {o.status for o in session.outcomes.values()} == {"completed"}


def test_a_loss_that_is_not_finite_fails_the_candidate(tmp_path: Path) -> None:
    session = make(tmp_path, asha=False)
    session.next_task()
    task = session.next_task()
    assert task is not None
    assert not session.report(task.candidate_id, 0, float("nan"))
    session.ended(task.candidate_id)
    outcome = session.outcomes[task.candidate_id]
    assert (outcome.status, outcome.reason) == ("failed", "no finite loss")


def test_an_error_is_remembered_and_ending_twice_changes_nothing(tmp_path: Path) -> None:
    listener = Recorder()
    session = make(tmp_path, listener=listener)
    task = session.next_task()
    assert task is not None
    session.ended(task.candidate_id, MemoryError("boom\nand more"))
    session.ended(task.candidate_id)
    outcome = session.outcomes[task.candidate_id]
    assert (outcome.status, outcome.reason) == ("failed", "MemoryError: boom")
    again = read_outcomes(read_journal(session.journal.path), 16)[task.candidate_id]
    assert (again.status, again.reason) == ("failed", "MemoryError: boom")
    assert [event for event, _ in listener.events].count("ended") == 1


@pytest.mark.parametrize(
    ("sentence", "meant"),
    [
        ("completed", ("completed", "")),
        ("stopped at rung 1", ("stopped", "")),
        ("failed: no finite loss", ("failed", "no finite loss")),
        ("failed: TypeError: a: b", ("failed", "TypeError: a: b")),
    ],
)
def test_journals_of_older_versions_are_understood(sentence: str, meant: tuple[str, str]) -> None:
    known = reference()
    records = [
        {"kind": "journal", "format": 1},
        {"kind": "suggested", "candidate_id": "a", "arch_id": known.arch_id, "task": "candidate", "label": "",
         "origin": "front"},
        {"kind": "rung", "candidate_id": "a", "rung": 0, "loss": 0.5, "goes_on": True},
        {"kind": "done", "candidate_id": "a", "status": sentence},
    ]  # fmt: skip
    outcome = read_outcomes(records, 16)["a"]
    assert (outcome.status, outcome.reason) == meant
    assert (outcome.task.architecture, outcome.losses) == (known, {0: 0.5})


@pytest.mark.parametrize("death", [1, 2, 3, 4, 7, 12, 20, 25])
def test_killed_at_any_moment_the_outcome_is_that_of_an_undisturbed_search(tmp_path: Path, death: int) -> None:
    whole = make(tmp_path / "whole")
    run(whole)
    session = make(tmp_path / "killed")
    with pytest.raises(InterruptedError):
        run(session, lambda calls: calls == death)
    session.journal.close()
    resumed = make(tmp_path / "killed")
    run(resumed)
    assert summary(resumed) == summary(whole)
    done = [r["candidate_id"] for r in resumed.journal.records if r["kind"] == "done"]
    rungs = [(r["candidate_id"], r["rung"]) for r in resumed.journal.records if r["kind"] == "rung"]
    assert len(done) == len(set(done)) == 13
    assert len(rungs) == len(set(rungs))


def test_killed_again_and_again(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole")
    run(whole)
    for _ in range(60):
        session = make(tmp_path / "killed")
        try:
            run(session, lambda calls: calls == 3)
        except InterruptedError:
            session.journal.close()
            continue
        break
    assert summary(session) == summary(whole)


def test_a_rung_reported_again_by_a_restarted_trial_counts_once(tmp_path: Path) -> None:
    session = make(tmp_path)
    task = session.next_task()
    assert task is not None
    assert session.report(task.candidate_id, 0, 0.5)
    assert session.report(task.candidate_id, 0, 0.7)
    assert session.outcomes[task.candidate_id].losses == {0: 0.5}
    assert [r["kind"] for r in session.journal.records].count("rung") == 1


def test_a_resumed_search_tells_the_listener_everything_once(tmp_path: Path) -> None:
    session = make(tmp_path)
    with pytest.raises(InterruptedError):
        run(session, lambda calls: calls == 10)
    session.journal.close()
    listener = Recorder()
    resumed = make(tmp_path, listener=listener)
    run(resumed)
    ended = [name for event, name in listener.events if event == "ended"]
    assert sorted(ended) == sorted(resumed.outcomes)
