"""Tasks by name, and from a user's YAML file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nas_ray.errors import TaskError, unknown
from nas_ray.spec import TaskSpec, load_task_spec, load_task_specs
from nas_ray.tasks._task import Task

_CATALOGUE = Path(__file__).parent / "catalogue.yaml"


def load_task(name: str, data: str | Path | None = None) -> Task:
    """The task called ``name``: one of the catalogue, or a YAML file if it has a ``/`` or a suffix.

    ``data`` names local files that are read in place of the hub's: a folder, or one file that is cut into parts.

    Raises:
        TaskError: no such task or no such files. SpecError: the YAML file does not describe a task.
    """
    if "/" in name or Path(name).suffix:
        file = Path(name).expanduser()
        spec, name, beside = load_task_spec(file), file.stem, file.parent
    elif name in catalogue():
        spec, beside = catalogue()[name], None
    else:
        raise TaskError(unknown("task", name, catalogue()))
    place = Path(data).expanduser() if data is not None else beside if spec.files else None
    if place is not None and not place.exists():
        raise TaskError(f"{place}: no such file or folder; accepted: the data of task '{name}'.")
    if data is not None and spec.embedded is not None:
        raise TaskError(f"task '{name}' is embedded and reads no other data; accepted: no --data.")
    return Task(**dict(spec), name=name, data=place)


@lru_cache(maxsize=1)
def catalogue() -> dict[str, TaskSpec]:
    """All shipped tasks."""
    return load_task_specs(_CATALOGUE)
