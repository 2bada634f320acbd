"""What drives a run: search, resume, report, sync, rank, evaluate."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_ray.api._results import front
from nas_ray.errors import RunError
from nas_ray.stages import (
    Console,
    Run,
    Silent,
    change,
    check_run,
    edit_run_specs,
    enqueue_overrides,
    evaluation_overrides,
    execute,
    execute_one,
    load_run_specs,
    remember,
    verdict,
)


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
        if is_new and not run.is_locked:  # nothing has begun: a mended command makes a folder of its own
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


def _path(name: str | Path | None) -> Path | None:
    return None if name is None else Path(name)


def _check(run: Run, address: str | None, console: Console | None) -> None:
    if console is not None:
        console.say(f"run {run.folder}")
    if not all(run.is_done(stage) for stage in run.course.order):
        check_run(run, console, address)
    remember(run, address)
