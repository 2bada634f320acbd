"""Stage 1: latency of the embedding and of whole layers of every size, with all else idle; sizes are closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas_ray.errors import TableError
from nas_ray.space import TeacherShape, UniformSpace
from nas_ray.spec import Latency
from nas_ray.stages._console import Console
from nas_ray.stages._context import Context
from nas_ray.stages.profile import describe, measure_parts
from nas_ray.stages.uniform._order import intrinsic
from nas_ray.tables import PartTable, all_uniform_parts, maximum_point, uniform_parts


def run(context: Context) -> list[Path]:
    """Write ``tables/latency.parquet``.

    Raises:
        InfeasibleError: no architecture meets the bounds; nothing has been trained yet.
    """
    space, shape, spec = context.tuples, context.shape, context.spec
    file = context.path("tables/latency.parquet")
    latency = (
        _given(Path(spec.latency.table), space, shape)
        if spec.latency.table
        else measure_uniform(space, shape, spec.latency, spec.seed, context.console)
    )
    latency.write(file)
    context.console.say(describe(latency))
    intrinsic(context)
    return [file]


def measure_uniform(space: UniformSpace, shape: TeacherShape, spec: Latency, seed: int, console: Console) -> PartTable:
    """The latency table of this device for plain encoders of ``space`` and the maximum point.

    Raises:
        StageError: the measurement failed.
    """
    rng = np.random.default_rng([seed, 5])
    count = min(spec.check_models, len(space.architectures))
    chosen = rng.choice(len(space.architectures), size=count, replace=False)
    models = tuple(uniform_parts(space.architectures[int(index)]) for index in sorted(chosen))
    return measure_parts(all_uniform_parts(space, maximum_point(shape)), models, shape, 1, spec, console)


def _given(path: Path, space: UniformSpace, shape: TeacherShape) -> PartTable:
    table = PartTable.read(path)
    missing = [part for part in all_uniform_parts(space, maximum_point(shape)) if part not in table.values]
    if table.metric != "latency_ms" or missing:
        raise TableError(
            f"{path}: no latency table of space '{space.name}' (it lacks {', '.join(missing[:3]) or 'latencies'}); "
            "measure one with `nas-ray profile` for this space and teacher."
        )
    return table
