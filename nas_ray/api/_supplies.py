"""What runs are made from: latency tables."""

from __future__ import annotations

from pathlib import Path

from nas_ray.errors import RunError
from nas_ray.space import PathSpace
from nas_ray.spec import Latency, load_space
from nas_ray.stages import Console, Silent, check_latency, check_room
from nas_ray.tables import PartTable


def profile(
    space: str,
    *,
    teacher: str = "minilm",
    latency: Latency | None = None,
    output: str | Path,
    console: Console | None = None,
) -> PartTable:
    """Measure this device's latency table for ``space`` under ``teacher`` and write it to ``output``.

    Raises:
        SpecError, TeacherError: of what there is no table. RunError: ``output`` cannot be written.
    """
    from nas_ray.stages.profile import describe, measure
    from nas_ray.stages.uniform.profile import measure_uniform
    from nas_ray.teacher import check_blocks, resolve_teacher, teacher_shape

    found, shown, wanted = load_space(space), console or Silent(), latency or Latency()
    source = resolve_teacher(teacher, shown.say)
    shape = teacher_shape(source.config)
    if isinstance(found, PathSpace):
        check_blocks(shape.num_layers, found.num_blocks)
    check_latency(wanted)
    _check_writable(Path(output))
    table = (
        measure(found, shape, wanted, "inherit", 0, shown)
        if isinstance(found, PathSpace)
        else measure_uniform(found, shape, wanted, 0, shown)
    )
    table.write(Path(output))
    shown.say(describe(table))
    return table


def _check_writable(file: Path) -> None:
    """Before minutes are spent on what it is to hold."""
    check_room(file.parent, 0, "choose another --output")
    if file.is_dir():
        raise RunError(f"{file}: a folder; accepted: the name of a file to write.")
