"""The search as the stages see it: proposals, references, judging; the same for the search, its plan and its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_ray.errors import TableError
from nas_ray.search import (
    Asha,
    Constraint,
    Journal,
    Objective,
    Outcome,
    Proposer,
    SearchSession,
    TableProblem,
    Task,
    log_edges,
    make_searcher,
    spread,
    table_problem,
    task_id,
)
from nas_ray.space import Architecture, references
from nas_ray.stages._context import Context
from nas_ray.tables import QualityTable
from nas_ray.tracking import CandidateRecord, Tracker, architecture_params

TEACHER = "teacher"


def reference_architectures(context: Context) -> list[tuple[Architecture, str]]:
    """Uniform hand-designed encoders of each width, and the teacher, as architectures with labels."""
    costs, space = context.costs, context.space
    size = context.shape.hidden if context.shape.hidden in space.embedding_sizes else max(space.embedding_sizes)
    found = []
    for width, path in references(space, context.shape).items():
        if path == costs.frozen:
            continue
        if not set(path.operations) <= set(space.operations[width]):
            continue  # the supernet has no weights for it
        architecture = Architecture(size, (path,) * space.num_blocks)
        encoder_params = int(costs.of(architecture)["encoder_params"])
        found.append((space.with_rule(architecture, encoder_params), f"uniform {width}"))
    if costs.frozen is not None:
        found.append((Architecture(context.shape.hidden, (costs.frozen,) * space.num_blocks), TEACHER))
    return found


def problem(context: Context) -> TableProblem:
    """The tables as a problem for the exact solver."""
    search = context.spec.search
    metrics = [name for name in search.objectives if name != "loss"]
    metrics += [name for name in (*search.constraints, "encoder_params") if name not in metrics]
    return table_problem(context.costs, _quality(context), metrics)


def proposals(context: Context, solver: TableProblem) -> tuple[list[tuple[Architecture, str]], str]:
    """Architectures of the tables' exact front, spread over log size, and what the front guarantees."""
    search = context.spec.search
    objectives = [solver.metrics[0], *(name for name in search.objectives if name != "loss")]
    front = solver.front(objectives, search.constraints)
    size = solver.metrics.index("encoder_params")
    count = int(search.num_candidates * search.proposals)
    points = [point for point in front.points if point.values[size] > 0]
    chosen = spread(points, count, lambda point: point.values[size])
    guarantee = str(_quality(context).metadata["guarantee"])
    if not front.guarantee.startswith("exact"):
        guarantee = f"{front.guarantee}; its losses are {guarantee}"
    return [(solver.architecture(point.names), "front") for point in chosen], guarantee


def open_session(context: Context, tracker: Tracker, *, read_only: bool = False) -> SearchSession:
    """The session of this run, its journal replayed.

    Raises:
        InfeasibleError: no architecture meets the constraints.
    """
    search, costs, space = context.spec.search, context.costs, _scored_space(context)
    solver = problem(context)
    solver.require_feasible(search.constraints)
    enqueued, _ = proposals(context, solver)
    known = reference_architectures(context)
    searcher = make_searcher(
        search.searcher.name, space, len(search.objectives), context.spec.seed, search.searcher.options
    )
    proposer = Proposer(
        searcher,
        space,
        [Objective(name) for name in search.objectives],
        [Constraint(name, bound) for name, bound in search.constraints.items()],
        costs.of,
        search.num_candidates,
        enqueued=enqueued,
        exclude={architecture.arch_id for architecture, _ in known},
        seed=context.spec.seed,
    )
    return SearchSession(
        proposer,
        _asha(context, known, enqueued),
        search.rungs,
        Journal(context.path("journal.jsonl"), read_only=read_only),
        known,
        costs.of,
        search.scheduler.cost,
        TrackerListener(tracker, context),
        space.head_size,
    )


def outcome_row(context: Context, outcome: Outcome) -> dict[str, Any]:
    """One row of ``candidates.parquet``; test loss and front membership are filled in later."""
    architecture = outcome.task.architecture
    costs = context.costs.of(architecture)
    return {
        "candidate_id": outcome.task.candidate_id,
        "arch_id": architecture.arch_id,
        "kind": outcome.task.kind,
        "label": outcome.task.label,
        "origin": outcome.task.origin,
        "status": outcome.status,
        "rung": outcome.rung,
        "params": int(costs["params"]),
        "encoder_params": int(costs["encoder_params"]),
        "flops": costs["flops"],
        "latency_ms": costs["latency_ms"],
        "table_loss": _table_loss(context, architecture),
        "select_loss": outcome.loss,
        "test_loss": None,
        "pareto": False,
    }


class TrackerListener:
    """Passes on to MLflow what the session tells."""

    def __init__(self, tracker: Tracker, context: Context) -> None:
        self.tracker, self.context = tracker, context

    def started(self, task: Task) -> None:
        self.tracker.candidate_started(
            CandidateRecord(
                task.candidate_id,
                task.architecture.arch_id,
                task.origin,
                "reference" if task.kind == "reference" else "candidate",
                task.label,
                architecture_params(task.architecture),
            )
        )

    def rung(self, task: Task, budget: int, loss: float) -> None:
        self.tracker.candidate_rung(task.candidate_id, budget, loss)

    def ended(self, task: Task, outcome: Outcome) -> None:
        row = outcome_row(self.context, outcome)
        names = ("params", "encoder_params", "flops", "latency_ms", "table_loss", "select_loss")
        metrics: Mapping[str, float | None] = {name: row[name] for name in names}
        self.tracker.candidate_ended(task.candidate_id, outcome.status, metrics)


def _quality(context: Context) -> QualityTable:
    if "quality" not in context.cache:
        context.cache["quality"] = QualityTable.read(context.path("tables/quality.parquet"))
    table: QualityTable = context.cache["quality"]
    return table


def _scored_space(context: Context) -> Any:
    """The space restricted to the paths that have a loss."""
    losses = _quality(context).losses[1:]
    if all(len(found) == len(context.space.paths) for found in losses):
        return context.space
    return context.space.restrict([frozenset(found) for found in losses])


def _table_loss(context: Context, architecture: Architecture) -> float | None:
    """The summed loss, or None for a reference whose paths were not scored."""
    try:
        return _quality(context).total(architecture)
    except TableError:
        return None


def _asha(
    context: Context, known: list[tuple[Architecture, str]], enqueued: list[tuple[Architecture, str]]
) -> Asha | None:
    search = context.spec.search
    scheduler = search.scheduler
    if scheduler.name == "none":
        return None
    space, costs = _scored_space(context), context.costs
    ends = []
    for pick in (min, max):
        paths = tuple(pick(space.block_paths(b), key=lambda p: p.num_params()) for b in range(space.num_blocks))
        ends.append(costs.of(Architecture(pick(space.embedding_sizes), paths))[scheduler.cost])
    return Asha(
        search.rungs,
        eta=scheduler.eta,
        min_per_bin=scheduler.min_per_bin,
        bin_edges=log_edges(max(1e-9, min(ends)), max(1e-9, *ends), scheduler.bins),
        exempt={task_id(architecture) for architecture, _ in known},
        apart={task_id(architecture) for architecture, _ in enqueued},
    )
