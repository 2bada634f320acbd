"""The teacher's outputs for all students of a run: computed here, or by one shared actor."""

from __future__ import annotations

from typing import Any

from nas_ray.distill import Outputs, OutputsConfig, TeacherOutputs, evaluation_arrays
from nas_ray.stages._context import Context
from nas_ray.stages._texts import Texts


def teacher_outputs(
    context: Context, name: str, config: OutputsConfig, texts: Texts | None = None
) -> tuple[Outputs, list[Any]]:
    """Where outputs come from until the run is closed, and the arrays that judging needs, as workers take them.

    ``name`` is the actor's; ``texts`` are those of the run if None.
    """
    texts = texts or context.texts
    splits = {split: texts.part(split, count) for split, count in texts.counts.items()}
    group = texts.spec.batch_sequences
    if context.is_local:
        local = TeacherOutputs(config)
        return local, [evaluation_arrays(local, splits, group)]
    context.connect()
    from nas_ray.cluster import put, share_outputs

    shared = share_outputs(name, config)
    context.at_close.append(shared.close)
    return shared, [put(evaluation_arrays(shared, splits, group))]
