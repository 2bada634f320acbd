"""What trains models on tasks: finetune."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_ray.stages import Console, Silent, absolute_teacher, finetune_spec


def finetune(
    model: str,
    task: str,
    *,
    data: str | Path | None = None,
    teacher: str | Path | None = None,
    start: str | Path | None = None,
    overrides: Sequence[str] = (),
    storage: str | Path = "runs",
    address: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train ``model`` with a new head on ``task`` with several seeds; resumable.

    Args:
        model: the folder of a student, an export, any other folder, an asset, or a name on the model hub.
        task: a name of ``nas-ray tasks``, or a YAML file. data: its local files, a folder or one file.
        teacher: a finished fine-tuning on the same task, whose predictions are learned too.
        start: a finished fine-tuning of the same model on another task, whose weights training begins with.
        overrides: ``learning_rate=2e-4`` and other keys of ``spec.Finetune``; ``search={}`` searches hyperparameters.
        storage: the folder that results go to. address: None for this machine, ``auto`` or ``HOST:PORT`` for a cluster.

    Returns:
        What ``finetuned.json`` says, and its ``folder``. What the same call has finished before is not done again.

    Raises:
        TeacherError, ModelError, TaskError, SpecError: of which nothing can be made. RunError: another process is at
        it. StageError: a training failed; its last good checkpoint stays, the same call goes on from there.
    """
    from nas_ray.stages._task_inputs import TaskInputs
    from nas_ray.stages._task_models import find_task_model
    from nas_ray.stages._task_trials import Workers
    from nas_ray.stages.finetune import Finetuning, read_finetuned
    from nas_ray.tasks import load_task

    spec, shown = finetune_spec(overrides), console or Silent()
    named = ("--task", task, *(() if data is None else ("--data", str(data))))
    known = [None if name is None else find_task_model(str(name)) for name in (teacher, start)]
    inputs = TaskInputs(absolute_teacher(model), load_task(task, data), named, spec, shown, *known)
    workers = Workers(spec.executor == "local", address, shown)
    try:
        return read_finetuned(Finetuning(inputs, Path(storage), workers).run())
    finally:
        workers.close()
