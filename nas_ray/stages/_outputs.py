"""The teacher's outputs for all students of a run: computed here, or by one shared actor."""

from __future__ import annotations

from typing import Any

from nas_ray.distill import Outputs, OutputsConfig, TeacherOutputs, evaluation_arrays
from nas_ray.stages._context import Context


def teacher_outputs(context: Context, name: str, config: OutputsConfig) -> tuple[Outputs, list[Any]]:
    """Where outputs come from until the run is closed, and the arrays that judging needs, as workers take them.

    ``name`` is the actor's.
    """
    splits = {split: context.text(split, count) for split, count in context.evaluation_counts().items()}
    group = context.spec.text.batch_sequences
    if context.is_local:
        local = TeacherOutputs(config)
        return local, [evaluation_arrays(local, splits, group)]
    context.connect()
    from nas_ray.cluster import put, share_outputs

    shared = share_outputs(name, config)
    context.at_close.append(shared.close)
    return shared, [put(evaluation_arrays(shared, splits, group))]
