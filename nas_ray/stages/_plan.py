"""What a trial would do, how long and in how much memory; starts nothing."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from nas_ray import assets
from nas_ray._machine import num_cores
from nas_ray.errors import TeacherError
from nas_ray.space import PathSpace, TeacherShape, UniformSpace, describe_ladder
from nas_ray.spec import TrialSpec
from nas_ray.stages._checks import check_positions, check_spec, check_teacher
from nas_ray.stages._enqueued import enqueue_overrides
from nas_ray.stages._estimates import Estimate, StageEstimates, operation_weights
from nas_ray.stages._rates import operation_rate
from nas_ray.stages._run import Run
from nas_ray.stages._shrinking import shrinking
from nas_ray.stages._trial import load_run_specs
from nas_ray.stages.uniform import _plan as uniform
from nas_ray.stages.uniform import check_extraction, check_maximum


@dataclass(frozen=True)
class Plan:
    """Lines to print, and the figures behind them; seconds and GB are None while the teacher is not here."""

    lines: tuple[str, ...]
    seconds: dict[str, float] | None
    memory_gb: float | None


def plan(
    trial: str,
    *,
    overrides: Sequence[str] = (),
    storage: str | Path = "runs",
    warm_start: Path | None = None,
    enqueue: Path | None = None,
) -> Plan:
    """Check ``trial`` and estimate its stages on this machine."""
    spec, space_spec = load_run_specs(trial, enqueue_overrides(trial, overrides, warm_start, enqueue, lambda _: None))
    space, folder = space_spec.build(), Run.place(Path(storage), spec, space_spec)
    lines = [f"run         {folder}" + (" (exists: would go on)" if folder.is_dir() else "")]
    if isinstance(space, UniformSpace):
        check_extraction(spec, space)
        lines += uniform.work(spec, space)
    else:
        check_spec(spec, space)
        lines += _work(spec, space)
    config, reason = _config(spec)
    if config is None:
        lines.append(f"teacher     {spec.teacher}: {reason}")
        return Plan(tuple(lines), None, None)
    from nas_ray.teacher import teacher_shape

    shape = teacher_shape(config)
    check_positions(spec, shape)
    if isinstance(space, UniformSpace):
        check_maximum(spec, space, config)
        found = uniform.estimate(spec, space, shape)
        machine = f"{num_cores()} cores"
    else:
        check_teacher(spec, space, shape)
        found, machine = _estimate(spec, space, shape), _machine(spec)
    lines.append(f"teacher     {spec.teacher}: {shape.encoder_params:,} encoder parameters, {found.about}")
    lines += found.details
    lines += [f"stage       {stage:9} about {_duration(value)}" for stage, value in found.seconds.items()]
    total, memory = _duration(sum(found.seconds.values())), _bytes(found.memory_bytes)
    lines.append(f"total       about {total} on {machine}, {memory} of memory")
    return Plan(tuple(lines), found.seconds, found.memory_bytes / 1e9)


def _estimate(spec: TrialSpec, space: PathSpace, shape: TeacherShape) -> StageEstimates:
    """The stages of a space of kind paths."""
    estimate = Estimate(spec, space, shape)
    seconds = estimate.seconds(operation_rate(space, spec.text.sequence_length, _device(spec)))
    memory = estimate.total_memory(num_cores())
    return StageEstimates(f"{shape.num_layers} layers", tuple(_room(estimate)), seconds, memory)


def _machine(spec: TrialSpec) -> str:
    device = _device(spec)
    machine = f"{num_cores()} cores" if device == "cpu" else "one GPU of this machine, fp32"
    return machine + ("" if device == spec.supernet.device else " (no GPU here)")


def _work(spec: TrialSpec, space: PathSpace) -> list[str]:
    """What is done, as far as the spec says: needs no teacher."""
    text, supernet, search = spec.text, spec.supernet, spec.search
    batch, workers = text.batch_sequences * text.sequence_length, supernet.replicas
    tokens = supernet.steps * batch * workers
    several = f" in each of {workers} replicas" if workers > 1 else ""
    lines = [
        f"training    {supernet.steps:,} steps of {text.batch_sequences} x {text.sequence_length} = {batch:,} tokens"
        f"{several}, {supernet.updates} updates x {supernet.paths_per_update} paths a step (law {supernet.sampling}): "
        f"{_count(tokens)} tokens a block, start {supernet.start}",
    ]
    if (course := shrinking(spec, space)) is not None and supernet.shrink is not None:
        lines.append(
            f"shrinking   mode {supernet.shrink.mode}: {course.remaining} paths a block left after {course.epochs} of "
            f"{supernet.shrink.epochs} epochs, {sum(course.evaluated):,} evaluated (if latency drops none)"
        )
    number = sum(map(len, search.enqueue.values()))
    enqueued = f"then {number} enqueued, " if number else ""
    evaluated = (f"{split} {getattr(text, f'{split}_batches') * batch:,}" for split in ("calibrate", "select", "test"))
    return [
        f"space       {space.name}: {space.num_blocks} blocks, {len(space.paths)} paths a block, "
        f"{space.num_architectures:.3g} architectures",
        *lines,
        f"evaluation  tokens: {', '.join(evaluated)}",
        f"workers     {space.num_blocks} blocks x {workers} replicas = {space.num_blocks * workers}, each block "
        f"{_count(operation_weights(space))} weights of operations, besides its maps",
        f"candidates  {search.num_candidates}: up to {int(search.num_candidates * search.proposals)} "
        f"from the tables' front, {enqueued}then {search.searcher.name}; rungs: "
        f"{describe_ladder(search.ladder)}; scheduler {search.scheduler.name}",
    ]


def _room(estimate: Estimate) -> list[str]:
    """Memory and disk of a block worker."""
    memory, students = estimate.memory(), estimate.student_bytes
    uses = [
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("AdamW moments", memory.moments),
        ("states in flight", memory.in_flight),
        ("evaluation states", memory.evaluation),
        ("work space", memory.work),
        ("teacher", memory.teacher),
        ("libraries", memory.process),
    ]
    return [
        f"memory      a block {_bytes(memory.total)}: {', '.join(f'{name} {_bytes(size)}' for name, size in uses)}",
        f"disk        a block {_bytes(estimate.cached_bytes + estimate.checkpoint_bytes)}: boundary cache "
        f"{_bytes(estimate.cached_bytes)} of the {_bytes(estimate.boundary_bytes)} of an epoch, two checkpoints "
        f"{_bytes(estimate.checkpoint_bytes)}",
        *([f"            students {_bytes(students)} at most: weights and moments"] if students else []),
    ]


def _config(spec: TrialSpec) -> tuple[Any, str]:
    """The teacher's configuration; None, and why, where it is not known here.

    Raises:
        TeacherError: the teacher is here and is wrong.
    """
    if spec.teacher in assets.CATALOGUE and not assets.is_cached(spec.teacher):
        return None, f"is not here yet; `nas-ray assets fetch {spec.teacher}`, then time and memory show"
    place = _place(spec.teacher)
    if place is not None:
        from nas_ray.teacher import resolve_teacher, teacher_shape

        try:
            config = resolve_teacher(place).config
            teacher_shape(config)
            return config, ""
        except TeacherError as error:
            if error.__cause__ is None or Path(place).expanduser().exists():
                raise
    return None, "the model hub does not give it here; time, memory and disk show where it does"


def _place(teacher: str) -> str | None:
    """Where to read its configuration: itself, else the hub's cache, else the hub; None if that does not answer."""
    from huggingface_hub import constants, try_to_load_from_cache

    if teacher in assets.CATALOGUE or Path(teacher).expanduser().exists():
        return teacher
    try:
        cached = try_to_load_from_cache(teacher, "config.json")
    except ValueError:  # no name of a hub model: loading it says what it is
        return teacher
    if isinstance(cached, str):
        return str(Path(cached).parent)
    if constants.HF_HUB_OFFLINE:
        return None
    hub = urlsplit(constants.ENDPOINT)
    try:  # the hub's own client tries for half a minute
        socket.create_connection((hub.hostname or "", hub.port or 443), timeout=5).close()
    except OSError:
        return teacher if getproxies() else None
    return teacher


def _device(spec: TrialSpec) -> str:
    """Where time is estimated for: the spec's device if it is here."""
    import torch

    return "cuda" if spec.supernet.device == "cuda" and torch.cuda.is_available() else "cpu"


def _count(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1e6:,.0f} MB"


def _duration(seconds: float) -> str:
    for most, size, unit in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{seconds / size:.1f} {unit}" if unit == "h" else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"
