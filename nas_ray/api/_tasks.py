"""What trains models on tasks: finetune, compare, predict, agora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_ray.stages import Console, Silent, absolute_teacher, agora_spec, finetune_spec, remember_command


def finetune(
    model: str,
    task: str,
    *,
    data: str | Path | None = None,
    teacher: str | Path | None = None,
    start: str | Path | None = None,
    settings: str | Path | None = None,
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
        settings: a YAML file with keys of ``spec.Finetune``. overrides: ``learning_rate=2e-4`` and the like, over it;
            ``search={}`` searches hyperparameters.
        storage: the folder that results go to. address: None for this machine, ``auto`` or ``HOST:PORT`` for a cluster.

    Returns:
        What ``finetuned.json`` says, and its ``folder``. What the same call has finished before is not done again.

    Raises:
        TeacherError, ModelError, TaskError, SpecError: of which nothing can be made. RunError: another process is at
        it. StageError: a training failed; its last good checkpoint stays, the same call goes on from there.
    """
    from nas_ray.stages.tasks._inputs import TaskInputs
    from nas_ray.stages.tasks._models import find_task_model
    from nas_ray.stages.tasks._trials import Workers
    from nas_ray.stages.tasks.finetune import Finetuning, read_finetuned
    from nas_ray.tasks import load_task

    spec, shown = finetune_spec(overrides, settings), console or Silent()
    known = [None if name is None else find_task_model(str(name)) for name in (teacher, start)]
    named = _named(task, data)
    inputs = TaskInputs(absolute_teacher(model), load_task(task, data), named, spec, shown, *known)
    with Workers(spec.executor == "local", address, shown) as workers:
        wanted = Finetuning(inputs, Path(storage), workers)
        remember_command(wanted.command)
        return read_finetuned(wanted.run())


def compare(
    models: Sequence[str],
    tasks: Sequence[str],
    *,
    data: str | Path | None = None,
    teacher: str | None = None,
    settings: str | Path | None = None,
    overrides: Sequence[str] = (),
    storage: str | Path = "runs",
    address: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train every model on every task in one way, and measure sizes, FLOPs and latency; resumable.

    Args:
        models, tasks, settings, overrides, storage, address: as of ``finetune``. data: a folder with the local files of
            all tasks that are not embedded. teacher: a model that is fine-tuned on each task first and teaches the
            others.

    Returns:
        What ``comparison.json`` says, and its ``folder``, which has a table and a figure too. Fine-tunings that are
        finished are not done again, whoever asked for them.

    Raises:
        As ``finetune``.
    """
    from nas_ray.stages.tasks._trials import Workers
    from nas_ray.stages.tasks.compare import Comparing, NamedTask, compare_command, read_comparison
    from nas_ray.tasks import catalogue, load_task

    def named(task: str) -> NamedTask:
        own = None if task not in catalogue() or catalogue()[task].embedded else data
        return NamedTask(load_task(task, own), _named(task, own))

    spec, shown = finetune_spec(overrides, settings), console or Silent()
    options = {"--tasks": ",".join(tasks), "--data": data, "--teacher": teacher, "--storage": storage}
    words = [str(w) for name, value in {**options, "--address": address}.items() if value for w in (name, value)]
    command = compare_command(models, words, spec)
    remember_command(command)
    with Workers(spec.executor == "local", address, shown) as workers:
        comparing = Comparing(
            models=tuple(map(absolute_teacher, models)),
            tasks=tuple(map(named, tasks)),
            spec=spec,
            storage=Path(storage),
            workers=workers,
            console=shown,
            command=command,
            teacher=None if teacher is None else absolute_teacher(teacher),
        )
        return read_comparison(comparing.run())


def predict(
    model: str | Path,
    task: str,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Ask a fine-tuned model of another task with the same classes: a benchmark's diagnostics, MNLI's mismatched part.

    Args:
        model: the folder of a finished fine-tuning, or of one of its models. task, data: as of ``finetune``. out: where
            prediction files go, a folder or a zip file that collects tasks; beside the model's fine-tuning if None.

    Returns:
        ``model``, ``task``, ``scores`` of the part *test* if it has labels, and ``files`` as the benchmark's server
        takes them, of ``part``: *server*, whose labels only it has, or else *test*.

    Raises:
        ModelError: there is no such model, or it knows other classes. TaskError: of the task.
    """
    from nas_ray.stages.tasks._models import find_task_model
    from nas_ray.stages.tasks.predict import answers
    from nas_ray.tasks import load_task

    place = None if out is None else Path(out).expanduser().absolute()
    return answers(find_task_model(str(model)), load_task(task, data), place, console or Silent())


def agora(
    model: str,
    task: str,
    *,
    teacher: str | Path,
    data: str | Path | None = None,
    settings: str | Path | None = None,
    overrides: Sequence[str] = (),
    storage: str | Path = "runs",
    address: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train ``model`` with every set of hyperparameters, make new examples of the best one's mistakes, give up sets
    whose order is settled, until none is left; against as many plain trainings. Resumable.

    Args:
        As of ``finetune``; the ``teacher`` labels new examples, and settings are those of ``spec.Agora``.

    Returns:
        What ``agora.json`` says, and its ``folder``.

    Raises:
        As ``finetune``.
    """
    from nas_ray.stages.tasks._inputs import TaskInputs
    from nas_ray.stages.tasks._models import find_task_model
    from nas_ray.stages.tasks._trials import Workers
    from nas_ray.stages.tasks.agora import Looping, read_agora
    from nas_ray.tasks import load_task

    spec, shown = agora_spec(overrides, settings), console or Silent()
    named = _named(task, data)
    labels = find_task_model(str(teacher))
    inputs = TaskInputs(absolute_teacher(model), load_task(task, data), named, spec.training, shown, labels)
    with Workers(spec.training.executor == "local", address, shown) as workers:
        wanted = Looping(inputs, spec, Path(storage), workers)
        remember_command(wanted.command)
        return read_agora(wanted.run())


def _named(task: str, data: str | Path | None) -> tuple[str, ...]:
    """The command line's words for a task and its data, from anywhere."""
    where = str(Path(task).expanduser().absolute()) if "/" in task or Path(task).suffix else task
    return ("--task", where, *(() if data is None else ("--data", str(Path(data).expanduser().absolute()))))
