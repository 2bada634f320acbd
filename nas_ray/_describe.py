"""What a spec, a space or a task is, in words and figures: ``nas-ray check``, ``nas-ray spaces``, ``nas-ray tasks``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_ray.space import PathSpace, UniformSpace, describe_ladder
from nas_ray.spec import (
    Distill,
    PathSpaceSpec,
    Range,
    TrialSpec,
    UniformSpaceSpec,
    find,
    is_space,
    is_task,
    load_space,
    load_space_spec,
    load_trial,
    shipped,
)


def spaces() -> list[dict[str, Any]]:
    """The shipped search spaces: name, kind, description and sizes."""
    return [_space_facts(load_space_spec(name)) for name in shipped("search_spaces")]


def tasks() -> list[dict[str, Any]]:
    """The shipped downstream tasks: what is predicted and how it is scored, sizes and source. Nothing is fetched."""
    from nas_ray.tasks import catalogue

    return [task_facts(name) for name in catalogue()]


def task_facts(name: str) -> dict[str, Any]:
    """One task, of the catalogue or of a YAML file.

    Raises:
        TaskError: no such task. SpecError: the file does not describe one.
    """
    from nas_ray.tasks import load_task, parts_of

    task = load_task(name)
    facts = task.model_dump(mode="json", include={"name", "title", "group", "kind", "classes", "metrics", "max_length"})
    more = task.model_dump(mode="json", include={"answerable", "trained_on", "fields", "folder", "files", "sizes"})
    server = task.predictions.file if task.predictions is not None else None
    return {**facts, "source": task.source, "parts": list(parts_of(task)), **more, "predictions": server}


def check(file: str) -> str:
    """Check a trial spec, a space file or a task file; returns a few lines that say what it is.

    Neither the teacher nor the text is looked for: they may be on another machine. The examples of a task are read if
    they are here.

    Raises:
        SpecError: the file is missing, no YAML, or something in it is not accepted. TaskError: the same of examples.
    """
    if is_task(file):
        return "\n".join([f"{file}: {line}" if not n else f"  {line}" for n, line in enumerate(_task_lines(file))])
    if is_space(file):
        space = load_space(file)
        return "\n".join([f"{file}: search space '{space.name}', kind {space.kind}", *_space_lines(space)])
    spec = load_trial(file)
    space = load_space_spec(spec.space, spec_folder(file)).build()
    first = f"{file}: trial spec '{spec.name}', space '{space.name}'"
    if isinstance(space, UniformSpace):
        return "\n".join([first, *_space_lines(space), *_extraction_lines(spec, space)])
    first = f"{first}, {spec.search.num_candidates} candidates"
    return "\n".join([first, *_space_lines(space), *_trial_lines(spec, space)])


def _task_lines(file: str) -> list[str]:
    from nas_ray.tasks import has_data, load_task, parts_of, read_part

    task = load_task(file)
    parts = parts_of(task)
    lines = [f"task '{task.name}', kind {task.kind}", f"metrics {', '.join(task.metrics)}; parts {', '.join(parts)}"]
    if has_data(task):
        return [*lines, "examples " + ", ".join(f"{part} {len(read_part(task, part)):,}" for part in parts)]
    return [*lines, f"its examples are not here ({task.source}), and were not checked"]


def _space_lines(space: PathSpace | UniformSpace) -> list[str]:
    if isinstance(space, UniformSpace):
        return [f"  {space.num_architectures} encoders (of {space.num_tuples} tuples)"]
    return [
        f"  {space.num_blocks} blocks of up to {space.num_layers} layers, {space.num_operations} operations a layer, "
        f"widths {', '.join(map(str, space.widths))}",
        f"  {len(space.paths)} paths a block, {space.num_architectures:.3g} architectures, "
        f"embedding sizes {', '.join(map(str, space.embedding_sizes))}",
    ]


def _extraction_lines(spec: TrialSpec, space: UniformSpace) -> list[str]:
    from nas_ray.search import how_many
    from nas_ray.stages.uniform import check_extraction

    check_extraction(spec, space)
    text, extraction, distill = spec.text, spec.extraction, spec.search.distill
    assert distill is not None, "checked"
    return [
        f"  teacher {spec.teacher}; text {', '.join(s.source for s in text.sources)}, sequences of "
        f"{text.sequence_length} tokens, inputs {text.inputs}",
        f"  extraction: {how_many(extraction.epsilon)} of the architectures, hyperparameter sets: {spec.sets_each}, "
        f"start {extraction.start}, error {extraction.error}, speed {extraction.latency}",
        f"  rungs: distilled {', '.join(map(str, distill.steps))} steps{_searched(distill)}",
    ]


def _trial_lines(spec: TrialSpec, space: PathSpace) -> list[str]:
    from nas_ray.search import make_searcher

    text, supernet, search = spec.text, spec.supernet, spec.search
    make_searcher(search.searcher.name, space, len(search.objectives), spec.seed, search.searcher.options)
    shrink = "no shrinking" if supernet.shrink is None else f"shrinking mode {supernet.shrink.mode}"
    bounds = ", ".join(f"{metric} <= {bound:g}" for metric, bound in search.constraints.items())
    return [
        f"  teacher {spec.teacher}; text {', '.join(s.source for s in text.sources)}, sequences of "
        f"{text.sequence_length} tokens, inputs {text.inputs}",
        f"  supernet: start {supernet.start}, {supernet.steps} steps of {text.batch_sequences} sequences, {shrink}",
        f"  search: {search.searcher.name}, objectives {', '.join(search.objectives)}, {bounds or 'no constraints'}, "
        f"scheduler {search.scheduler.name}",
        f"  rungs: {describe_ladder(search.ladder)}{_searched(search.distill)}",
    ]


def _searched(distill: Distill | None) -> str:
    """The hyperparameters that are searched beside the architecture."""
    if distill is None or not distill.searched:
        return ""
    shown = (
        f"{name} {values.low:g} to {values.high:g}"
        if isinstance(values, Range)
        else f"{name} {', '.join(map(str, values))}"
        for name, values in distill.searched.items()
    )
    return f"; searched too: {'; '.join(shown)}"


def _space_facts(spec: PathSpaceSpec | UniformSpaceSpec) -> dict[str, Any]:
    space = spec.build()
    facts = {"name": space.name, "kind": space.kind, "description": spec.description}
    if isinstance(space, PathSpace):
        return {
            **facts,
            "operations_per_layer": space.num_operations,
            "paths_per_block": len(space.paths),
            "blocks": space.num_blocks,
            "layers_per_block": space.num_layers,
            "architectures": float(space.num_architectures),
        }
    return {**facts, "tuples": space.num_tuples, "architectures": float(space.num_architectures)}


def spec_folder(trial: str) -> Path:
    """Where relative space files of a trial spec are looked for first."""
    return find(trial, "trials", "trial spec").parent
