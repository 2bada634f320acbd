"""One search, whoever runs its trials: what comes next, who goes on, and what is remembered.

The session is the only writer of the journal. Tune's searcher and scheduler, and the search without Ray, are thin
adapters of ``next_task``, ``report`` and ``ended``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, cast

from nas_ray.search._asha import Scheduler
from nas_ray.search._journal import Journal, MemoryJournal
from nas_ray.search._proposer import Proposal, Proposer
from nas_ray.search._spaces import Joint, Point
from nas_ray.space import AnyArchitecture, Rung, candidate_id, parse_any

Status = Literal["running", "completed", "stopped", "failed"]
Candidate = AnyArchitecture | Joint[AnyArchitecture]


@dataclass(frozen=True)
class Task:
    """A candidate or reference to evaluate, from rung ``first_rung`` on; ``point``: hyperparameters of its own."""

    candidate_id: str
    architecture: AnyArchitecture
    kind: str
    label: str
    origin: str
    first_rung: int = 0
    point: Point | None = None

    @property
    def candidate(self) -> Candidate:
        """It as a member of the search space."""
        return self.architecture if self.point is None else Joint(self.architecture, self.point)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Those that are searched, by name."""
        return {} if self.point is None else dict(self.point.items)


@dataclass
class Outcome:
    """What is known of one candidate or reference."""

    task: Task
    losses: dict[int, float] = field(default_factory=dict)
    status: Status = "running"
    reason: str = ""
    """Why it failed."""
    goes_on: bool = True

    @property
    def rung(self) -> int | None:
        """The last rung reached."""
        return max(self.losses, default=None)

    @property
    def loss(self) -> float | None:
        """The loss at that rung."""
        return None if self.rung is None else self.losses[self.rung]


class Listener(Protocol):
    """Who wants to know what happens; see ``tracking.Tracker``."""

    def started(self, task: Task) -> None: ...

    def rung(self, task: Task, rung: Rung, loss: float) -> None: ...

    def ended(self, task: Task, outcome: Outcome) -> None: ...


class NullListener:
    """Nobody wants to know."""

    def started(self, task: Task) -> None:
        """Nothing."""

    def rung(self, task: Task, rung: Rung, loss: float) -> None:
        """Nothing."""

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Nothing."""


class SearchSession:
    """Gives out references first, then candidates; judges rungs; replays the journal of an interrupted search.

    What the journal left in flight goes on, of ``going_on`` (candidate ids) only if that is given.
    """

    def __init__(
        self,
        proposer: Proposer[Any],
        scheduler: Scheduler | None,
        rungs: Sequence[Rung],
        journal: Journal | MemoryJournal,
        references: Sequence[tuple[AnyArchitecture, str]],
        costs: Callable[[AnyArchitecture], Mapping[str, float]],
        listener: Listener,
        head_size: int,
        going_on: Collection[str] | None = None,
    ) -> None:
        self.proposer, self.scheduler, self.rungs, self.journal = proposer, scheduler, tuple(rungs), journal
        self.costs, self.listener, self.head_size = costs, listener, head_size
        self.num_references, self._going_on = len(references), going_on
        self.outcomes: dict[str, Outcome] = {}
        self._todo: deque[Task] = deque()
        self._replay()
        for architecture, label in references:
            task = Task(task_id(architecture), architecture, "reference", label, "reference")
            if task.candidate_id not in self.outcomes:
                self._todo.append(task)

    def next_task(self) -> Task | None:
        """What to evaluate next; None when everything has been given out."""
        if self._todo:
            task = self._todo.popleft()
        else:
            proposal = self.proposer.ask()
            if proposal is None:
                return None
            task = _task(proposal)
        if task.candidate_id not in self.outcomes:
            self.journal.append(_suggested(task))
            self.outcomes[task.candidate_id] = Outcome(task)
        self.listener.started(task)
        return task

    def report(self, candidate: str, rung: int, loss: float) -> bool:
        """Take the loss at ``rung``; whether the candidate goes on to the next."""
        outcome = self.outcomes[candidate]
        if rung in outcome.losses:  # the trial's worker was lost and it began again
            return outcome.goes_on if rung == outcome.rung else True
        goes_on = rung < len(self.rungs) - 1
        if self.scheduler is not None:
            goes_on = self.scheduler.report(candidate, rung, self._metrics(outcome.task, loss))
        elif not math.isfinite(loss):
            goes_on = False
        outcome.losses[rung], outcome.goes_on = loss, goes_on
        self.journal.append({"kind": "rung", "candidate_id": candidate, "rung": rung, "loss": loss, "goes_on": goes_on})
        self.listener.rung(outcome.task, self.rungs[rung], loss)
        return goes_on

    def ended(self, candidate: str, error: BaseException | None = None) -> None:
        """The candidate's trial is over, by ``error`` if it raised one; a second call changes nothing."""
        outcome = self.outcomes[candidate]
        if outcome.status != "running":
            return
        outcome.status, outcome.reason = self._end(outcome, error)
        self.journal.append(
            {"kind": "done", "candidate_id": candidate, "status": outcome.status, "reason": outcome.reason}
        )
        self._tell(outcome)
        self.listener.ended(outcome.task, outcome)

    @property
    def num_done(self) -> int:
        """Candidates and references that have ended."""
        return sum(outcome.status != "running" for outcome in self.outcomes.values())

    def _end(self, outcome: Outcome, error: BaseException | None) -> tuple[Status, str]:
        if error is not None:
            lines = str(error).strip().splitlines()
            return "failed", ": ".join([type(error).__name__, *lines[:1]])
        if outcome.loss is None or not math.isfinite(outcome.loss):
            return "failed", "no finite loss"
        return "completed" if outcome.rung == len(self.rungs) - 1 else "stopped", ""

    def _tell(self, outcome: Outcome) -> None:
        if outcome.task.kind == "candidate":
            metrics = None if outcome.status == "failed" or outcome.loss is None else {"loss": outcome.loss}
            self.proposer.tell(outcome.task.candidate.arch_id, metrics, outcome.status == "completed")

    def _replay(self) -> None:
        """Take over the journal: results in their order, then what was in flight, under its own id."""
        records = self.journal.records
        self.outcomes = read_outcomes(records, self.head_size)
        if self.scheduler is not None:
            self.scheduler.restore(
                (r["candidate_id"], r["rung"], self._metrics(self.outcomes[r["candidate_id"]].task, r["loss"]))
                for r in records
                if r["kind"] == "rung"
            )
        self.proposer.restore(self._proposals(), ())
        for outcome in [self.outcomes[r["candidate_id"]] for r in records if r["kind"] == "done"]:
            self._tell(outcome)
            self.listener.started(outcome.task)
            for rung, loss in sorted(outcome.losses.items()):
                self.listener.rung(outcome.task, self.rungs[rung], loss)
            self.listener.ended(outcome.task, outcome)
        for candidate, outcome in self.outcomes.items():
            if outcome.status != "running":
                continue
            if outcome.losses and not outcome.goes_on:  # judged, but the driver died before it could say so
                self.listener.started(outcome.task)
                self.ended(candidate)
            elif self._going_on is None or candidate in self._going_on:
                first = 0 if outcome.rung is None else outcome.rung + 1
                self._todo.append(replace(outcome.task, first_rung=first))

    def _metrics(self, task: Task, loss: float) -> dict[str, float]:
        """What a scheduler judges by."""
        return {**self.costs(task.architecture), "loss": loss}

    def _proposals(self) -> list[Proposal[Candidate]]:
        tasks = [outcome.task for outcome in self.outcomes.values() if outcome.task.kind == "candidate"]
        return [Proposal(i, task.candidate, task.origin, self.costs(task.architecture)) for i, task in enumerate(tasks)]


def read_outcomes(records: Iterable[Mapping[str, Any]], head_size: int) -> dict[str, Outcome]:
    """What a journal's records say of every candidate and reference, by candidate id."""
    found: dict[str, Outcome] = {}
    for record in records:
        kind, candidate = record["kind"], record.get("candidate_id", "")
        if kind == "suggested":
            architecture = parse_any(record["arch_id"], head_size)
            values = record.get("hyperparameters")
            point = None if values is None else Point(tuple(values.items()))
            task = Task(candidate, architecture, record["task"], record["label"], record["origin"], point=point)
            found[candidate] = Outcome(task)
        elif kind == "rung":
            outcome = found[candidate]
            outcome.losses[record["rung"]], outcome.goes_on = record["loss"], record["goes_on"]
        elif kind == "done":
            found[candidate].status, found[candidate].reason = _read_end(record)
    return found


def _read_end(record: Mapping[str, Any]) -> tuple[Status, str]:
    """Journals used to hold one sentence: ``stopped at rung 1``, ``failed: why``."""
    sentence, _, why = record["status"].partition(": ")
    return cast(Status, sentence.partition(" ")[0]), record.get("reason", why)


def task_id(candidate: Candidate) -> str:
    """The candidate id of an architecture, or of one with hyperparameters of its own."""
    if isinstance(candidate, Joint):
        config = {"architecture": candidate.architecture.arch_id, "hyperparameters": dict(candidate.point.items)}
        return candidate_id(config)
    return candidate_id({"architecture": candidate.arch_id})


def _task(proposal: Proposal[Candidate]) -> Task:
    """A task for what was proposed."""
    found = proposal.architecture
    architecture, point = (found.architecture, found.point) if isinstance(found, Joint) else (found, None)
    return Task(task_id(found), architecture, "candidate", "", proposal.origin, point=point)


def _suggested(task: Task) -> dict[str, Any]:
    """The journal's record of a task that is given out for the first time."""
    record = {
        "kind": "suggested",
        "candidate_id": task.candidate_id,
        "arch_id": task.architecture.arch_id,
        "task": task.kind,
        "label": task.label,
        "origin": task.origin,
    }
    return record if task.point is None else {**record, "hyperparameters": task.hyperparameters}
