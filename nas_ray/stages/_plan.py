"""What a trial would do, how long and in how much memory; starts nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas_ray import assets
from nas_ray.errors import SpecError
from nas_ray.search import make_searcher
from nas_ray.space import PathSpace, TeacherShape, part_params
from nas_ray.spec import TrialSpec, find, load_space_spec, load_trial, spec_hash

_EFFICIENCY = 0.45  # of a plain matrix product, measured over the quickstart's stages
_PROCESS_GB = 0.9  # a worker with torch and transformers loaded


@dataclass(frozen=True)
class Plan:
    """Lines to print, and the figures behind them; seconds and GB are None while the teacher is not here."""

    lines: tuple[str, ...]
    seconds: dict[str, float] | None
    memory_gb: float | None


def plan(trial: str, *, overrides: Sequence[str] = (), storage: str | Path = "runs") -> Plan:
    """Check ``trial`` and estimate its stages on this machine."""
    spec = load_trial(trial, overrides)
    space_spec = load_space_spec(spec.space, find(trial, "trials", "trial spec").parent)
    space = space_spec.build()
    if not isinstance(space, PathSpace):
        raise SpecError(f"space '{space.name}' is of kind uniform; `nas-ray search` accepts kind paths", key="space")
    chosen = spec.search.searcher
    make_searcher(chosen.name, space, len(spec.search.objectives), spec.seed, chosen.options)  # refuses what it must
    folder = Path(storage) / f"{spec.name}-{spec_hash(spec, space_spec)}"
    lines = [
        f"run         {folder}" + (" (exists: would go on)" if folder.is_dir() else ""),
        f"space       {space.name}: {space.num_blocks} blocks, {len(space.paths)} paths a block, "
        f"{space.num_architectures:.3g} architectures",
        f"candidates  {spec.search.num_candidates}: up to {int(spec.search.num_candidates * spec.search.proposals)} "
        f"from the tables' front, then {spec.search.searcher.name}; rungs of "
        f"{', '.join(map(str, spec.search.rungs))} batches, scheduler {spec.search.scheduler.name}",
    ]
    shape = _shape(spec)
    if shape is None:
        lines.append(
            f"teacher     {spec.teacher} is not here yet; `nas-ray assets fetch {spec.teacher}`, "
            "then time and memory show"
        )
        return Plan(tuple(lines), None, None)
    seconds, memory = _seconds(spec, space, shape), _memory(spec, space, shape)
    lines.append(f"teacher     {spec.teacher}: {shape.encoder_params:,} encoder parameters, {shape.num_layers} layers")
    lines += [f"stage       {stage:9} about {_duration(value)}" for stage, value in seconds.items()]
    lines.append(
        f"total       about {_duration(sum(seconds.values()))} on {os.cpu_count()} cores, {memory:.1f} GB of memory"
    )
    return Plan(tuple(lines), seconds, memory)


def _shape(spec: TrialSpec) -> TeacherShape | None:
    if spec.teacher in assets.CATALOGUE and not assets.is_cached(spec.teacher):
        return None
    from nas_ray.teacher import resolve_teacher, teacher_shape

    return teacher_shape(resolve_teacher(spec.teacher).config)


def _seconds(spec: TrialSpec, space: PathSpace, shape: TeacherShape) -> dict[str, float]:
    """Arithmetic of each stage over the speed of a matrix product here."""
    rate = _matrix_rate() * _EFFICIENCY
    tokens = {name: getattr(spec.text, f"{name}_batches") * spec.text.batch_sequences * spec.text.sequence_length
              for name in ("calibrate", "select", "test")}  # fmt: skip
    batch = spec.text.batch_sequences * spec.text.sequence_length
    mean_path = float(np.mean([path.num_params() for path in space.paths]))
    scored = min(spec.tabulate.max_paths or len(space.paths), len(space.paths))
    nodes = [
        path.operations[-1].num_params(path.width) + 2 * path.width * (path.width + shape.hidden) / 2
        for path in space.paths
    ]
    score_tokens = tokens["calibrate"] + tokens["select"]
    step = 6 * mean_path * spec.supernet.paths_per_step * batch + 2 * shape.encoder_params * batch / space.num_blocks
    whole = 2 * mean_path * space.num_blocks + shape.hidden * shape.hidden * 4 * space.num_blocks
    checks = len(space.operations) * 6 + spec.latency.check_models * spec.latency.repeats * 0.02
    return {
        "profile": 8 + checks,
        "supernet": 25 + step * spec.supernet.steps * space.num_blocks / rate,
        "tabulate": 2 * float(np.mean(nodes)) * scored * score_tokens * space.num_blocks / rate,
        "search": 15 + whole * (tokens["calibrate"] + tokens["select"]) * (spec.search.num_candidates + 4) / rate,
        "test": whole * (tokens["calibrate"] + tokens["test"]) * spec.search.num_candidates / 3 / rate,
        "report": 6.0,
    }


def _memory(spec: TrialSpec, space: PathSpace, shape: TeacherShape) -> float:
    """GB at the widest point: every block's weights, gradients, AdamW moments and states, and the workers."""
    weights = sum(
        part_params(f"{width}:{operation.token}", shape, space.head_size) * space.num_layers
        for width, operations in space.operations.items()
        for operation in operations
    )
    batches = spec.text.calibrate_batches + spec.text.select_batches + spec.text.test_batches
    states = 2 * batches * spec.text.batch_sequences * spec.text.sequence_length * shape.hidden
    each = (4 * weights + states + shape.encoder_params + shape.embedding_params) * 4 / 1e9 + _PROCESS_GB
    return space.num_blocks * each + (os.cpu_count() or 1) * _PROCESS_GB


def _matrix_rate() -> float:
    """FLOP/s of a square fp32 matrix product on all cores: the best of many, others may be at work here."""
    a = np.ones((768, 768), dtype=np.float32)
    end, least = time.perf_counter() + 0.5, float("inf")
    while (began := time.perf_counter()) < end:
        a @ a
        least = min(least, time.perf_counter() - began)
    return 2 * 768**3 / least


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
