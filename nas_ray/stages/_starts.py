"""The models that retraining starts from: a folder for each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder
from nas_ray.blocks import build_uniform, uniform_config
from nas_ray.distill import teacher_inheritance
from nas_ray.errors import SpecError
from nas_ray.measure import CandidateEvaluator
from nas_ray.space import parse_any
from nas_ray.spec import Retrain
from nas_ray.stages._context import Context
from nas_ray.stages.search import judge_config
from nas_ray.student import path_config, save_model, stitched_model, untrained_model
from nas_ray.teacher import load_teacher, numerics_of

Make = Callable[[Any], Any]  # a model of an architecture

_ACCEPTED = {"paths": ("supernet", "scratch"), "uniform": ("teacher", "scratch")}
_SEQUENCES = 16  # that plain students are fitted to the teacher on


def weights_of(context: Context, spec: Retrain) -> str:
    """What the students of this run start from.

    Raises:
        SpecError: its kind of space has no such weights.
    """
    kind = context.run.space_spec.kind
    accepted = _ACCEPTED[kind]
    if spec.weights not in ("auto", *accepted):
        raise SpecError(
            f"{spec.weights}, in a run of kind {kind}; accepted: auto, {', '.join(accepted)}.", key="weights"
        )
    return accepted[0] if spec.weights == "auto" else spec.weights


def write_starts(context: Context, spec: Retrain, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the model of each row that ``folder`` lacks, under its candidate id."""
    missing = [row for row in rows if not (folder / row["candidate_id"]).is_dir()]
    if not missing:
        return
    if context.is_uniform:
        make = _plain(context, spec.weights)
    else:
        make = _untrained(context) if spec.weights == "scratch" else _stitched(context)
    for number, row in enumerate(missing, start=1):
        model = make(parse_any(row["arch_id"], context.head_size))
        with replace_folder(folder / row["candidate_id"]) as temporary:
            save_model(model, temporary)
        more = sum(weight.numel() for weight in model.parameters()) - int(row["params"])
        if more > 0 and not context.is_uniform:
            context.console.say(
                f"  {row['candidate_id']} has {more:,} weights more than its costs say: with supernet.start scratch, "
                "what comes from supernets keeps a map at every seam; --set weights=scratch builds the papers' form"
            )
        context.console.progress(number, len(missing), "students to start from")
    context.close_blocks()  # memory, and the CPU that they reserve, are the students' now


def _untrained(context: Context) -> Make:
    teacher, spec = load_teacher(context.teacher_source, context.space.num_blocks), context.spec

    def make(architecture: Any) -> Any:
        start, frozen = spec.supernet.start, context.costs.frozen
        return untrained_model(path_config(architecture, teacher, start, frozen, context.head_size), spec.seed)

    return make


def _stitched(context: Context) -> Make:
    published = context.published()
    if not context.is_local:
        from nas_ray.cluster import take

        published = take(published)
    evaluator = CandidateEvaluator(judge_config(context).evaluator, published)
    teacher, start = evaluator.stitcher.teacher, context.spec.supernet.start

    def make(architecture: Any) -> Any:
        student = evaluator.assemble(architecture.arch_id)
        return stitched_model(student, teacher, start, architecture.arch_id)

    return make


def _plain(context: Context, weights: str) -> Make:
    """Plain encoders, as an extraction builds them."""
    shape, source = context.shape, context.teacher_source
    numerics, inheritance = numerics_of(source.config), None
    if weights == "teacher":
        text = context.texts.part("calibrate", context.texts.counts["calibrate"])
        ids, mask = text.rows(list(range(min(_SEQUENCES, len(text.ids)))))
        inheritance = teacher_inheritance(source.location, numerics, ids, mask)

    def make(architecture: Any) -> Any:
        config = uniform_config(architecture, shape.vocab_size, shape.num_positions, numerics)
        student = build_uniform(config, context.spec.seed)
        if inheritance is not None:
            inheritance.initialise(student)
        return student.encoder

    return make
