"""Not of a run: Agora, Bort's loop of training, pruned hyperparameters and data made of mistakes."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas_ray._files import write_text
from nas_ray.errors import ModelError, NasRayError, SpecError, StageError
from nas_ray.report import agora_markdown
from nas_ray.spec import Agora
from nas_ray.stages._checks import check_device
from nas_ray.stages._hold import hold
from nas_ray.stages._inputs import teacher_content
from nas_ray.stages.tasks._inputs import TaskInputs
from nas_ray.stages.tasks._models import folder_name, read_record
from nas_ray.stages.tasks._rounds import Rounds
from nas_ray.stages.tasks._training import CHECKPOINTS
from nas_ray.stages.tasks._trials import SPOOL, Workers, task_tracker
from nas_ray.teacher import first_line
from nas_ray.tracking import Tracker

AGORA, RECORD = "agora", "agora.json"
_GOOD_TEACHER = 2 / 3  # below it the paper's conditions do not hold


@dataclass(frozen=True)
class Looping:
    """The loop for what ``inputs`` say, whose ``teacher`` labels new examples, in a folder of ``storage``."""

    inputs: TaskInputs
    spec: Agora
    storage: Path
    workers: Workers

    def run(self) -> Path:
        """The folder of the finished loop, gone on with where it was.

        Raises:
            SpecError: the task is no classification of texts. ModelError: of model and teacher. RunError: another
                process is at it. StageError: a training failed; what is finished stays, the same call goes on.
        """
        self._check()
        if self.is_finished:
            self._finish()
        else:
            try:
                with hold(self.folder, "works on this loop"):
                    if not self.is_finished:  # another process may just have ended
                        self.inputs.console.say(f"agora {self.folder}")
                        self._make()
            except (NasRayError, KeyboardInterrupt):
                raise
            except Exception as error:
                raise StageError("agora", f"{type(error).__name__}: {first_line(error)}") from error
        return self.folder

    @property
    def is_finished(self) -> bool:
        """Whether its record stands."""
        return (self.folder / RECORD).is_file()

    @cached_property
    def folder(self) -> Path:
        """Where everything of it lies."""
        spec = self.spec.model_copy(update={"training": self.spec.training.training})
        words = self.spec.transform.model
        found = [spec.model_dump(mode="json"), self.inputs.key, teacher_content(words) if words else None]
        key = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]
        return self.storage.absolute() / AGORA / f"{folder_name(self.inputs.model)}-{self.inputs.task.name}-{key}"

    @property
    def command(self) -> str:
        """What makes it."""
        inputs = self.inputs
        words = [inputs.model, *inputs.named, "--storage", str(self.storage)]
        words += [] if inputs.teacher is None else ["--teacher", str(inputs.teacher.folder)]
        words += [] if self.workers.address is None else ["--address", self.workers.address]
        return f"nas-ray agora {shlex.join([*words, *(w for pair in self.spec.overrides for w in ('--set', pair))])}"

    def _check(self) -> None:
        inputs = self.inputs
        if inputs.task.kind not in ("single", "pair"):
            raise SpecError(
                f"task '{inputs.task.name}' is of kind {inputs.task.kind}; accepted: classes of texts or pairs."
            )
        if inputs.teacher is None:
            raise ModelError("a teacher labels new examples, and none is named; accepted: --teacher DIR, fine-tuned.")
        if not self.workers.are_elsewhere:
            check_device("training.device", inputs.spec.device)
        inputs.check()
        metric, known = inputs.task.metrics[0], inputs.teacher.record["select"]
        if metric not in known:
            raise ModelError(
                f"{inputs.teacher.folder}: was scored by {', '.join(known)}, not by {metric}, which orders the sets "
                "here; accepted: a teacher fine-tuned with this metric."
            )
        if known[metric] <= _GOOD_TEACHER:
            inputs.console.say(
                f"  the teacher reaches {metric} {known[metric]:.3f} on select; the paper asks for more than two thirds"
            )

    def _make(self) -> None:
        """All rounds, as many plain trainings, and the record; checkpoints go."""
        inputs, tracker = self.inputs, self._tracker()
        try:
            rounds = Rounds(inputs, self.spec, self.folder, self.workers, tracker)
            done = rounds.run()
            trainings, metric = sum(one["sets"] for one in done), inputs.task.metrics[0]
            best = max(done, key=lambda one: one["select"][metric])
            plain = rounds.plain(trainings)
            record = {
                "model": inputs.model,
                "task": inputs.task.name,
                "metrics": list(inputs.task.metrics),
                "teacher": str(inputs.teacher.folder) if inputs.teacher else None,
                "teacher_test": inputs.teacher.record["test"] if inputs.teacher else None,
                "sizes": {
                    "train": len(rounds.own),
                    "dev": len(rounds.dev),
                    **{part: len(inputs.data.examples[part]) for part in ("select", "test")},
                },
                "rounds": done,
                "trainings": trainings,
                "best": {name: best[name] for name in ("round", "hyperparameters", "select", "test", "model")},
                "plain": plain,
                "gain": rounds.gain(best["model"], plain["model"]),
                "settings": self.spec.model_dump(mode="json"),
                "command": self.command,
            }
            write_text(self.folder / "agora.md", agora_markdown(record))
            write_text(self.folder / RECORD, json.dumps(record, indent=1) + "\n")
            self._tell(tracker, record)
        finally:
            tracker.close()
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)

    def _finish(self) -> None:
        """What a process that was killed at its very end, or an MLflow that was away, has left undone."""
        self.inputs.console.say(f"  done before: {self.folder}")
        if (self.folder / SPOOL).is_file():
            tracker = self._tracker()
            self._tell(tracker, read_record(self.folder / RECORD))
            tracker.close()
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)

    def _tracker(self) -> Tracker:
        tracking, console = self.inputs.spec.tracking, self.inputs.console
        return task_tracker(tracking, AGORA, self.storage, self.folder, console, self.command)

    def _tell(self, tracker: Tracker, record: dict[str, Any]) -> None:
        found = {f"test_{name}": value for name, value in record["best"]["test"].items()}
        tracker.summary({"model": record["model"], "task": record["task"]}, found, [self.folder / RECORD])


def read_agora(folder: Path) -> dict[str, Any]:
    """What ``agora.json`` in ``folder`` says, and the folder.

    Raises:
        ModelError: it cannot be read.
    """
    return {**read_record(folder / RECORD), "folder": str(folder)}
