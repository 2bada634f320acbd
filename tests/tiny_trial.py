"""A tiny trial spec with its space, teacher and text in a folder, and the command line, here or as a process."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

SPACE = {
    "name": "tiny",
    "kind": "paths",
    "blocks": 2,
    "layers": 2,
    "widths": [32, 64],
    "head_size": 16,
    "operations": [
        {"kind": "attention"},
        {"kind": "feed_forward", "ratio": 1},
        {"kind": "feed_forward", "ratio": 4},
        {"kind": "separable_conv", "kernel": 3},
    ],
    "embedding": {"sizes": [32, 64]},
}


UNIFORM_SPACE = {
    "name": "tiny_uniform",
    "kind": "uniform",
    "depths": [1, 2],
    "heads": [2, 4],
    "hiddens": [16, 32],
    "intermediates": [32, 64],
}


def write_extraction(folder: Path, teacher: Path, text: Path, **changes: Any) -> Path:
    """``trial.yaml`` and ``space.yaml`` of a tiny extraction: 16 plain encoders, every 2nd trained for 6 steps.

    Milliseconds are those of a made-up table, unless ``latency`` is given.
    """
    if "latency" not in changes:
        changes["latency"] = {"table": str(_made_up_latency(folder, teacher))}
    search: dict[str, Any] = {"distill": {"steps": [3, 6], "learning_rate": 3e-3, "sequences": 4}}
    search |= changes.pop("search", {})
    extraction = {"epsilon": 2, **changes.pop("extraction", {})}
    file = write_trial(folder, teacher, text, **changes)
    spec = yaml.safe_load(file.read_text())
    for name in ("supernet", "ranking", "tabulate"):
        del spec[name]
    spec |= {"search": search, "extraction": extraction}
    file.write_text(yaml.safe_dump(spec))
    (folder / "space.yaml").write_text(yaml.safe_dump(UNIFORM_SPACE))
    return file


def _made_up_latency(folder: Path, teacher: Path) -> Path:
    """A latency table of the tiny extraction: a millisecond for 10,000 weights of a layer, a tenth an embedding."""
    from nas_ray.space import UniformSpace
    from nas_ray.spec import UniformSpaceSpec
    from nas_ray.tables import PartTable, all_uniform_parts, maximum_point, parse_layer
    from nas_ray.teacher import resolve_teacher, teacher_shape

    space = UniformSpaceSpec.model_validate(UNIFORM_SPACE).build()
    assert isinstance(space, UniformSpace)
    values = {}
    for part in all_uniform_parts(space, maximum_point(teacher_shape(resolve_teacher(str(teacher)).config))):
        layer = None if part.startswith("embedding:") else parse_layer(part)
        weights = 0 if layer is None else 4 * layer.hidden**2 + 2 * layer.hidden * layer.intermediate
        values[part] = 0.1 + weights / 1e4
    check = {"spearman": 1.0, "mape_percent": 0.0, "num_models": 1}
    key = {"processor": "made up", "runtime": "eager", "dtype": "fp32", "threads": 1, "sequence_length": 32}
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"check": check, "key": {**key, "batch_size": 1}}
    PartTable("latency_ms", "ms a batch", values, metadata=metadata).write(folder / "latency.parquet")
    return folder / "latency.parquet"


def write_trial(folder: Path, teacher: Path, text: Path, **changes: Any) -> Path:
    """``trial.yaml`` and ``space.yaml`` in ``folder``; ``changes`` replace whole sections or values."""
    spec: dict[str, Any] = {
        "name": "tiny",
        "space": "space.yaml",
        "teacher": str(teacher),
        "text": {
            "sources": [{"source": str(text)}],
            "sequence_length": 32,
            "batch_sequences": 4,
            "calibrate_batches": 5,
            "select_batches": 2,
            "test_batches": 3,
        },
        "latency": {"repeats": 3, "check_models": 4, "threads": 1, "sequence_length": 16},
        "supernet": {
            "steps": 8,
            "checkpoint_every": 2,
            "sample_paths": 4,
            "paths_per_update": 2,
            "learning_rate": 3e-3,
        },
        "tabulate": {"tile_tokens": 64},
        "search": {"num_candidates": 10, "rungs": [1, 2]},
        "ranking": {"tokens": 512},
        "tracking": {"enabled": False},
        "cluster": {"executor": "local"},
    }
    for key, value in changes.items():
        spec[key] = {**spec[key], **value} if isinstance(value, dict) and key in spec else value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


def command(*arguments: str | Path) -> list[str]:
    """The command line of this interpreter."""
    return [sys.executable, "-m", "nas_ray.cli", *map(str, arguments)]


def environment(**extra: str) -> dict[str, str]:
    """The environment for a process of the project: this checkout first, one thread."""
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **extra}


def nas_ray(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``nas-ray`` to its end, in this process: another one would spend seconds on imports."""
    from nas_ray.cli import main

    words, out, err = ["nas-ray", *map(str, arguments)], io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def nas_ray_process(*arguments: str | Path, timeout: float = 400, **extra: str) -> subprocess.CompletedProcess[str]:
    """The same as a process of its own."""
    return subprocess.run(
        command(*arguments), env=environment(**extra), capture_output=True, text=True, timeout=timeout, check=False
    )


def run_folder(storage: Path) -> Path:
    """The only run below ``storage``."""
    (folder,) = storage.glob("tiny-*")
    return folder


def candidates_of(run: Path) -> list[dict[str, Any]]:
    """What a run keeps of its candidates."""
    from nas_ray.tables import read_rows

    return read_rows(run / "candidates.parquet")[0]


def search_interrupted(file: Path, storage: Path, every: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, int]:
    """Search with ``file``, interrupted at every ``every``-th report until it ends; the run and how often it was.

    A report is interrupted before it is in the journal: a checkpoint may be ahead of it.
    """
    from nas_ray import api
    from nas_ray.search import SearchSession

    report, calls, interruptions = SearchSession.report, 0, 0

    def stops(self: SearchSession, *arguments: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            raise KeyboardInterrupt
        return report(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SearchSession, "report", stops)
        while True:
            try:
                api.resume(run_folder(storage)) if interruptions else api.search(str(file), storage=storage)
                return run_folder(storage), interruptions
            except KeyboardInterrupt:
                interruptions += 1
