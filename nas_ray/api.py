"""The public functions behind the commands; a notebook can call them too.

    from nas_ray import api
    run = api.search("quickstart", overrides=["search.num_candidates=24"])
    api.front(run.folder, bounds={"encoder_params": 5e6})

(``nas_ray.search`` is the folder of searchers, so the functions stand here.)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_ray._describe import check, spaces
from nas_ray.errors import InfeasibleError, RunError, SpecError, rounded_up, unknown
from nas_ray.report import RunReport
from nas_ray.space import PathSpace
from nas_ray.spec import Latency, load_space
from nas_ray.stages import (
    Console,
    Context,
    Run,
    Silent,
    change,
    check_latency,
    check_run,
    edit_run_specs,
    enqueue_overrides,
    evaluation_overrides,
    execute,
    execute_one,
    load_run_specs,
    plan,
    remember,
    resume_command,
    solve,
    tracking_uri,
    verdict,
)
from nas_ray.tables import COST_METRICS, PartTable, read_parquet

__all__ = [
    "check",
    "evaluate",
    "front",
    "load_report",
    "plan",
    "profile",
    "rank",
    "report",
    "resume",
    "resume_command",
    "search",
    "spaces",
    "status",
    "sync",
    "tracking_place",
    "tracking_view",
]


def search(
    trial: str,
    *,
    overrides: Sequence[str] = (),
    storage: str | Path = "runs",
    warm_start: str | Path | None = None,
    enqueue: str | Path | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> Run:
    """Run the trial spec ``trial`` from its first unfinished stage to the report; returns the run.

    Args:
        trial: a shipped name or a file. overrides: ``a.b=value`` edits of the spec. storage: folder of runs.
        warm_start: an earlier run whose front is judged after the tables' own, as far as it lies in the space.
        enqueue: a file of arch_ids, one a line, that are judged too.
        address: None for this machine, ``auto`` or ``HOST:PORT`` for a Ray cluster that runs already.

    Raises:
        NasRayError: see ``nas_ray.errors``; what is finished stays, ``resume`` goes on from there.
    """
    say = (console or Silent()).say
    specs = load_run_specs(trial, enqueue_overrides(trial, overrides, _path(warm_start), _path(enqueue), say))
    is_new = not Run.place(Path(storage), *specs).is_dir()
    run = Run.create(Path(storage), *specs)
    try:
        _check(run, address, console)
    except BaseException:
        if is_new:  # nothing has begun: a mended command makes a folder of its own
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    execute(run, console, address)
    return run


def resume(
    folder: str | Path,
    *,
    overrides: Sequence[str] = (),
    start: str | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> Run:
    """Go on with an interrupted run from its last finished stage or checkpoint, or again from stage ``start``.

    ``overrides`` (``a.b=value``) change its spec for good. What is finished with another value than the new one must be
    named: ``start`` may not be later than the first stage that it feeds. A larger ``search.num_candidates`` alone
    searches on.

    Raises:
        SpecError: a stage must run again that was not asked for. NasRayError: as ``search``.
    """
    run = Run.open(Path(folder))
    specs = edit_run_specs(run.spec, run.space_spec, overrides)
    if overrides or start is not None:  # before anything is dropped
        check_run(Run(run.folder, *specs), console, address)
    run = change(run, *specs, start)
    _check(run, address, console)
    execute(run, console, address)
    return run


def _path(name: str | Path | None) -> Path | None:
    return None if name is None else Path(name)


def _check(run: Run, address: str | None, console: Console | None) -> None:
    if console is not None:
        console.say(f"run {run.folder}")
    if not all(run.is_done(stage) for stage in run.course.order):
        check_run(run, console, address)
    remember(run, address)


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
    columns, metadata = read_parquet(file)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
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


def evaluate(
    folder: str | Path,
    *,
    bounds: dict[str, float] | None = None,
    top: int | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Judge what ``front(..., tables=True)`` answers within the run's own constraints, as trials of its search.

    They become candidates of the run like any other (journal, MLflow, report), and are not stopped early; what the
    search had stopped before stays as it is. The answer is as ``front``'s, with what was measured, and a ``verdict``:
    the best by measured loss on *select*, and Kendall's tau of score and loss, which ``tables/solved.json`` keeps.

    Raises:
        RunError: the run is not finished. NasRayError: as ``front`` and ``resume``.
    """
    run = Run.open(Path(folder))
    if not run.is_done("test"):
        raise RunError(f"{folder}: the run is not finished; go on with `nas-ray resume {folder}`.")
    bounds = dict(bounds or {})
    for metric, bound in run.spec.search.constraints.items():
        bounds[metric] = min(bound, bounds.get(metric, bound))
    asked = front(folder, bounds=bounds, top=top, tables=True)
    overrides = evaluation_overrides(run, [row["arch_id"] for row in asked["candidates"]])
    if overrides:
        run = resume(folder, overrides=overrides, address=address, console=console)
    found = front(folder, bounds=bounds, top=top, tables=True)
    return {**found, "verdict": verdict(run, found["candidates"])}


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


def report(folder: str | Path, console: Console | None = None) -> Run:
    """Write the report of a finished search again.

    Raises:
        RunError: the run is not finished.
    """
    run = Run.open(Path(folder))
    execute_one(run, "report", console)
    return run


def sync(folder: str | Path, console: Console | None = None) -> Run:
    """Send MLflow whatever of a run it lacks; sending twice changes nothing.

    Raises:
        TrackingError: the server does not answer. RunError: another process drives the run.
    """
    from nas_ray.stages import synchronise

    run = Run.open(Path(folder))
    synchronise(run, console)
    return run


def rank(folder: str | Path, *, paths: int, address: str | None = None, console: Console | None = None) -> Run:
    """Check how truly the tables of a finished run rank: ``paths`` stand-alone trainings a block; resumable.

    Writes ``tables/ranking.parquet`` and the report again.

    Raises:
        RunError: the run is not finished.
    """
    execute_one(Run.open(Path(folder)), "rank", console, address, paths=paths)
    return report(folder, console)


def profile(
    space: str,
    *,
    teacher: str = "minilm",
    latency: Latency | None = None,
    output: str | Path,
    console: Console | None = None,
) -> PartTable:
    """Measure this device's latency table for ``space`` under ``teacher`` and write it to ``output``.

    Raises:
        SpecError, TeacherError: of what there is no table. RunError: ``output`` cannot be written.
    """
    from nas_ray.stages.profile import describe, measure
    from nas_ray.stages.uniform.profile import measure_uniform
    from nas_ray.teacher import check_blocks, resolve_teacher, teacher_shape

    found, shown, wanted = load_space(space), console or Silent(), latency or Latency()
    source = resolve_teacher(teacher, shown.say)
    shape = teacher_shape(source.config)
    if isinstance(found, PathSpace):
        check_blocks(shape.num_layers, found.num_blocks)
    check_latency(wanted)
    _check_writable(Path(output))
    table = (
        measure(found, shape, wanted, "inherit", 0, shown)
        if isinstance(found, PathSpace)
        else measure_uniform(found, shape, wanted, 0, shown)
    )
    table.write(Path(output))
    shown.say(describe(table))
    return table


def _check_writable(file: Path) -> None:
    """Before minutes are spent on what it is to hold."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error.strerror}; choose another --output.") from error
    if file.is_dir():
        raise RunError(f"{file}: a folder; accepted: the name of a file to write.")


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
    return tracking_uri(run.spec, run.storage), local_artifact_dir(run.storage)


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
    return share_view(tracking_uri(run.spec, run.storage), experiment, run.run_id, costs[:2], searched, metrics)
