"""A fine-tuned model is asked of a task that it was not trained on: diagnostics, or other texts with its classes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from nas_ray.errors import ModelError, TaskError
from nas_ray.stages._console import Console
from nas_ray.stages.tasks._data import TaskData
from nas_ray.stages.tasks._models import TaskModel
from nas_ray.stages.tasks.finetune import PREDICTIONS
from nas_ray.tasks import Task, add_to_archive, check_archive

ARCHIVE = ".zip"
"""Where predictions of several tasks are collected."""


def answers(model: TaskModel, task: Task, out: Path | None, console: Console) -> dict[str, Any]:
    """Scores of the part *test* of ``task``, and the files that the benchmark's server takes, in ``out`` (a folder,
    or a zip file, in which they take their places) or beside the model's fine-tuning.

    Raises:
        ModelError: the model knows other classes, or cannot say that there is no answer. TaskError: the task has
            neither part, or an archive cannot take what there is.
    """
    if list(task.classes) != model.record["classes"] or task.kind != model.record["kind"]:
        raise ModelError(
            f"{model.folder}: was fine-tuned on task '{model.record['task']}' of kind {model.record['kind']} with "
            f"classes {', '.join(model.record['classes']) or 'none'}; accepted for '{task.name}': kind {task.kind}, "
            f"{', '.join(task.classes) or 'none'}."
        )
    if task.answerable and not model.record["answerable"]:
        raise ModelError(
            f"{model.folder}: was fine-tuned on task '{model.record['task']}', where every question has an answer; "
            f"accepted for '{task.name}': a model of a task whose questions may have none."
        )
    source, record = model.source, model.record
    data = TaskData(task, source.tokenizer(), source.num_positions, record["max_length"], ("test", "server"))
    if not data.parts:
        raise TaskError(f"task '{task.name}' has neither a part 'test' nor 'server'; accepted: data that has one.")
    asked = data.parts[-1]  # what only the server can score, if there is such a part
    folder = out or model.folder.parents[1] / PREDICTIONS / ("" if asked == "server" else asked)
    packed = folder.suffix.lower() == ARCHIVE
    if packed:
        check_archive(folder)
        if asked == "test" and "server" in task.files:
            raise TaskError(
                f"task '{task.name}': the data lack {' or '.join(task.files['server'])}, which the benchmark's server "
                f"scores; accepted for {folder.name}: data with that file."
            )
    data.tell(console.say)
    threshold = record["threshold"]
    scores = dict(zip(data.parts, model.scores(model.head, map(data.rows, data.parts), "cpu"), strict=True))
    found = data.scorer("test").metrics(scores["test"], threshold) if "test" in scores else {}
    if packed:
        with tempfile.TemporaryDirectory() as temporary:
            add_to_archive(data.write_predictions(asked, scores[asked], threshold, Path(temporary)), folder)
        files = [folder]
    else:
        files = data.write_predictions(asked, scores[asked], threshold, folder)
    return {
        "model": str(model.folder), "task": task.name, "scores": found, "part": asked,
        "files": [str(file) for file in files],
    }  # fmt: skip
