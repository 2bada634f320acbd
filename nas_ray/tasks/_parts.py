"""The parts of a task: what trains, what chooses, what is reported, what only a server can score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from nas_ray.data import labelled, split_of
from nas_ray.errors import TaskError
from nas_ray.spec import Part, TaskSpec
from nas_ray.tasks._examples import check_classes, examples_of
from nas_ray.tasks._files import Record, find_files, read_file, read_hub
from nas_ray.tasks._task import Example, Task

_EMBEDDED: Mapping[Part, tuple[str, ...]] = {
    "train": ("train",),
    "select": ("calibrate", "select"),
    "test": ("test",),
}
_WHOLE = {"train": 0.7, "calibrate": 0.0, "select": 0.1, "test": 0.2}  # of a task that has one file
_SELECT_SHARE, _SELECT_MOST = 0.1, 2000  # what is cut from training examples: enough to choose by
_OWN = TaskSpec.model_fields["group"].default
_SEED = 2014  # never to be changed: what chose would become what trains


def parts_of(task: Task) -> tuple[Part, ...]:
    """The parts of ``task`` in their order: train, select, test, and server if local data has a file of it."""
    own = set(_EMBEDDED if task.embedded is not None or _is_whole(task) else _names(task))
    if "train" in own:
        own.add("select")
        if task.data is not None and "server" in own and not _has_file(task, task.data, "server"):
            own.remove("server")
    return tuple(part for part in get_args(Part) if part in own)


def has_data(task: Task) -> bool:
    """Whether local files of ``task`` are there."""
    return task.data is not None and (task.data.is_file() or any(_has_file(task, task.data, p) for p in _names(task)))


def read_part(task: Task, part: Part) -> tuple[Example, ...]:
    """The examples of one part.

    Where a data set has no part to choose by, ``select`` is cut from its training examples by group: one in ten, at
    most 2,000. One file alone is cut into ``train``, ``select`` and ``test``.

    Raises:
        TaskError: the task has no such part, or its data does not fit it. AssetError: it cannot be fetched.
    """
    if part not in (known := parts_of(task)):
        raise TaskError(f"task '{task.name}' has no part '{part}'; accepted: {', '.join(known)}.")
    if task.embedded is not None:
        return _embedded(task, task.embedded, part)
    own, is_whole = _names(task), _is_whole(task)
    if part in own and part != "train" and not is_whole:
        return examples_of(task, part, _records(task, part))
    examples = examples_of(task, "train", _records(task, "train"))
    if "select" in own and not is_whole:
        check_classes(task, examples)
        return examples
    share = min(_SELECT_SHARE, _SELECT_MOST / len(examples))
    shares = _WHOLE if is_whole else {"train": 1 - share, "calibrate": 0.0, "select": share, "test": 0.0}
    found = tuple(example for example in examples if split_of(example.group, shares, _SEED) == part)
    if not found:
        raise TaskError(
            f"task '{task.name}': none of {len(examples)} training examples fell into '{part}', which is cut from them "
            f"by group; accepted: more groups, or a file for '{part}'."
        )
    if part == "train":
        check_classes(task, found)
    return found


def _names(task: Task) -> Mapping[Part, Sequence[str]]:
    """What the files of each part may be called: as the benchmark has them, or as the hub calls its splits."""
    splits = task.hub.splits if task.hub is not None else {}
    return {
        part: (*task.files.get(part, ()), *([splits[part]] if part in splits else []))
        for part in {**splits, **task.files}
    }


def _is_whole(task: Task) -> bool:
    """Whether one file holds examples that are to be cut into parts."""
    names = _names(task)
    return "train" in names and (set(names) == {"train"} or (task.data is not None and task.data.is_file()))


def _records(task: Task, part: Part) -> Iterator[Record]:
    if task.data is None:
        assert task.hub is not None, "load_task gives files a folder"
        label = task.fields.label or ("label",) if task.fields is not None else ()
        yield from read_hub(task.hub.path, task.hub.config, task.hub.splits[part], label)
        return
    for file in [task.data] if task.data.is_file() else _files(task, task.data, part):
        yield from read_file(file, task.columns, is_own=task.group == _OWN)


def _files(task: Task, data: Path, part: Part) -> list[Path]:
    """Those of one part, in the benchmark's own folder within ``data`` if that is there."""
    inner = data / task.folder
    return find_files(inner if inner.is_dir() else data, _names(task)[part])


def _has_file(task: Task, data: Path, part: Part) -> bool:
    try:
        return bool(_files(task, data, part))
    except TaskError:
        return False


def _embedded(task: Task, name: str, part: Part) -> tuple[Example, ...]:
    found = labelled(name)
    numbers = [task.classes.index(label) for label in found.classes]
    return tuple(
        Example(
            id=str(number),
            texts=(example.text,),
            target=float(numbers[int(example.target)] if numbers else example.target),
            group=example.group,
        )
        for number, example in enumerate(found.examples)
        if example.split in _EMBEDDED[part]
    )
