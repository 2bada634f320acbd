"""Stage 4: candidates and references are stitched and judged, rung by rung, as Tune trials."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from nas_ray.distill import AnyJudge, Assignment, DistillPlan, Judge, JudgeConfig, TrainingText
from nas_ray.errors import StageError
from nas_ray.measure import EvaluatorConfig
from nas_ray.search import Outcome, SearchSession, Task
from nas_ray.space import describe_ladder
from nas_ray.stages._candidates import PROPOSALS, open_session
from nas_ray.stages._context import Context

STUDENTS = "students"  # checkpoints of distilled candidates


def run(context: Context) -> list[Path]:
    """Run the search to its end; everything it learned is in ``journal.jsonl``."""
    console, search = context.console, context.spec.search
    session = open_session(context, context.tracker())
    total = search.num_candidates + session.num_references
    console.say(
        f"  {search.num_candidates} candidates by {search.searcher.name} after the tables' front, "
        f"{session.num_references} references; rungs: {describe_ladder(search.ladder)}"
    )

    left = session.proposer.num_enqueued - search.num_candidates
    if left > 0 and not session.outcomes:
        console.say(
            f"  the last {left} enqueued find no room in search.num_candidates, which is {search.num_candidates}"
        )

    def progress(now: SearchSession) -> None:
        stopped = sum(outcome.status == "stopped" for outcome in now.outcomes.values())
        console.progress(now.num_done, total, "candidates", f"{stopped} stopped early")

    config, text = judge_config(context), training_text(context)
    published = context.published()
    try:
        if context.is_local:
            run_local(session, Judge(config, published, text), progress)
        else:
            from nas_ray.cluster import run_search

            run_search(session, config, published, text, max_concurrent=search.max_concurrent, progress=progress)
    finally:
        session.journal.close()
    failed = [outcome for outcome in session.outcomes.values() if outcome.status == "failed"]
    if failed:
        console.say(f"  {len(failed)} candidates or references failed, the first: {_named(failed[0])}")
    candidates = [outcome for outcome in session.outcomes.values() if outcome.task.kind == "candidate"]
    if not candidates:
        raise StageError("search", "no candidate could be proposed: the space holds nothing beside the references.")
    if not any(outcome.status == "completed" for outcome in candidates):
        raise StageError(
            "search", f"no candidate was completed; the first: {_named(candidates[0])}. What failed is not tried "
            f"again, unless by `nas-ray resume {shlex.quote(str(context.run.folder))} --from search`."
        )  # fmt: skip
    return [context.path("journal.jsonl"), context.path(PROPOSALS)]


def run_local(session: SearchSession, judge: AnyJudge, progress: Callable[[SearchSession], None]) -> None:
    """The search in this process, one candidate at a time; one that raises an error has failed, the others go on."""
    while (task := session.next_task()) is not None:
        session.ended(task.candidate_id, _judged(session, judge, task, progress))
        progress(session)


def _judged(
    session: SearchSession, judge: AnyJudge, task: Task, progress: Callable[[SearchSession], None]
) -> Exception | None:
    """Report rung after rung; what the candidate itself raised, if it did."""
    candidate = judge.begin(Assignment(task.candidate_id, task.architecture.arch_id, task.hyperparameters))
    for rung in range(task.first_rung, len(session.rungs)):
        try:
            loss = candidate.loss(rung)
        except Exception as error:
            return error
        if not session.report(task.candidate_id, rung, loss):
            break
        progress(session)
    return None


def _named(outcome: Outcome) -> str:
    why = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.task.label or outcome.task.architecture.arch_id} {outcome.status}{why}"


def judge_config(context: Context) -> JudgeConfig:
    """How a worker anywhere judges candidates of this run."""
    search, counts = context.spec.search, context.texts.counts
    evaluator = EvaluatorConfig(
        key=context.run.run_id,
        space=context.space,
        start=context.spec.supernet.start,
        teacher=context.spec.teacher,
        ridges=context.spec.tabulate.ridges,
        batch_sequences=context.spec.text.batch_sequences,
        test_documents=context.texts.test_documents(),
    )
    plan = None
    if search.distill is not None:
        chosen = search.distill.model_dump(exclude={*search.distill.searched, "steps"})
        plan = DistillPlan(
            steps=search.distill.steps,
            seed=context.spec.seed,
            origin=context.run.outputs("tabulate")["tables/quality.parquet"],
            folder=context.path(STUDENTS),
            **{**search.distill.middle, **chosen},
        )
    return JudgeConfig(evaluator, search.ladder, counts["select"], plan)


def training_text(context: Context) -> TrainingText | None:
    """What students are distilled on: as many sequences of the training split as the longest training sees."""
    distill = context.spec.search.distill
    if distill is None:
        return None
    return context.texts.training(distill.steps[-1] * distill.most_sequences)
