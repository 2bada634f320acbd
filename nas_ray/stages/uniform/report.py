"""Stage 4: candidates.parquet, front.parquet, the figure, the page, and the summary in MLflow."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from nas_ray.report import CandidateRow, Extraction, RunReport, Tuple
from nas_ray.search import statement
from nas_ray.spec import to_yaml
from nas_ray.stages._context import Context
from nas_ray.stages.report import short_path, track_rows, write_report
from nas_ray.stages.test import judged_rows, mean_error, read_errors
from nas_ray.stages.uniform._order import Sets, intrinsic
from nas_ray.stages.uniform._surrogates import add_w, error_kind, speed_metric, winner
from nas_ray.tables import LatencyCheck

_ERRORS = {
    "hidden_state": "share of the maximum point's last hidden state that a refitted readout does not explain",
    "cross_entropy": "cross-entropy with the maximum point's predictions, in nats",
}


def run(context: Context) -> list[Path]:
    """Write every file that people and scripts read."""
    report = build(context)
    files = write_report(context, report)
    track(context, report)
    return files


def build(context: Context) -> RunReport:
    """The finished run as data."""
    errors = read_errors(context)
    rows: list[dict[str, Any]] = add_w(context, judged_rows(context))
    for row in rows:
        if row["candidate_id"] in errors:
            row["test_loss"] = mean_error(errors[row["candidate_id"]])
    check = context.uniform_costs.latency.metadata["check"]
    folder = shlex.quote(short_path(context.run.folder))
    extraction = _extraction(context, rows)
    return RunReport(
        name=context.spec.name,
        run_dir=short_path(context.run.folder),
        teacher=context.spec.teacher,
        teacher_encoder_params=context.uniform_costs.surrogates.encoder_params(intrinsic(context).maximum),
        vocab_size=context.shape.vocab_size,
        objectives=("W", "error", *(name for name in context.spec.search.objectives if name != "loss")),
        guarantee=f"non-dominated on the select split among the trainings that ended; W: {extraction.statement}",
        rows=tuple(CandidateRow(**row) for row in rows),
        stage_seconds=context.run.stage_seconds(),
        latency_check=LatencyCheck(**check),
        extraction=extraction,
        resume_command=f"nas-ray resume {folder}",
        ui_command=f"nas-ray ui {folder}",
        front_command=f"nas-ray front {folder}",
        spec_yaml=to_yaml(context.spec),
    )


def _extraction(context: Context, rows: list[dict[str, Any]]) -> Extraction:
    order, sets, spec = intrinsic(context), Sets(context), context.spec
    metric = speed_metric(context)

    def entry(architecture: Any, trained: bool) -> Tuple:
        costs = context.costs_of(architecture)
        return Tuple(architecture.arch_id, int(costs["params"]), float(costs[metric]), trained)

    steps = context.ladder[-1].budget
    tuples, epsilon = len(order.architectures), spec.extraction.epsilon
    speed = (
        f"operations of one sequence of {spec.text.sequence_length} tokens, closed form"
        if metric == "flops"
        else "ms a batch, from the measured table"
    )
    return Extraction(
        winner_id=str(winner(rows)["candidate_id"]),
        maximum=entry(order.maximum, False),
        order=tuple(entry(a, a in order.chosen) for a in order.architectures),
        speed=speed,
        error=_ERRORS[error_kind(context)],
        statement=statement(epsilon, len(order.chosen), tuples, steps, sets.per_architecture) + _but(rows),
        choices=_choices(context, steps),
        is_measured=metric == "latency_ms",
    )


def _but(rows: list[dict[str, Any]]) -> str:
    """What the statement does not cover."""
    others = sum(row["status"] != "completed" for row in rows)
    if not others:
        return ""
    return f" But {others} of {len(rows)} trainings were stopped early or failed: it holds for the rest alone."


def _choices(context: Context, steps: int) -> tuple[str, ...]:
    extraction = context.spec.extraction
    found = [
        f"epsilon = {extraction.epsilon} and n = {steps} steps: the papers' own values are not known",
        "intrinsic order: ascending in all weights, then operations; heads alone change neither and stand in an order "
        "by hash; the first element is kept",
        f"errors below {extraction.floor:g} count as that, so that W is finite; W of the maximum point is 0",
        f"weights are clipped at {extraction.weight_bound:g} after each step; AdamW stands for SGD",
        "heads enter neither size nor operations: the error alone decides them",
    ]
    return tuple(found)


def track(context: Context, report: RunReport) -> None:
    """Tell MLflow of W, losses on the test split, the winner, and the summary."""
    assert report.extraction is not None
    tracker, best = context.tracker(), report.extraction.winner_id
    for row in report.by_w:
        tags = {"stage": "report", "winner": str(row.candidate_id == best).lower()}
        tracker.candidate_ended(row.candidate_id, row.status, {"w": row.w}, tags)
    row = report.by_w[0]
    figures = {"w_best": row.w, "error_best": row.select_loss, "params_best": row.params}
    track_rows(context, report, figures)
