"""The search as the stages see it: proposals, references, judging; the same for the search, its plan and its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from nas_ray._files import write_text
from nas_ray.search import (
    Asha,
    Candidate,
    Constraint,
    Journal,
    Objective,
    Outcome,
    Proposer,
    SearchSession,
    TableProblem,
    Task,
    log_edges,
    make_price,
    make_searcher,
    normalise,
    read_journal,
    read_outcomes,
    spread,
    table_problem,
    task_id,
)
from nas_ray.space import Architecture, Rung, references
from nas_ray.stages._context import Context
from nas_ray.stages._enqueued import listed, proposed_before
from nas_ray.stages._searched import quality, scored_space, searched_space, table_loss
from nas_ray.tracking import CandidateRecord, Tracker, architecture_params

TEACHER = "teacher"
PROPOSALS = "tables/proposals.json"
ASKED = "tables"  # origin of what somebody wants judged to the end


def reference_architectures(context: Context) -> list[tuple[Architecture, str]]:
    """Uniform hand-designed encoders of each width, as far as the space holds them, and the teacher; with labels."""
    costs, space = context.costs, context.space
    size = context.shape.hidden if context.shape.hidden in space.embedding_sizes else max(space.embedding_sizes)
    found = []
    for width, path in references(space, context.shape).items():
        if path == costs.frozen:
            continue
        architecture = Architecture(size, (path,) * space.num_blocks)
        if space.contains(architecture):
            found.append((normalise(space, architecture, costs.of)[0], f"uniform {width}"))
    if costs.frozen is not None:
        found.append((Architecture(context.shape.hidden, (costs.frozen,) * space.num_blocks), TEACHER))
    return found


def problem(context: Context) -> TableProblem:
    """The tables as a problem for the exact solver."""
    search = context.spec.search
    metrics = [name for name in search.objectives if name != "loss"]
    metrics += [name for name in (*search.constraints, "encoder_params") if name not in metrics]
    return table_problem(context.costs, quality(context), metrics)


def propose(context: Context, solver: TableProblem) -> list[tuple[Architecture, str]]:
    """Architectures of the tables' exact front, spread over log size; kept beside the tables with their guarantee."""
    found, guarantee = _solved(context, solver)
    kept = {"guarantee": guarantee, "arch_ids": [architecture.arch_id for architecture in found]}
    write_text(context.path(PROPOSALS), json.dumps(kept, indent=1))
    return [(architecture, "front") for architecture in found]


def front_guarantee(context: Context) -> str:
    """What the front that candidates were proposed from guarantees."""
    file = context.path(PROPOSALS)
    if not file.is_file():  # a run of an older version
        return _solved(context, problem(context))[1]
    return str(json.loads(file.read_text(encoding="utf-8"))["guarantee"])


def _solved(context: Context, solver: TableProblem) -> tuple[list[Architecture], str]:
    search = context.spec.search
    objectives = [solver.metrics[0], *(name for name in search.objectives if name != "loss")]
    front = solver.front(objectives, context.bounds)
    size = solver.metrics.index("encoder_params")
    count = int(search.num_candidates * search.proposals)
    points = [point for point in front.points if point.values[size] > 0]
    chosen = spread(points, count, lambda point: point.values[size])
    guarantee = str(quality(context).metadata["guarantee"])
    if not front.guarantee.startswith("exact"):
        guarantee = f"{front.guarantee}; its losses are {guarantee}"
    before = proposed_before(context)
    rest = [found for point in chosen if (found := solver.architecture(point.names)) not in before]
    return [*before, *rest[: count - len(before)]], guarantee


def open_session(context: Context, tracker: Tracker) -> SearchSession:
    """The session of this run, its journal replayed.

    Raises:
        InfeasibleError: no architecture meets the constraints.
    """
    search = context.spec.search
    solver = problem(context)
    solver.require_feasible(context.bounds)
    searched = searched_space(context)
    wanted = listed(context, scored_space(context))
    first = [*(pair for pair in wanted if pair[1] == ASKED), *propose(context, solver), *wanted]
    enqueued = [(searched.candidate(architecture), origin) for architecture, origin in first]
    known = reference_architectures(context)
    objectives = [Objective(name) for name in search.objectives]
    constraints = [Constraint(name, bound) for name, bound in search.constraints.items()]
    searcher = make_searcher(
        search.searcher.name,
        searched.space,
        len(objectives),
        context.spec.seed,
        search.searcher.options,
        price=make_price(searched.space, objectives, constraints, searched.costs, searched.prior),
    )
    proposer = Proposer(
        searcher,
        searched.space,
        objectives,
        constraints,
        searched.costs,
        search.num_candidates,
        enqueued=enqueued,
        exclude={searched.candidate(architecture).arch_id for architecture, _ in known},
        seed=context.spec.seed,
    )
    return SearchSession(
        proposer,
        _scheduler(context, known, enqueued),
        search.ladder,
        Journal(context.path("journal.jsonl")),
        known,
        context.costs_of,
        TrackerListener(tracker, context),
        context.head_size,
    )


def outcome_row(context: Context, outcome: Outcome, ladder: Sequence[Rung] | None = None) -> dict[str, Any]:
    """One row of ``candidates.parquet``; test loss and front membership are filled in later.

    Rungs are those of ``ladder``, the search's own if not given.
    """
    architecture = outcome.task.architecture
    costs = context.costs_of(architecture)
    rung = None if outcome.rung is None else (ladder or context.ladder)[outcome.rung]
    return {
        "candidate_id": outcome.task.candidate_id,
        "arch_id": architecture.arch_id,
        "kind": outcome.task.kind,
        "label": outcome.task.label,
        "origin": outcome.task.origin,
        "status": outcome.status,
        "reason": outcome.reason,
        "rung": outcome.rung,
        "fidelity": "" if rung is None else str(rung),
        "hyperparameters": json.dumps(outcome.task.hyperparameters) if outcome.task.point else "",
        "params": int(costs["params"]),
        "encoder_params": int(costs["encoder_params"]),
        "flops": costs["flops"],
        "latency_ms": costs["latency_ms"],
        "table_loss": table_loss(context, architecture) if isinstance(architecture, Architecture) else None,
        "select_loss": None if rung is None or rung.kind == "blocks" else outcome.loss,
        "test_loss": None,
        "pareto": False,
    }


class TrackerListener:
    """Passes on to MLflow what the session tells."""

    def __init__(
        self, tracker: Tracker, context: Context, ladder: Sequence[Rung] | None = None, stage: str = "search"
    ) -> None:
        self.tracker, self.context, self.ladder, self.stage = tracker, context, ladder or context.ladder, stage

    def started(self, task: Task) -> None:
        self.tracker.candidate_started(
            CandidateRecord(
                task.candidate_id,
                task.architecture.arch_id,
                task.origin,
                "reference" if task.kind == "reference" else "candidate",
                task.label,
                {**architecture_params(task.architecture), **task.hyperparameters},
            )
        )

    def rung(self, task: Task, rung: Rung, loss: float) -> None:
        self.tracker.candidate_rung(task.candidate_id, rung.budget, loss, rung.metric)

    def ended(self, task: Task, outcome: Outcome) -> None:
        row = outcome_row(self.context, outcome, self.ladder)
        names = ["params", "encoder_params", "flops", "latency_ms", "table_loss", "rung"]
        if self.stage == "search":  # elsewhere it is a weighted sum of other losses, not to be compared with this
            names.append("select_loss")
        metrics: Mapping[str, float | None] = {name: row[name] for name in names}
        status = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
        tags = {"stage": self.stage, "rung": "none" if outcome.rung is None else str(outcome.rung)}
        documents = {"candidate.json": json.dumps(self._document(outcome, row), indent=1)}
        self.tracker.candidate_ended(task.candidate_id, status, metrics, tags, documents)

    def told(self, journal: Path) -> None:
        """Everything that ``journal`` knows, as if it happened now."""
        for outcome in read_outcomes(read_journal(journal), self.context.head_size).values():
            self.started(outcome.task)
            for rung, loss in sorted(outcome.losses.items()):
                self.rung(outcome.task, self.ladder[rung], loss)
            if outcome.status != "running":
                self.ended(outcome.task, outcome)

    def _document(self, outcome: Outcome, row: Mapping[str, Any]) -> dict[str, Any]:
        """The candidate whole: its architecture, and its loss on ever more batches."""
        ladder, names = (
            self.ladder,
            ("params", "encoder_params", "flops", "latency_ms", "table_loss"),
        )
        curve = [
            {
                "rung": ladder[rung].kind,
                ladder[rung].unit: ladder[rung].budget,
                "loss": loss if isfinite(loss) else None,
            }
            for rung, loss in sorted(outcome.losses.items())
        ]
        return {
            "candidate_id": outcome.task.candidate_id,
            "arch_id": row["arch_id"],
            "architecture": asdict(outcome.task.architecture),
            "hyperparameters": outcome.task.hyperparameters,
            "origin": outcome.task.origin,
            "status": outcome.status,
            "reason": outcome.reason,
            "costs": {name: row[name] for name in names},
            "curve": curve,
        }


def _scheduler(
    context: Context, known: list[tuple[Architecture, str]], enqueued: Sequence[tuple[Candidate, str]]
) -> Asha | None:
    search = context.spec.search
    scheduler = search.scheduler
    if scheduler.name == "none":
        return None
    space, costs = scored_space(context), context.costs
    ends = []
    for pick in (min, max):
        paths = tuple(pick(space.block_paths(b), key=lambda p: p.num_params()) for b in range(space.num_blocks))
        ends.append(costs.of(Architecture(pick(space.embedding_sizes), paths))[scheduler.cost])
    return Asha(
        range(1, len(search.ladder) + 1),
        objectives=[Objective(name) for name in (search.objectives if scheduler.name == "mo_asha" else ("loss",))],
        eta=scheduler.eta,
        min_per_bin=scheduler.min_per_bin,
        cost=scheduler.cost,
        bin_edges=log_edges(max(1e-9, min(ends)), max(1e-9, *ends), scheduler.num_bins),
        exempt={
            task_id(found) for found in (*(a for a, _ in known), *(c for c, origin in enqueued if origin == ASKED))
        },
        apart={task_id(candidate) for candidate, _ in enqueued},
    )
