"""Models that were fine-tuned: what their folders say, for those that learn from them or go on from them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_ray.distill import task_scores
from nas_ray.errors import ModelError
from nas_ray.stages._checks import device_here
from nas_ray.stages._inputs import teacher_content
from nas_ray.stages.tasks._data import Scores, make_head
from nas_ray.student import TASK_FILE, Head, ModelSource, check_weights, find_model
from nas_ray.tasks import Encoded, Task

RECORD = "finetuned.json"
"""What a fine-tuning says of all its models."""
MODEL_RECORD = TASK_FILE
"""What the folder of one of them says."""


@dataclass(frozen=True)
class TaskModel:
    """A fine-tuned model, and its record."""

    folder: Path
    record: dict[str, Any]

    @property
    def source(self) -> ModelSource:
        """It as a model to load."""
        return find_model(str(self.folder))

    @property
    def head(self) -> Head:
        """The head that it was trained with."""
        return make_head(*(self.record[name] for name in ("kind", "classes", "extra_layer", "answerable")))

    @property
    def content(self) -> str:
        """A hash of its files."""
        return teacher_content(str(self.folder))

    def scores(self, head: Head, parts: Iterable[Encoded], device: str) -> list[Scores]:
        """What it says of the rows of each of ``parts``, with a ``head`` as it was trained with; on ``device`` if that
        is here."""
        here = device_here(device)
        model = self.source.load(head, 0).to(here)
        return [task_scores(model, head.kind, rows, here) for rows in parts]

    def check_teaches(self, task: Task) -> None:
        """Refuse a model of another task.

        Raises:
            ModelError: it is one, or sorts into other classes.
        """
        found, wanted = (self.record["task"], self.record["classes"]), (task.name, list(task.classes))
        if found != wanted:
            raise ModelError(
                f"{self.folder}: was fine-tuned on {_named(*found)}; accepted as --teacher: a model fine-tuned on "
                f"{_named(*wanted)}."
            )

    def check_continues(self, model: str, content: str) -> None:
        """Refuse a model that was not made of ``model``.

        Raises:
            ModelError: it was not.
        """
        is_other = content != self.record["model_content"]
        if is_other or (not content and model != self.record["model"]):  # what a hub holds is known by its name alone
            raise ModelError(
                f"{self.folder}: was made of {self.record['model']} as it was then; accepted as --start: a model that "
                f"was fine-tuned from {model} as it is now."
            )


def folder_name(model: str) -> str:
    """What folders call a model."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(model).name)


def stands(folder: Path) -> bool:
    """Whether a model's folder holds its record and whole weights."""
    try:
        check_weights(folder)
        read_record(folder / MODEL_RECORD)
    except ModelError:
        return False
    return True


def is_finetuned(folder: Path) -> bool:
    """Whether ``folder`` is that of a finished fine-tuning, or of one of its models."""
    return (folder / RECORD).is_file() or (folder / MODEL_RECORD).is_file()


def find_task_model(name: str) -> TaskModel:
    """The model in the folder ``name``, or the best by *select* of a fine-tuning's folder.

    Raises:
        ModelError: there is none.
    """
    folder = Path(name).expanduser().absolute()
    if (folder / RECORD).is_file():
        folder = folder / "models" / str(read_record(folder / RECORD)["best"])
        if not stands(folder):
            raise ModelError(
                f"{folder}: missing or damaged; the command of the fine-tuning, given again, makes it anew."
            )
    if not (folder / MODEL_RECORD).is_file():
        raise ModelError(
            f"{name}: holds neither {RECORD} nor {MODEL_RECORD}; accepted: the folder of a finished "
            "`nas-ray finetune`, or of one of its models."
        )
    return TaskModel(folder, read_record(folder / MODEL_RECORD))


def read_record(file: Path) -> dict[str, Any]:
    """What ``file`` says.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({error}); fine-tune again.") from error
    return found


def _named(task: str, classes: list[str]) -> str:
    among = f" with classes {', '.join(classes)}" if classes else ""
    return f"task '{task}'{among}"
