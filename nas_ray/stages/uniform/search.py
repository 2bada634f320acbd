"""Stage 2, the FPTAS: every epsilon-th architecture of the order is trained for a few steps, as Tune trials."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from nas_ray.distill import (
    DistillPlan,
    OutputsConfig,
    TrainingText,
    UniformJudgeConfig,
)
from nas_ray.errors import StageError
from nas_ray.search import (
    Asha,
    Journal,
    Listed,
    Objective,
    Outcome,
    Proposer,
    SearchSession,
    SetSearcher,
    SetSpace,
    how_many,
    log_edges,
)
from nas_ray.space import describe_ladder
from nas_ray.stages._candidates import TrackerListener
from nas_ray.stages._context import Context
from nas_ray.stages._outputs import teacher_outputs
from nas_ray.stages.search import STUDENTS, run_local
from nas_ray.stages.uniform._order import Order, Sets, intrinsic
from nas_ray.stages.uniform._surrogates import error_kind
from nas_ray.tables import write_parquet
from nas_ray.teacher import numerics_of

ORDER = "tables/order.parquet"


def run(context: Context) -> list[Path]:
    """Train and judge to the end; everything learned is in ``journal.jsonl``, the order in ``tables/order.parquet``."""
    console, order = context.console, intrinsic(context)
    sets = Sets(context)
    total = len(order.chosen) * sets.per_architecture
    session = open_session(context, order, sets)
    console.say(
        f"  {len(order.chosen)} of {len(order.architectures)} architectures below the maximum point "
        f"({how_many(context.spec.extraction.epsilon)} of the order), hyperparameter sets: {sets.per_architecture}; "
        f"error: {error_kind(context).replace('_', ' ')}; {describe_ladder(context.ladder)}"
    )
    write_order(context, order)

    def progress(now: SearchSession) -> None:
        console.progress(now.num_done, total, "trainings")

    try:
        config, arrays, text = judging(context)
        if context.is_local:
            run_local(session, config.build(arrays, text), progress)
        else:
            from nas_ray.cluster import run_search

            most = context.spec.search.max_concurrent
            run_search(session, config, arrays, text, max_concurrent=most, progress=progress)
    finally:
        session.journal.close()
    failed = [outcome for outcome in session.outcomes.values() if outcome.status == "failed"]
    if failed:
        console.say(f"  {len(failed)} trainings failed, the first: {_named(failed[0])}")
    if not any(outcome.status == "completed" for outcome in session.outcomes.values()):
        raise StageError(
            "search", f"no training was completed; the first: {_named(failed[0])}. What failed is not tried again, "
            f"unless by `nas-ray resume {shlex.quote(str(context.run.folder))} --from search`."
        )  # fmt: skip
    return [context.path("journal.jsonl"), context.path(ORDER)]


def open_session(context: Context, order: Order, sets: Sets) -> SearchSession:
    """The session of this run, its journal replayed."""
    spec, listed = context.spec, sets.listed(order.chosen)
    objectives = [Objective("loss"), Objective("params")]
    space: Any = context.tuples
    searcher: Any = None
    if sets.points is not None:
        space = SetSpace(order.chosen, sets.points)
        searcher = SetSearcher(space, sets.middle, spec.seed)
    proposer: Proposer[Any] = Proposer(
        searcher or Listed(),
        space,
        objectives,
        (),
        lambda candidate: context.costs_of(getattr(candidate, "architecture", candidate)),
        len(order.chosen) * sets.per_architecture,
        enqueued=[(candidate, "order") for candidate in listed],
        seed=spec.seed,
    )
    return SearchSession(
        proposer,
        _scheduler(context, order),
        context.ladder,
        Journal(context.path("journal.jsonl")),
        (),
        context.costs_of,
        TrackerListener(context.tracker(), context),
        0,
    )


def _scheduler(context: Context, order: Order) -> Asha | None:
    scheduler, ladder = context.spec.search.scheduler, context.ladder
    if not context.spec.extraction.early_stopping or scheduler.name == "none" or len(ladder) == 1:
        return None
    costs = [context.costs_of(a)[scheduler.cost] for a in (order.architectures[0], order.architectures[-1])]
    names = context.spec.search.objectives if scheduler.name == "mo_asha" else ("loss",)
    return Asha(
        range(1, len(ladder) + 1),
        objectives=[Objective(name) for name in names],
        eta=scheduler.eta,
        min_per_bin=scheduler.min_per_bin,
        cost=scheduler.cost,
        bin_edges=log_edges(max(1e-9, min(costs)), max(1e-9, *costs), scheduler.num_bins),
    )


def judging(context: Context) -> tuple[UniformJudgeConfig, list[Any], TrainingText]:
    """How a worker anywhere judges candidates of this run; the evaluation arrays and the training text, as it gets
    them. Made once."""
    if "judging" not in context.cache:
        context.cache["judging"] = _judging(context)
    found: tuple[UniformJudgeConfig, list[Any], TrainingText] = context.cache["judging"]
    return found


def _judging(context: Context) -> tuple[UniformJudgeConfig, list[Any], TrainingText]:
    spec, distill = context.spec, context.spec.search.distill
    assert distill is not None, "checked before anything starts"
    sequences = [found.sequences or 0 for found in spec.extraction.hyperparameter_sets]
    text = context.texts.training(distill.steps[-1] * max(distill.most_sequences, *sequences, 1))
    source, kind = context.teacher_source, error_kind(context)
    extraction, group = spec.extraction, spec.text.batch_sequences
    config = OutputsConfig(source.location, kind, extraction.cache_bytes, extraction.device)
    outputs, arrays = teacher_outputs(context, context.run.run_id, config)
    judge = UniformJudgeConfig(
        name=context.run.run_id,
        ladder=context.ladder,
        plan=_plan(context),
        vocab_size=context.shape.vocab_size,
        num_positions=context.shape.num_positions,
        numerics=numerics_of(source.config),
        ridges=spec.tabulate.ridges,
        mask_id=context.texts.mask_id,
        test_documents=context.texts.test_documents(),
        outputs=outputs,
        group=group,
        teacher=source.location if spec.extraction.start == "inherit" else None,
    )
    return judge, arrays, text


def _plan(context: Context) -> DistillPlan:
    distill = context.spec.search.distill
    assert distill is not None, "checked before anything starts"
    chosen = distill.model_dump(exclude={*distill.searched, "steps"})
    return DistillPlan(
        steps=distill.steps,
        seed=context.spec.seed,
        origin=context.spec.extraction.start,
        folder=context.path(STUDENTS),
        weight_bound=context.spec.extraction.weight_bound,
        device=context.spec.extraction.device,
        **{**distill.middle, **chosen},
    )


def write_order(context: Context, order: Order) -> None:
    """The order as a table: what ``status`` and other readers count by."""
    rows = [
        {
            "place": place,
            "arch_id": a.arch_id,
            "depth": a.depth,
            "heads": a.heads,
            "hidden": a.hidden,
            "intermediate": a.intermediate,
            "chosen": a in order.chosen,
            **context.costs_of(a),
        }
        for place, a in enumerate(order.architectures)
    ]
    trainings = len(order.chosen) * Sets(context).per_architecture
    metadata = {"table": "order", "maximum": order.maximum.arch_id, "trainings": trainings}
    write_parquet(context.path(ORDER), {name: [row[name] for row in rows] for name in rows[0]}, metadata)


def _named(outcome: Outcome) -> str:
    why = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.task.architecture.arch_id} {outcome.status}{why}"
