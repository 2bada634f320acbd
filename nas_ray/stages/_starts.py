"""The models that retraining starts from: a folder for each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder
from nas_ray.blocks import build_uniform, uniform_config
from nas_ray.distill import inherited_arrays, teacher_inheritance
from nas_ray.errors import ModelError, SpecError, TeacherError
from nas_ray.measure import CandidateEvaluator
from nas_ray.space import parse_any
from nas_ray.spec import Retrain
from nas_ray.stages._checks import device_here
from nas_ray.stages._context import Context
from nas_ray.stages.search import judge_config
from nas_ray.student import (
    check_weights,
    path_config,
    save_model,
    scale_as,
    stitched_model,
    untrained_model,
    with_masked_lm_head,
)
from nas_ray.teacher import (
    TeacherSource,
    has_masked_lm_head,
    load_masked_lm,
    load_teacher,
    load_tokenizer,
    numerics_of,
    resolve_teacher,
    teacher_shape,
)

Make = Callable[[Any], Any]  # a model of an architecture

_ACCEPTED = {"paths": ("supernet", "teacher", "scratch"), "uniform": ("teacher", "scratch")}
_SEQUENCES = 16  # that plain students are fitted to the teacher on


def weights_of(context: Context, spec: Retrain) -> str:
    """What the students of this run start from.

    Raises:
        SpecError: its kind of space has no such weights.
    """
    kind = context.run.space_spec.kind
    accepted = _ACCEPTED[kind]
    if spec.weights == "auto" and spec.starts_from_scratch:
        return "scratch"
    if spec.weights not in ("auto", *accepted):
        raise SpecError(
            f"{spec.weights}, in a run of kind {kind}; accepted: auto, {', '.join(accepted)}.", key="weights"
        )
    if spec.weights == "teacher" and kind == "paths" and context.spec.supernet.start != "inherit":
        raise SpecError(
            "teacher, in a run with supernet.start scratch, whose students have no maps to the teacher's width; "
            "accepted: supernet, scratch.", key="weights"
        )  # fmt: skip
    return accepted[0] if spec.weights == "auto" else spec.weights


def distilled_from(context: Context, spec: Retrain) -> TeacherSource:
    """Whom students learn from: the run's teacher, or another one that reads the same tokens.

    Raises:
        SpecError: the losses need a masked-LM head, and it has none.
        TeacherError: it cannot be found, or its tokenizer or sizes are not those of the run's.
    """
    own = context.teacher_source
    source = own if spec.teacher is None else resolve_teacher(spec.teacher, context.console.say)
    if spec.loss_weights["logits"] and not has_masked_lm_head(source.config):
        named = spec.teacher or context.spec.teacher
        raise SpecError(
            f"teacher '{named}' has no masked-LM head; accepted: one that has, such as `nas-ray adapt-teacher {named}` "
            "makes (--set teacher=FOLDER), or a preset without its predictions (masked_lm, embedding).",
            key="losses.logits",
        )
    if source != own:
        _check_like(source, own)
    return source


def _check_like(source: TeacherSource, own: TeacherSource) -> None:
    ours, theirs = teacher_shape(own.config), teacher_shape(source.config)
    for name in ("vocab_size", "hidden"):
        if getattr(ours, name) != getattr(theirs, name):
            raise TeacherError(
                f"teacher '{source.location}' has {name} {getattr(theirs, name)}, that of the search "
                f"{getattr(ours, name)}; accepted: a teacher of the same sizes and tokenizer."
            )
    if load_tokenizer(source).get_vocab() != load_tokenizer(own).get_vocab():
        raise TeacherError(
            f"the tokenizer of teacher '{source.location}' is not that of the search's teacher '{own.location}', whose "
            "word vectors students have; accepted: a teacher with the same tokens."
        )


def write_starts(
    context: Context, spec: Retrain, folder: Path, rows: Sequence[dict[str, Any]], teacher: TeacherSource
) -> None:
    """Write the model of each row that ``folder`` lacks or has damaged, under its candidate id.

    With a masked-LM head if hidden tokens are learned: that of ``teacher`` where it fits, unless all begins from
    scratch.
    """
    missing = [row for row in rows if not _is_whole(folder / row["candidate_id"])]
    if not missing:
        return
    if context.is_uniform:
        make = _plain(context, spec.weights)
    else:
        make = _untrained(context) if spec.weights == "scratch" else _stitched(context, spec.weights)
    learned = load_teacher(teacher, 1) if spec.weights == "scratch" and spec.loss_weights["hidden"] else None
    head: Make = _with_head(context, spec, teacher) if spec.is_masked else lambda encoder: encoder
    for number, row in enumerate(missing, start=1):
        model = make(parse_any(row["arch_id"], context.head_size))
        if learned is not None:
            scale_as(model, learned)
        with replace_folder(folder / row["candidate_id"]) as temporary:
            save_model(head(model), temporary)
        more = sum(weight.numel() for weight in model.parameters()) - int(row["params"])
        if more > 0 and not context.is_uniform:
            context.console.say(
                f"  {row['candidate_id']} has {more:,} weights more than its costs say: with supernet.start scratch, "
                "what comes from supernets keeps a map at every seam; --set weights=scratch builds the papers' form"
            )
        context.console.progress(number, len(missing), "students to start from")
    context.close_blocks()  # memory, and the CPU that they reserve, are the students' now


def _is_whole(start: Path) -> bool:
    try:
        check_weights(start)
    except ModelError:
        return False
    return True


def _with_head(context: Context, spec: Retrain, teacher: TeacherSource) -> Make:
    inherits = spec.weights != "scratch" and has_masked_lm_head(teacher.config)
    theirs = load_masked_lm(teacher) if inherits else None
    return lambda encoder: with_masked_lm_head(encoder, context.spec.seed, theirs)


def _untrained(context: Context) -> Make:
    teacher, spec = load_teacher(context.teacher_source, context.space.num_blocks), context.spec

    def make(architecture: Any) -> Any:
        start, frozen = spec.supernet.start, context.costs.frozen
        return untrained_model(path_config(architecture, teacher, start, frozen, context.head_size), spec.seed)

    return make


def _stitched(context: Context, weights: str) -> Make:
    """From trained supernets, or from the teacher's weights in them."""
    if weights == "teacher":
        blocks = [replace(block, device=device_here(block.device)) for block in context.block_configs()]
        published = inherited_arrays(blocks, context.texts.batches, context.texts.counts)
    else:
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
