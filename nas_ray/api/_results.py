"""What looks at runs: front, status, the report as data, where MLflow has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_ray.errors import InfeasibleError, RunError, SpecError, rounded_up, unknown
from nas_ray.report import RunReport
from nas_ray.space import PathSpace
from nas_ray.stages import Context, Run, solve, tracking_uri
from nas_ray.tables import COST_METRICS, read_parquet, read_rows


def front(
    folder: str | Path, *, bounds: dict[str, float] | None = None, top: int | None = None, tables: bool = False
) -> dict[str, Any]:
    """The front of a finished run within ``bounds``: ``candidates`` (rows, small ones first), how many it
    has in all (``of``), and ``guarantee``; of those only the ``top`` of least loss.

    With ``tables`` it is the exact front of the whole space by the run's tables, whether they were judged or not, or
    the exact ``top`` of least score, best first. Loads neither torch nor ray.

    Raises:
        RunError: the run has no front, or no tables, yet. SpecError: a bound on something else than a cost, or
            ``top`` below 1. InfeasibleError: nothing of the front is within the bounds.
    """
    run = Run.open(Path(folder))
    if wrong := next((name for name in bounds or {} if name not in COST_METRICS), None):
        raise SpecError(unknown("bound", wrong, COST_METRICS))
    if top is not None and top < 1:
        raise SpecError(f"top is {top}; accepted: 1 or more.")
    if tables:
        return solve(run, run.spec.search.objectives, bounds or {}, top)
    file = run.folder / "front.parquet"
    if not file.is_file():
        raise RunError(f"{folder}: the run has no front yet; finish it with `nas-ray resume {folder}`.")
    rows, metadata = read_rows(file)
    within = [row for row in rows if all(row[name] <= bound for name, bound in (bounds or {}).items())]
    if rows and not within:
        bounds = {name: bound for name, bound in (bounds or {}).items() if min(r[name] for r in rows) > bound} or bounds
        near = "; ".join(
            f"the smallest {name} of the front is {rounded_up(min(r[name] for r in rows))}" for name in bounds or {}
        )
        raise InfeasibleError(f"{folder}: no candidate of the front is within the bounds; {near}.")
    if top is not None:
        within = sorted(sorted(within, key=lambda row: row["select_loss"])[:top], key=lambda row: row["encoder_params"])
    return {
        "candidates": within,
        "of": len(rows),
        "guarantee": metadata["guarantee"],
        "teacher_encoder_params": metadata["teacher_encoder_params"],
    }


def status(folder: str | Path) -> dict[str, Any]:
    """How far a run is: seconds by stage, training steps that every block has kept (0 of 0 where there are no blocks),
    candidates done and wanted (None while that is not known), whether a driver works."""
    from nas_ray.search import read_journal

    run = Run.open(Path(folder))
    seconds = run.stage_seconds()
    records = read_journal(run.folder / "journal.jsonl")
    kinds = [record["kind"] for record in records]
    done = {record["candidate_id"] for record in records if record["kind"] == "done"}
    return {
        "run": run.run_id,
        "stages": {stage: seconds.get(stage) if run.is_done(stage) else None for stage in run.course.order},
        "steps": _steps_kept(run),
        "num_steps": run.spec.supernet.steps if "supernet" in run.course.stages else 0,
        "candidates_suggested": kinds.count("suggested"),
        "candidates_done": len(done),
        "num_candidates": _wanted(run),
        "running": run.is_locked,
    }


def load_report(folder: str | Path) -> RunReport:
    """The finished run as data, for tables and figures."""
    run = Run.open(Path(folder))
    found: RunReport = run.course.module("report").build(Context(run))
    return found


def tracking_place(folder: Path | None, storage: Path) -> tuple[str, Path]:
    """The MLflow URI and artifact folder of a run, or of all runs below ``storage``."""
    from nas_ray.tracking import local_artifact_dir, local_uri

    if folder is None:
        if not storage.is_dir():
            raise RunError(f"{storage}: no such folder of runs; accepted: the --storage of a search, or a RUN.")
        return local_uri(storage), local_artifact_dir(storage)
    run = Run.open(folder)
    return tracking_uri(run.spec.tracking, run.storage), local_artifact_dir(run.storage)


def tracking_view(folder: Path) -> str:
    """The path in the MLflow UI of a run's candidates: columns for comparison, the front as charts.

    Raises:
        TrackingError: the store cannot be used, or has nothing of this run.
    """
    from nas_ray.tracking import share_view

    run = Run.open(folder)
    costs = [name for name in run.spec.search.objectives if name != "loss"]
    costs += [name for name in ("latency_ms", "encoder_params") if name not in costs]
    experiment = run.spec.tracking.experiment or run.spec.name
    distill = run.spec.search.distill
    searched = [] if distill is None else list(distill.searched)
    uniform = run.space_spec.kind == "uniform"
    searched += ["depth", "heads", "hidden", "intermediate"] if uniform else []
    metrics = ["w"] if uniform else []
    return share_view(
        tracking_uri(run.spec.tracking, run.storage), experiment, run.run_id, costs[:2], searched, metrics
    )


def _wanted(run: Run) -> int | None:
    """The candidates that a search is to judge; those of an extraction are known when its order is."""
    if run.space_spec.kind == "paths":
        return run.spec.search.num_candidates
    order = run.folder / "tables/order.parquet"
    return int(read_parquet(order)[1]["trainings"]) if order.is_file() else None


def _steps_kept(run: Run) -> int:
    """The step of the newest checkpoint of the block that is least far."""
    if not isinstance(run.space, PathSpace):
        return 0
    folders = (run.folder / f"supernet/block-{block}" for block in range(run.space.num_blocks))
    kept = ([int(file.stem.removeprefix("step-")) for file in folder.glob("step-*.json")] for folder in folders)
    return min(max(steps, default=0) for steps in kept)
