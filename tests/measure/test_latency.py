"""The measuring process on a tiny request."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from nas_ray.blocks import build_part
from nas_ray.measure import LatencyRequest, measure_latency
from nas_ray.measure._clock import WARM_UP, milliseconds
from nas_ray.measure._onnx import onnx_call
from nas_ray.modeling import Numerics
from nas_ray.tables import PartTable


def request(**changes: object) -> LatencyRequest:
    parts = ("embedding:32", "map:32-16", "16:M1", "16:F2", "16:S3")
    fields: dict[str, object] = {
        "parts": parts, "models": (parts, parts[:3], parts[:4], (*parts, "16:F2")), "vocab_size": 50,
        "num_positions": 16, "head_size": 16, "device": "cpu", "runtime": "eager", "dtype": "fp32", "threads": 1,
        "sequence_length": 8, "batch_size": 2, "repeats": 4,
    }  # fmt: skip
    return LatencyRequest(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_process_writes_a_readable_table(tmp_path: Path) -> None:
    question, answer = tmp_path / "a request.json", tmp_path / "the table.parquet"
    question.write_text(json.dumps(asdict(request())), encoding="utf-8")
    command = [sys.executable, "-m", "nas_ray.measure._latency", str(question), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "preparing 5 parts" in done.stdout
    assert "models 1 to 4 of 4" in done.stdout
    table = PartTable.read(answer)
    assert (table.metric, table.unit) == ("latency_ms", "ms a batch")
    assert set(table.values) == set(request().parts)
    assert all(value > 0 for value in table.values.values())
    assert set(table.spreads) == set(table.values)
    key, check = table.metadata["key"], table.metadata["check"]
    assert (key["threads"], key["sequence_length"], key["batch_size"], key["dtype"]) == (1, 8, 2, "fp32")
    assert key["processor"]
    assert "repeats" not in key
    assert set(check) == {"spearman", "mape_percent", "num_models"}


def test_bf16_is_measured() -> None:
    table = measure_latency(request(dtype="bf16", models=(request().parts,)))
    assert all(value > 0 for value in table.values.values())


def test_onnxruntime_times_parts_as_exports_run_them() -> None:
    models = (request().parts, request().parts[:3])
    table = measure_latency(request(runtime="onnxruntime", models=models))
    assert set(table.values) == set(request().parts)
    assert all(value > 0 for value in table.values.values())
    assert table.metadata["key"]["runtime"] == "onnxruntime"


def test_a_module_in_onnxruntime_gives_its_own_output() -> None:
    module = build_part("16:M1", 16, Numerics()).eval()
    hidden, mask = torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
    found = onnx_call(module, (hidden, mask), threads=1)()
    assert found[0] == pytest.approx(module(hidden, mask).detach().numpy(), abs=1e-5)  # type: ignore[index]


def test_a_gpu_is_timed_by_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            log.append("event")

        def synchronize(self) -> None:
            log.append("wait")

        def elapsed_time(self, _end: object) -> float:
            return 1.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert milliseconds(lambda: log.append("call"), 2, "cuda") == [1.5, 1.5]
    assert log == ["event", "call", "event", "wait"] * (WARM_UP + 2)
