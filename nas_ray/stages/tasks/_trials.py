"""Fine-tunings as trials: where they run, and what MLflow is told of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_ray.distill import FinetuneJudge, FinetuneJudgeConfig
from nas_ray.search import Outcome, SearchSession, Task
from nas_ray.space import Rung
from nas_ray.spec import Tracking
from nas_ray.stages._console import Console
from nas_ray.stages._plans import on_driver
from nas_ray.stages._trial import tracking_uri
from nas_ray.stages.search import run_local
from nas_ray.tracking import CandidateRecord, MlflowTracker, NullTracker, Tracker, local_artifact_dir

SPOOL = "tracking.jsonl"
"""What MLflow has still to be told."""


@dataclass
class Workers:
    """Runs trials in this process, or on Ray, which is joined when it is first needed and left behind the block."""

    is_local: bool
    address: str | None
    console: Console
    _owns: bool = field(default=False, init=False)

    @property
    def are_elsewhere(self) -> bool:
        """Whether a cluster that is joined may have what this machine lacks."""
        return self.address is not None and not self.is_local

    def run(
        self,
        session: SearchSession,
        config: FinetuneJudgeConfig,
        arrays: Mapping[str, Any],
        progress: Callable[[SearchSession], None],
        folder: Path,
    ) -> FinetuneJudge:
        """All trials of ``session`` to their ends, which every node keeps in ``folder``; a judge that knows them."""
        judge = (config if self.is_local else on_driver(config)).build([arrays])
        try:
            if self.is_local:
                run_local(session, judge, progress)
            else:
                from nas_ray.cluster import check_storage, connect, put, run_search

                self._owns = connect(self.address, self.console.say) or self._owns
                if self.address is not None:
                    check_storage(folder)
                run_search(session, config, [put(dict(arrays))], None, max_concurrent=None, progress=progress)
        finally:
            session.journal.close()
        return judge

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owns:
            from nas_ray.cluster import disconnect

            disconnect()
            self._owns = False


@dataclass(frozen=True)
class TrialListener:
    """Passes on to MLflow what a session tells; every trial has ``tags`` and its metric on *select* by steps.

    Runs are named by origin and id, or by origin and seed if that tells them apart. With ``checkpoints`` those
    of a trial that has ended well are deleted: nobody goes on from it.
    """

    tracker: Tracker
    metric: str
    tags: Mapping[str, str]
    seed: int
    by_seed: bool = False
    checkpoints: Path | None = None

    def started(self, task: Task) -> None:
        found = {"seed": self.seed, **task.hyperparameters}
        label = f"{task.origin}, " + (f"seed {found['seed']}" if self.by_seed else task.candidate_id)
        record = CandidateRecord(task.candidate_id, task.architecture.arch_id, task.origin, label=label, params=found)
        self.tracker.candidate_started(record)

    def rung(self, task: Task, rung: Rung, loss: float) -> None:
        self.tracker.candidate_rung(task.candidate_id, rung.budget, 1 - loss, f"select_{self.metric}")

    def ended(self, task: Task, outcome: Outcome) -> None:
        status = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
        metrics = {} if outcome.loss is None else {f"select_{self.metric}": 1 - outcome.loss}
        self.tracker.candidate_ended(task.candidate_id, status, metrics, {"stage": "finetune", **self.tags})
        if self.checkpoints is not None and outcome.status != "failed":
            shutil.rmtree(self.checkpoints / task.candidate_id, ignore_errors=True)


def task_tracker(
    tracking: Tracking, experiment: str, storage: Path, folder: Path, console: Console, command: str
) -> Tracker:
    """Where the trainings in ``folder`` are logged; ``command`` sends again what did not arrive."""
    if not tracking.enabled:
        return NullTracker()
    return MlflowTracker(
        tracking_uri(tracking, storage),
        tracking.experiment or experiment,
        folder.name,
        folder.name,
        local_artifact_dir(storage),
        folder / SPOOL,
        on_warning=console.say,
        resend=command,
    )
