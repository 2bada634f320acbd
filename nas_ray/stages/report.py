"""Stage 7: candidates.parquet, front.parquet, the figure, the page, and the summary in MLflow."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas_ray.report import (
    BlockTraining,
    CandidateRow,
    RankingCheck,
    RankingRow,
    RunReport,
    ShrinkStep,
    TableCheck,
    UniformComparison,
    write_figure,
    write_html,
)
from nas_ray.space import parse_architecture
from nas_ray.spec import to_yaml
from nas_ray.stages._agreement import agreement
from nas_ray.stages._candidates import front_guarantee
from nas_ray.stages._context import Context
from nas_ray.stages.rank import points, rankings
from nas_ray.stages.test import comparisons, judged_rows, mean_error, paired_interval, read_errors
from nas_ray.tables import LatencyCheck, write_parquet

_FILES = ("candidates.parquet", "front.parquet", "front.png", "report.html")


def run(context: Context) -> list[Path]:
    """Write every file that people and scripts read."""
    report = build(context)
    files = write_report(context, report)
    track(context, report)
    return files


def write_report(context: Context, report: RunReport) -> list[Path]:
    """Tables, figure and page of a run of either kind."""
    rows = [asdict(row) for row in report.rows]
    files = {name: context.path(name) for name in _FILES}
    metadata = {
        "table": "candidates",
        "guarantee": report.guarantee,
        "objectives": list(report.objectives),
        "teacher": report.teacher,
        "teacher_encoder_params": report.teacher_encoder_params,
        "vocab_size": report.vocab_size,
    }
    write_parquet(files["candidates.parquet"], _columns(rows), metadata)
    front = sorted((row for row in rows if row["pareto"]), key=lambda row: row["encoder_params"])
    write_parquet(files["front.parquet"], _columns(front), metadata)
    write_figure(report, files["front.png"])
    write_html(report, files["report.html"])
    return list(files.values())


def build(context: Context) -> RunReport:
    """The finished run as data."""
    rows = judged_rows(context)
    errors, blocks = read_errors(context), _blocks(context)
    for row in rows:
        row["floor"] = _floor(row["arch_id"], context, blocks[-1].floors)
        if row["candidate_id"] in errors:
            row["test_loss"] = mean_error(errors[row["candidate_id"]])
    compared = []
    for chosen, uniform in comparisons(rows):
        a, b = errors[chosen["candidate_id"]], errors[uniform["candidate_id"]]
        difference, low, high = paired_interval(a, b, context.spec.seed)
        compared.append(
            UniformComparison(
                width=int(uniform["label"].split()[1]),
                uniform_id=uniform["candidate_id"],
                chosen_id=chosen["candidate_id"],
                uniform_params=uniform["encoder_params"],
                chosen_params=chosen["encoder_params"],
                uniform_test=mean_error(b),
                chosen_test=mean_error(a),
                difference=difference,
                low=low,
                high=high,
                num_documents=len(a),
            )
        )
    check = context.costs.latency.metadata["check"]
    folder = shlex.quote(short_path(context.run.folder))
    return RunReport(
        name=context.spec.name,
        run_dir=short_path(context.run.folder),
        teacher=context.spec.teacher,
        teacher_encoder_params=context.shape.encoder_params,
        vocab_size=context.shape.vocab_size,
        objectives=context.spec.search.objectives,
        guarantee=_guarantee(context, rows),
        rows=tuple(CandidateRow(**row) for row in rows),
        comparisons=tuple(compared),
        stage_seconds=context.run.stage_seconds(),
        blocks=blocks,
        latency_check=LatencyCheck(**check),
        table_check=_table_check(rows),
        ranking=_ranking(context),
        resume_command=f"nas-ray resume {folder}",
        ui_command=f"nas-ray ui {folder}",
        front_command=f"nas-ray front {folder}",
        spec_yaml=to_yaml(context.spec),
    )


def _guarantee(context: Context, rows: list[dict[str, Any]]) -> str:
    """What is promised of the rows marked ``pareto``, and of the front that candidates were proposed from."""
    finished = sum(row["kind"] == "candidate" and row["status"] == "completed" for row in rows)
    proposed = sum(row["origin"] == "front" for row in rows)
    return (
        f"non-dominated on the select split among the {finished} candidates that finished; the tables' own front, from "
        f"which {proposed} were proposed, is {front_guarantee(context)}"
    )


def _floor(arch_id: str, context: Context, floors: Mapping[int, float]) -> float | None:
    """What no readout of the last block's width can reach: 0 at the teacher's, None for a width of no path."""
    width = parse_architecture(arch_id, context.space.head_size).paths[-1].width
    return 0.0 if width >= context.shape.hidden else floors.get(width)


def _blocks(context: Context) -> tuple[BlockTraining, ...]:
    records = json.loads(context.path("supernet/blocks.json").read_text(encoding="utf-8"))
    return tuple(
        BlockTraining(
            linear_loss=record["linear_loss"],
            floors={int(width): floor for width, floor in record["floors"].items()},
            curve=tuple((int(step), float(loss)) for step, loss in record["curve"]),
            shrinking=tuple(
                ShrinkStep(int(s["epoch"]), int(s["remaining"]), float(s["best"]), float(s["mean"]))
                for s in record["shrinking"]
                if s["best"] is not None
            ),
        )
        for record in records
    )


def _table_check(rows: list[dict[str, Any]]) -> TableCheck | None:
    found = agreement(rows)
    return None if found is None else TableCheck(found.tables, found.candidates, found.params)


def _ranking(context: Context) -> RankingCheck | None:
    found = rankings(context)
    if not found:
        return None
    rows = tuple(
        RankingRow(
            name, r.pooled.value, r.pooled.low, r.pooled.high, r.pooled.pairs,
            r.close.value, r.close.low, r.close.high, r.close.pairs, r.blocks,
        )
        for name, r in found.items()
    )  # fmt: skip
    return RankingCheck(rows, points(context), context.spec.ranking.tokens)


def track(context: Context, report: RunReport) -> None:
    """Tell MLflow of what only the end of a run knows: losses on the test split, the front, the summary."""
    figures = {
        "table_kendall_tau": None if report.table_check is None else report.table_check.kendall_tau,
        "params_kendall_tau": None if report.table_check is None else report.table_check.params_kendall_tau,
        **({} if report.ranking is None else _ranking_metrics(report.ranking)),
    }
    track_rows(context, report, figures, [context.path("supernet/blocks.json")])


def track_rows(
    context: Context, report: RunReport, figures: Mapping[str, float | None], files: Sequence[Path] = ()
) -> None:
    """The same of a run of either kind; ``figures`` and ``files`` of its own go to the summary."""
    tracker = context.tracker()
    for row in report.rows:
        if row.test_loss is not None:
            status = f"{row.status}: {row.reason}" if row.reason else row.status
            tracker.candidate_ended(row.candidate_id, status, {"test_loss": row.test_loss}, {"stage": "test"})
    tracker.mark_pareto(row.candidate_id for row in report.front)
    check = report.latency_check
    metrics: dict[str, float | None] = {
        "front_size": len(report.front),
        "candidates": sum(row.kind == "candidate" for row in report.rows),
        "latency_spearman": None if check is None else check.spearman,
        "latency_mape_percent": None if check is None else check.mape_percent,
        **figures,
        **{f"seconds_{stage}": seconds for stage, seconds in report.stage_seconds.items()},
    }
    params: dict[str, str | int | float] = {
        "space": context.spec.space,
        "teacher": context.spec.teacher,
        "seed": context.spec.seed,
    }
    written = [*map(context.path, (*_FILES, "spec.yaml", "space.yaml")), *files]
    tables = sorted(context.path("tables").glob("*.parquet"))
    tracker.summary(params, metrics, [*written, *tables], context.run.inputs)


def _ranking_metrics(check: RankingCheck) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for row in check.rows:
        name = f"ranking_tau_{row.score.replace(' ', '_')}"
        found |= {name: row.tau, f"{name}_low": row.low, f"{name}_high": row.high, f"{name}_close": row.close_tau}
    return {name: None if value is None or value != value else value for name, value in found.items()}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = CandidateRow.__dataclass_fields__
    return {name: [row[name] for row in rows] for name in names}


def short_path(folder: Path) -> str:
    """Relative where that is shorter to type."""
    try:
        return f"./{folder.relative_to(Path.cwd())}"
    except ValueError:
        return str(folder)
