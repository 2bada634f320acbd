"""The stages in their order; what is done and intact is skipped."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nas_ray.errors import NasRayError, RunError, StageError
from nas_ray.stages._changes import check_unchanged, set_aside
from nas_ray.stages._checks import check_machine
from nas_ray.stages._console import Console, Silent
from nas_ray.stages._context import Context
from nas_ray.stages._inputs import check_same
from nas_ray.stages._run import Run

_COMMAND: list[str] = []


def resume_command() -> str | None:
    """How to go on with what this process does or did last."""
    return _COMMAND[-1] if _COMMAND else None


def remember(run: Run, address: str | None = None, *, command: str = "resume", options: str = "") -> None:
    """Make ``resume_command`` speak of ``run``."""
    where = f" --address {shlex.quote(address)}" if address else ""
    remember_command(f"nas-ray {command} {shlex.quote(str(run.folder))}{options}{where}")


def remember_command(command: str) -> None:
    """Make ``resume_command`` say ``command``."""
    _COMMAND[:] = [command]


def execute(run: Run, console: Console | None = None, address: str | None = None) -> None:
    """Run all stages that are not done.

    Raises:
        RunError: another process drives the run, or its inputs are not what they were.
        SpecError: a finished or begun stage was made with another spec.
        NasRayError: what a stage raises; an error that is nobody's own becomes a StageError.
    """
    order = run.course.order
    with driven(run, console, address, order) as context:
        first = next((number for number, stage in enumerate(order) if not run.is_done(stage)), len(order))
        if order.index("profile") < first < order.index("report"):
            check_machine(context)
        if address is not None and not context.is_local and first < order.index("report"):
            context.connect()  # now: what is wrong with the cluster is not to be found out after minutes
        for number, (stage, title) in enumerate(run.course.stages.items()):
            todo = number >= first  # also what was done with older results of an earlier stage
            context.console.say(f"[{number + 1}/{len(order)}] {stage}: {title if todo else 'done'}")
            if todo:
                _run_stage(context, stage)


def execute_one(
    run: Run, stage: str, console: Console | None = None, address: str | None = None, **options: Any
) -> None:
    """Run ``stage`` of a run whose search is finished, again; ``options`` go to the stage.

    Raises:
        RunError: the run is not finished, or as ``execute``. NasRayError: as ``execute``.
    """
    if not run.is_done("test"):
        raise RunError(f"{run.folder}: the run is not finished; go on with `nas-ray resume {run.folder}`.")
    if stage not in run.course.stages:
        raise RunError(
            f"{run.folder}: a run of kind {run.space_spec.kind} has no stage {stage}; accepted: a run of kind paths."
        )
    words = "".join(f" --{name} {value}" for name, value in options.items())
    remember(run, address, command=stage, options=words)
    before = run.course.order[: run.course.order.index(stage)]
    with driven(run, console, address, before) as context:
        _run_stage(context, stage, **options)


@contextmanager
def driven(run: Run, console: Console | None, address: str | None, unchanged: Iterable[str]) -> Iterator[Context]:
    """The run, locked, with the inputs and for stages ``unchanged`` the spec it began with; workers and tracker end
    with the block."""
    context = Context(run, console or Silent(), address)
    run.lock()
    try:
        check_unchanged(run, unchanged)
        check_same(run)
        yield context
    finally:
        context.close()
        run.unlock()


def _run_stage(context: Context, stage: str, **options: Any) -> None:
    """Run one stage and record it; its seconds count even if it is interrupted."""
    run, began, done = context.run, time.perf_counter(), False
    try:
        run.begin(stage)
        outputs: list[Path] = run.course.module(stage).run(context, **options)
        if stage == "tabulate":
            set_aside(context.path("journal.jsonl"))  # before this counts as done: a kill must not leave it to a search
        run.mark_done(stage, time.perf_counter() - began, outputs, run.course.order)
        done = True
    except (NasRayError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise StageError(stage, f"{type(error).__name__}: {reason[0] if reason else ''}") from error
    finally:
        if not done:
            with suppress(OSError, RunError):  # the disk may be what failed
                run.add_seconds(stage, time.perf_counter() - began)
