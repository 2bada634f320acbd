"""The models that retraining starts from: a folder for each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder
from nas_ray.measure import CandidateEvaluator
from nas_ray.space import Architecture, parse_architecture
from nas_ray.spec import Retrain
from nas_ray.stages._context import Context
from nas_ray.stages.search import judge_config
from nas_ray.student import path_config, save_model, stitched_model, untrained_model
from nas_ray.teacher import load_teacher


def write_starts(context: Context, spec: Retrain, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the model of each row that ``folder`` lacks, under its candidate id."""
    missing = [row for row in rows if not (folder / row["candidate_id"]).is_dir()]
    if not missing:
        return
    make = _untrained(context) if spec.weights == "scratch" else _stitched(context)
    for number, row in enumerate(missing, start=1):
        model = make(parse_architecture(row["arch_id"], context.head_size))
        with replace_folder(folder / row["candidate_id"]) as temporary:
            save_model(model, temporary)
        context.console.progress(number, len(missing), "students to start from")
    context.close_blocks()  # memory, and the CPU that they reserve, are the students' now


def _untrained(context: Context) -> Callable[[Architecture], Any]:
    teacher, spec = load_teacher(context.teacher_source, context.space.num_blocks), context.spec

    def make(architecture: Architecture) -> Any:
        start, frozen = spec.supernet.start, context.costs.frozen
        return untrained_model(path_config(architecture, teacher, start, frozen, context.head_size), spec.seed)

    return make


def _stitched(context: Context) -> Callable[[Architecture], Any]:
    published = context.published()
    if not context.is_local:
        from nas_ray.cluster import take

        published = take(published)
    evaluator = CandidateEvaluator(judge_config(context).evaluator, published)
    teacher, start = evaluator.stitcher.teacher, context.spec.supernet.start

    def make(architecture: Architecture) -> Any:
        student = evaluator.assemble(architecture.arch_id)
        return stitched_model(student, teacher, start, architecture.arch_id)

    return make
