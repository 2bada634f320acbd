"""Not of a run: a model is fine-tuned on a task, over several seeds, with given or searched hyperparameters."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas_ray._files import write_text
from nas_ray.errors import ModelError, NasRayError, StageError
from nas_ray.stages._checks import check_device
from nas_ray.stages._hold import hold
from nas_ray.stages.tasks._inputs import TaskInputs
from nas_ray.stages.tasks._models import RECORD, TaskModel, folder_name, read_record, stands
from nas_ray.stages.tasks._statistics import spreads, verdict
from nas_ray.stages.tasks._training import BEST, CHECKPOINTS, MODELS, SETTINGS, TaskTraining, model_name
from nas_ray.stages.tasks._trials import SPOOL, Workers, task_tracker
from nas_ray.teacher import first_line
from nas_ray.tracking import Tracker

FINETUNED, PREDICTIONS = "finetuned", "predictions"
_FORMAT = 1


@dataclass(frozen=True)
class Finetuning:
    """What ``inputs`` say, done in a folder of ``storage``."""

    inputs: TaskInputs
    storage: Path
    workers: Workers

    def run(self) -> Path:
        """The folder of the finished fine-tuning, trained now as far as it was not before.

        Raises:
            TeacherError, ModelError, TaskError, AssetError: of models and task. SpecError: no such device.
            RunError: another process is at it. StageError: a training failed; its last good checkpoint stays, the same
                call goes on from there.
        """
        if not self.workers.are_elsewhere:
            check_device("device", self.inputs.spec.device)
        self.inputs.check()
        say = self.inputs.console.say
        if self.is_finished:
            say(f"  done before: {self.folder}")
            if (self.folder / SPOOL).is_file():  # MLflow was away when it ended, or this process was killed just then
                tracker = self._tracker()
                self._tell(tracker, read_record(self.folder / RECORD))
                tracker.close()
            shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
            return self.folder
        try:
            with hold(self.folder, "works on this fine-tuning"):
                if not self.is_finished:  # another process may just have ended
                    say(f"fine-tuning {self.folder}")
                    self.inputs.augment(self.folder)
                    self.inputs.data.tell(say)
                    self._make()
        except (NasRayError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise StageError("finetune", f"{type(error).__name__}: {first_line(error)}") from error
        return self.folder

    @cached_property
    def folder(self) -> Path:
        """Where everything of it lies."""
        name = folder_name(self.inputs.model)
        return self.storage.absolute() / FINETUNED / f"{name}-{self.inputs.task.name}-{self.inputs.key}"

    @property
    def is_finished(self) -> bool:
        """Whether its record and its models stand; what was damaged since is made again."""
        spec, origins = self.inputs.spec, (SETTINGS,) if self.inputs.spec.search is None else (SETTINGS, BEST)
        try:
            read_record(self.folder / RECORD)
        except ModelError:
            return False
        seeds = range(spec.seed, spec.seed + spec.seeds)
        return all(stands(self.folder / MODELS / model_name(origin, seed)) for origin in origins for seed in seeds)

    @property
    def command(self) -> str:
        """What makes it."""
        inputs = self.inputs
        named = {
            "--teacher": None if inputs.teacher is None else inputs.teacher.folder,
            "--start": None if inputs.start is None else inputs.start.folder,
            "--storage": self.storage,
            "--address": self.workers.address,
        }
        words = [inputs.model, *inputs.named]
        words += [str(word) for name, value in named.items() if value is not None for word in (name, value)]
        words += [word for pair in inputs.spec.overrides for word in ("--set", pair)]
        return f"nas-ray finetune {shlex.join(words)}"

    def _make(self) -> None:
        """Search, train, write the record; checkpoints go."""
        tracker = self._tracker()
        training = TaskTraining(self.inputs, self.folder, self.workers, tracker)
        try:
            search = None if self.inputs.spec.search is None else training.search()
            models = training.train(None if search is None else search["hyperparameters"])
            record = self._record(models, search)
            if constant := [model.folder.name for model in models if model.record.get("constant")]:
                self.inputs.console.say(
                    f"  {', '.join(constant)}: one class for every example of select, nothing was learned; another "
                    "learning_rate, more epochs, or --search"
                )
            write_text(self.folder / RECORD, json.dumps(record, indent=1) + "\n")
            self._tell(tracker, record)
        finally:
            tracker.close()
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)

    def _tell(self, tracker: Tracker, record: dict[str, Any]) -> None:
        """The summary, in MLflow."""
        settings = {name: str(value) for name, value in record["settings"].items()}
        means = {f"test_{name}": found["mean"] for name, found in record["test"].items()}
        facts = {"model": record["model"], "task": record["task"]}
        tracker.summary({**settings, **facts}, means, [self.folder / RECORD])

    def _record(self, models: Sequence[TaskModel], search: dict[str, Any] | None) -> dict[str, Any]:
        """What ``finetuned.json`` says: of the best set if one was searched, else of the settings."""
        inputs, metric = self.inputs, self.inputs.task.metrics[0]
        by_origin = {
            origin: [model for model in models if model.record["origin"] == origin] for origin in (SETTINGS, BEST)
        }
        reported = by_origin[SETTINGS] if search is None else by_origin[BEST]
        best = max(reported, key=lambda model: model.record["select"][metric])
        if search is not None:
            pairs = zip(reported, by_origin[SETTINGS], strict=True)
            gains = [one.record["test"][metric] - other.record["test"][metric] for one, other in pairs]
            search = {**search, "settings": _trainings(by_origin[SETTINGS]), "gain": {metric: verdict(gains)}}
        spec, per_unit = inputs.spec, int(inputs.data.rows("train").mask.sum()) / inputs.data.units
        return {
            "format": _FORMAT,
            "key": inputs.key,
            "model": inputs.model,
            **{name: best.record[name] for name in ("model_content", "params", "encoder_params", "classes", "metrics")},
            "task": inputs.task.name,
            "source": inputs.task.source,
            "sizes": {part: len(examples) for part, examples in inputs.data.examples.items()},
            "teacher": None if inputs.teacher is None else str(inputs.teacher.folder),
            "start": None if inputs.start is None else str(inputs.start.folder),
            "settings": spec.model_dump(mode="json"),
            "steps": max(map(int, best.record["curve"])),
            "tokens": round(per_unit * inputs.ladder[-1].budget * spec.sequences),
            "best": best.folder.name,
            **_trainings(reported),
            "search": search,
            "predictions": self._predictions(best),
            "command": self.command,
        }

    def _predictions(self, best: TaskModel) -> list[str]:
        """Files of the benchmark's server, by the best model of *select*."""
        inputs = self.inputs
        if "server" not in inputs.data.parts:
            return []
        (scores,) = best.scores(inputs.head, [inputs.data.rows("server")], inputs.spec.device)
        folder, threshold = self.folder / PREDICTIONS, best.record["threshold"]
        return [file.name for file in inputs.data.write_predictions("server", scores, threshold, folder)]

    def _tracker(self) -> Tracker:
        spec, console = self.inputs.spec, self.inputs.console
        return task_tracker(spec.tracking, FINETUNED, self.storage, self.folder, console, self.command)


def read_finetuned(folder: Path) -> dict[str, Any]:
    """What ``finetuned.json`` in ``folder`` says, and the folder.

    Raises:
        ModelError: it cannot be read.
    """
    return {**read_record(folder / RECORD), "folder": str(folder)}


def _trainings(models: Sequence[TaskModel]) -> dict[str, Any]:
    """Each training, and over all of them the mean and its interval of every metric."""
    names = ("seed", "trial", "hyperparameters", "threshold", "curve", "select", "test")
    return {
        "trainings": [{"model": m.folder.name, **{name: m.record[name] for name in names}} for m in models],
        **{part: spreads([model.record[part] for model in models]) for part in ("select", "test")},
    }
