"""Telling MLflow of a whole run again: what waits on disk, then what the journal and the finished stages say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nas_ray.errors import TrackingError
from nas_ray.stages._candidates import TrackerListener
from nas_ray.stages._console import Console, Silent
from nas_ray.stages._context import Context
from nas_ray.stages._run import Run
from nas_ray.tracking import MlflowTracker, Tracker

_WAIT_S = 30.0


def synchronise(run: Run, console: Console | None = None) -> None:
    """Make MLflow's runs what the run folder says, however often this is called.

    Raises:
        RunError: another process drives the run.
        TrackingError: the server does not answer, or the run is not tracked.
    """
    context = Context(run, console or Silent())
    run.lock()
    try:
        if not run.spec.tracking.enabled:
            raise TrackingError(f"{run.folder}: tracking.enabled is false in its spec, so there is nothing to send.")
        _send(context.tracker(), partial(retell, context), context.console)
        from nas_ray.stages.retrain import retrainings  # loads torch

        for retraining in retrainings(context):
            _send(retraining.tracker, retraining.retell, context.console)
    finally:
        context.close()
        run.unlock()


def _send(tracker: Tracker, tell: Callable[[], None], console: Console) -> None:
    """What waits, then what ``tell`` says."""
    assert isinstance(tracker, MlflowTracker), "tracking is enabled"
    deliver(tracker, console)
    tell()
    deliver(tracker, console)
    if not tracker.close():
        raise TrackingError(_unsent(tracker))


def deliver(tracker: MlflowTracker, console: Console) -> None:
    """Wait until MLflow has everything, for as long as it takes records.

    Raises:
        TrackingError: it does not answer.
    """
    before = tracker.num_waiting
    while not tracker.flush(_WAIT_S):
        waiting = tracker.num_waiting
        if tracker.outage:
            raise TrackingError(_unsent(tracker))
        console.progress(before - waiting, before, "records")


def _unsent(tracker: MlflowTracker) -> str:
    return f"{tracker.outage or 'MLflow is slow'}; {tracker.num_waiting} records wait on disk, sync again later."


def retell(context: Context) -> None:
    """Everything that the run folder knows, as if it happened now; what MLflow has is not written again."""
    journal = context.path("journal.jsonl")
    if not journal.is_file():
        return
    TrackerListener(context.tracker(), context).told(journal)
    if context.run.is_done("report"):
        stage = context.run.course.module("report")
        stage.track(context, stage.build(context))
