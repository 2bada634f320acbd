"""Stage 1: what every part costs: parameters in closed form, FLOPs counted, latency measured with all else idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nas_ray._machine import num_cores
from nas_ray.errors import StageError, TableError
from nas_ray.space import Architecture, PathSpace, TeacherShape, all_parts, parts, references, teacher_path
from nas_ray.spec import Latency
from nas_ray.stages._console import Console
from nas_ray.stages._context import Context
from nas_ray.tables import PartTable, params_table

if TYPE_CHECKING:
    from nas_ray.measure import LatencyRequest

T = TypeVar("T")

_POOR_RANK, _POOR_ERROR = 0.9, 25.0
_REPEATS = 20  # timings of a whole model


def run(context: Context) -> list[Path]:
    """Write ``tables/params.parquet``, ``tables/flops.parquet`` and ``tables/latency.parquet``.

    Raises:
        InfeasibleError: no architecture meets the bounds by these tables; nothing has been trained yet.
    """
    from nas_ray.measure import flops_table
    from nas_ray.search import table_problem

    space, shape, spec = context.space, context.shape, context.spec
    files = [context.path(f"tables/{name}.parquet") for name in ("params", "flops", "latency")]
    params_table(space, shape).write(files[0])
    flops_table(all_parts(space, shape), space.head_size, spec.text.sequence_length).write(files[1])
    latency = (
        _given(Path(spec.latency.table), space, shape)
        if spec.latency.table
        else measure(space, shape, spec.latency, spec.supernet.start, spec.seed, context.console)
    )
    latency.write(files[2])
    context.console.say(describe(latency))
    if context.bounds:
        table_problem(context.costs, None, list(context.bounds)).require_feasible(context.bounds)
    return files


def measure(space: PathSpace, shape: TeacherShape, spec: Latency, start: Any, seed: int, console: Console) -> PartTable:
    """The latency table of this device for the students of ``space``.

    Raises:
        StageError: the measurement failed.
    """
    models = check_models(space, shape, start, spec.check_models, seed)
    return measure_parts(all_parts(space, shape), models, shape, space.head_size, spec, console)


def measure_parts(
    parts: tuple[str, ...],
    models: tuple[tuple[str, ...], ...],
    shape: TeacherShape,
    head_size: int,
    spec: Latency,
    console: Console,
) -> PartTable:
    """Latency of ``parts`` and its error on whole ``models``.

    Raises:
        StageError: the measurement failed.
    """
    from nas_ray.measure import LatencyRequest

    request = LatencyRequest(
        parts=parts,
        models=models,
        vocab_size=shape.vocab_size,
        num_positions=max(shape.num_positions, spec.sequence_length),
        head_size=head_size,
        threads=spec.threads or num_cores(),
        **spec.model_dump(exclude={"threads", "check_models", "table"}),
    )
    return _answer(request, PartTable.read, console)


def measure_whole(key: Mapping[str, Any], models: Sequence[tuple[str, ...]], console: Console) -> list[float]:
    """Milliseconds of whole ``models``, as the table of that ``key`` was measured.

    Raises:
        StageError: the measurement failed, or this is another processor.
    """
    from nas_ray.measure import LatencyRequest

    def read(file: Path) -> dict[str, Any]:
        return dict(json.loads(file.read_text(encoding="utf-8")))

    found = _answer(LatencyRequest.whole(key, models, _REPEATS), read, console)
    if found["processor"] != key["processor"]:
        raise StageError("profile", f"the table is of {key['processor']}, and this is {found['processor']}")
    return list(found["milliseconds"])


def _answer(request: LatencyRequest, read: Callable[[Path], T], console: Console) -> T:
    """What ``read`` makes of the answer of a process of its own, with its own thread count.

    Raises:
        StageError: the measurement failed.
    """
    threads = str(request.threads)
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "request.json", Path(folder) / "answer"
        question.write_text(json.dumps(asdict(request)), encoding="utf-8")
        command = [sys.executable, "-m", "nas_ray.measure._latency", str(question), str(answer)]
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        with (
            (Path(folder) / "errors.txt").open("w+", encoding="utf-8") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    console.say(f"  {line.strip()}")
                process.wait()
                errors.seek(0)
                problem = errors.read().strip()
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise StageError(
                "profile", f"the latency measurement failed: {problem.splitlines()[-1] if problem else '?'}"
            )
        return read(answer)


def describe(table: PartTable) -> str:
    """One line: the key and the table's own error."""
    key, check = table.metadata["key"], table.metadata["check"]
    poor = check["spearman"] < _POOR_RANK or check["mape_percent"] > _POOR_ERROR
    return (
        f"  latency on {key['processor']}, {key['runtime']} {key['dtype']}, {key['threads']} threads, "
        f"{key['sequence_length']} tokens x {key['batch_size']}: against {check['num_models']} whole models "
        f"rank correlation {check['spearman']:.3f}, mean error {check['mape_percent']:.1f} %"
        + ("\n  a poor table: was the machine busy? `nas-ray profile` measures again" if poor else "")
    )


def _given(path: Path, space: PathSpace, shape: TeacherShape) -> PartTable:
    table = PartTable.read(path)
    missing = [part for part in all_parts(space, shape) if part not in table.values]
    if table.metric != "latency_ms" or missing:
        raise TableError(
            f"{path}: no latency table of space '{space.name}' (it lacks {', '.join(missing[:3]) or 'latencies'}); "
            "measure one with `nas-ray profile` for this space and teacher."
        )
    return table


def check_models(
    space: PathSpace, shape: TeacherShape, start: Any, count: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Random students and the references, as lists of parts."""
    rng = np.random.default_rng([seed, 5])
    frozen = teacher_path(shape, space.num_blocks, space.head_size)
    uniform = [
        Architecture(max(space.embedding_sizes), (path,) * space.num_blocks)
        for path in references(space, shape).values()
    ]
    sampled = [space.sample(rng) for _ in range(max(0, count - len(uniform)))]
    return tuple(parts(architecture, shape, start, frozen) for architecture in (*uniform, *sampled)[:count])
