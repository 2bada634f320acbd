"""Stage 4: candidates and references are stitched and judged, rung by rung, as Tune trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas_ray.errors import StageError
from nas_ray.measure import CandidateEvaluator, EvaluatorConfig
from nas_ray.search import Outcome, SearchSession, Task
from nas_ray.stages._candidates import PROPOSALS, open_session
from nas_ray.stages._context import Context


def run(context: Context) -> list[Path]:
    """Run the search to its end; everything it learned is in ``journal.jsonl``."""
    console, search = context.console, context.spec.search
    session = open_session(context, context.tracker())
    total = search.num_candidates + session.num_references
    console.say(
        f"  {search.num_candidates} candidates by {search.searcher.name} after the tables' front, "
        f"{session.num_references} references, rungs of {', '.join(map(str, search.rungs))} batches"
    )

    def progress(now: SearchSession) -> None:
        stopped = sum(outcome.status == "stopped" for outcome in now.outcomes.values())
        console.progress(now.num_done, total, "candidates", f"{stopped} stopped early")

    config = evaluator_config(context)
    published = context.published()
    try:
        if context.is_local:
            run_local(session, CandidateEvaluator(config, published), progress)
        else:
            from nas_ray.cluster import run_search

            run_search(session, config, published, max_concurrent=search.max_concurrent, progress=progress)
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
            "search", f"no candidate was completed; the first: {_named(candidates[0])}. Mend that and delete "
            f"{context.path('journal.jsonl')}: what stands in it is not tried again."
        )  # fmt: skip
    return [context.path("journal.jsonl"), context.path(PROPOSALS)]


def run_local(session: SearchSession, evaluator: CandidateEvaluator, progress: Callable[[SearchSession], None]) -> None:
    """The search in this process, one candidate at a time; one that raises an error has failed, the others go on."""
    while (task := session.next_task()) is not None:
        session.ended(task.candidate_id, _judge(session, evaluator, task))
        progress(session)


def _judge(session: SearchSession, evaluator: CandidateEvaluator, task: Task) -> Exception | None:
    """Report rung after rung; what the candidate itself raised, if it did."""
    student = None
    for rung in range(task.first_rung, len(session.rungs)):
        try:
            student = student or evaluator.assemble(task.architecture.arch_id)
            loss = evaluator.loss(student, session.rungs[rung])
        except Exception as error:
            return error
        if not session.report(task.candidate_id, rung, loss):
            break
    return None


def _named(outcome: Outcome) -> str:
    why = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.task.label or outcome.task.architecture.arch_id} {outcome.status}{why}"


def evaluator_config(context: Context) -> EvaluatorConfig:
    """How a worker anywhere builds an evaluator of this run."""
    import numpy as np

    counts = context.evaluation_counts()
    documents = [context.batches.batch("test", index).documents for index in range(counts["test"])]
    return EvaluatorConfig(
        key=context.run.run_id,
        space=context.space,
        start=context.spec.supernet.start,
        teacher=context.spec.teacher,
        ridges=context.spec.tabulate.ridges,
        rungs=context.spec.search.rungs,
        batch_sequences=context.spec.text.batch_sequences,
        test_documents=np.concatenate(documents),
    )
