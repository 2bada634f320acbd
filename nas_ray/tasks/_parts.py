"""The parts of a task: what trains, what chooses, what is reported, what only a server can score."""

from __future__ import annotations

from nas_ray.data import labelled
from nas_ray.errors import TaskError
from nas_ray.spec import Part
from nas_ray.tasks._task import Example, Task


def read_part(task: Task, part: Part) -> tuple[Example, ...]:
    """The examples of one part.

    Raises:
        TaskError: the task has no such part, or its data does not fit it. AssetError: it cannot be fetched.
    """
    if task.embedded is not None:
        return _embedded(task, task.embedded, part)
    raise TaskError(f"task '{task.name}': no reader.")


def _embedded(task: Task, name: str, part: Part) -> tuple[Example, ...]:
    found = labelled(name)
    splits = {"train": ("train",), "select": ("calibrate", "select"), "test": ("test",)}
    if part not in splits:
        raise TaskError(f"task '{task.name}' has no part '{part}'; accepted: {', '.join(splits)}.")
    numbers = [task.classes.index(label) for label in found.classes]
    return tuple(
        Example(
            id=str(number),
            texts=(example.text,),
            target=float(numbers[int(example.target)] if numbers else example.target),
            group=example.group,
        )
        for number, example in enumerate(found.examples)
        if example.split in splits[part]
    )
