"""Latency of each part on this device, checked against whole students.

Run in a process of its own, with everything else idle and the thread count fixed before torch starts:

    python -m nas_ray.measure._latency REQUEST.json TABLE.parquet
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_ray._machine import processor
from nas_ray.blocks import build_layer, build_part, build_student, build_uniform, uniform_config
from nas_ray.measure._clock import Call, captured, interleaved, milliseconds
from nas_ray.measure._correlation import spearman
from nas_ray.measure._onnx import onnx_call
from nas_ray.modeling import Numerics, ReducedEmbedding, Seam
from nas_ray.space import UniformArchitecture
from nas_ray.tables import PartTable, parse_layer, uniform_of

Array = NDArray[Any]


@dataclass(frozen=True)
class LatencyRequest:
    """What to measure: the parts, whole models (lists of parts) to check the sum against, and the key."""

    parts: tuple[str, ...]
    models: tuple[tuple[str, ...], ...]
    vocab_size: int
    num_positions: int
    head_size: int
    device: str
    runtime: str
    dtype: str
    threads: int
    sequence_length: int
    batch_size: int
    repeats: int


def measure_latency(request: LatencyRequest, progress: Callable[[str], None] | None = None) -> PartTable:
    """Median milliseconds of each part; slope and intercept fitted on half of the models, the error on the others.

    Timings go round all parts several times, so that a slow moment of the machine does not fall on one part.
    """
    torch.set_num_threads(request.threads)
    say = progress or (lambda _text: None)
    say(f"timing {len(request.parts)} parts")
    values, spreads = _time_all({part: _part_call(part, request) for part in request.parts}, request)
    say(f"timing {len(request.models)} whole models")
    whole = [
        median(milliseconds(model_call(parts, request), request.repeats, request.device)) for parts in request.models
    ]
    sums = [sum(values[part] for part in parts) for parts in request.models]
    slope, intercept, check = calibrate(sums, whole)
    metadata = {"key": _key(request), "check": check}
    return PartTable("latency_ms", "ms a batch", values, spreads, slope, intercept, metadata)


def calibrate(sums: Sequence[float], whole: Sequence[float]) -> tuple[float, float, dict[str, Any]]:
    """Slope and intercept from every other model by size, and the table's error on the rest.

    The correction is kept only if it lowers the mean error of the models that fitted it left out one by one.
    """
    order = np.argsort(sums, kind="stable")
    x, y = np.asarray(sums, float)[order], np.asarray(whole, float)[order]
    fit, held = (x[::2], y[::2]), (x[1::2], y[1::2])
    slope, intercept = 1.0, 0.0
    if len(fit[0]) >= 3 and _left_out_error(*fit) < _error(*fit):
        line = [float(v) for v in np.polyfit(*fit, 1)]
        if line[0] > 0:  # else it would turn the order of the models round
            slope, intercept = line
    predicted = slope * held[0] + intercept
    check = {
        "spearman": spearman(predicted, held[1]),
        "mape_percent": _error(predicted, held[1]) * 100,
        "num_models": len(held[1]),
    }
    return slope, intercept, check


def _error(predicted: Array, measured: Array) -> float:
    return float(np.mean(np.abs(predicted / measured - 1))) if len(measured) else float("nan")


def _left_out_error(x: Array, y: Array) -> float:
    """Mean error of a line at each point when it is fitted to the others."""
    lines = [np.polyfit(np.delete(x, i), np.delete(y, i), 1) for i in range(len(x))]
    return _error(np.array([np.polyval(line, at) for line, at in zip(lines, x, strict=True)]), y)


def _time_all(calls: Mapping[str, Call], request: LatencyRequest) -> tuple[dict[str, float], dict[str, float]]:
    """Median and half the interquartile range of each call, in ms."""
    timings = interleaved(calls, request.repeats, request.device)
    quartiles = {name: np.percentile(t, [25, 50, 75]) for name, t in timings.items()}
    return (
        {name: float(q[1]) for name, q in quartiles.items()},
        {name: float(q[2] - q[0]) / 2 for name, q in quartiles.items()},
    )


def _part_call(part: str, request: LatencyRequest) -> Call:
    numerics = Numerics()
    kind, _, rest = part.partition(":")
    shape = (request.batch_size, request.sequence_length)
    module: nn.Module
    if kind == "embedding":
        module = ReducedEmbedding(request.vocab_size, request.num_positions, int(rest), numerics.norm_eps)
        return _call(module, _ids(request), request, masked=False)
    if kind == "layer":
        layer = parse_layer(part)
        module, width = build_layer(_config(layer, request)), layer.hidden
    else:
        module = build_part(part, request.head_size, numerics)
        width = int(rest.partition("-")[0]) if kind == "map" else int(kind)
    inputs = torch.randn(*shape, width).to(_dtype(request))
    return _call(module, inputs, request, masked=not isinstance(module, Seam))


def model_call(parts: Sequence[str], request: LatencyRequest) -> Call:
    """One pass of a whole untrained student of these parts, as ``request`` runs it."""
    student: nn.Module
    if parts[1].startswith("layer:"):
        student = build_uniform(_config(uniform_of(parts), request), seed=0)
    else:
        student = build_student(parts, request.vocab_size, request.num_positions, request.head_size, Numerics())
    return _call(student, _ids(request), request, masked=True)


def _ids(request: LatencyRequest) -> Tensor:
    shape = (request.batch_size, request.sequence_length)
    return torch.arange(shape[0] * shape[1]).reshape(shape) % request.vocab_size


def _call(module: nn.Module, inputs: Tensor, request: LatencyRequest, *, masked: bool) -> Call:
    """``module`` on ``inputs`` in the runtime asked for; what onnxruntime serves always takes a mask, if one counts."""
    module, inputs = module.eval().to(request.device, _dtype(request)), inputs.to(request.device)
    if request.runtime == "onnxruntime":
        mask = torch.ones(inputs.shape[:2], dtype=torch.bool)
        return onnx_call(module, (inputs, mask) if masked else (inputs,), request.threads)
    call = partial(module, inputs, None) if masked else partial(module, inputs)
    return captured(call) if request.runtime == "graph" else call


def _config(architecture: UniformArchitecture, request: LatencyRequest) -> Any:
    return uniform_config(architecture, request.vocab_size, request.num_positions, Numerics())


def _dtype(request: LatencyRequest) -> torch.dtype:
    return torch.bfloat16 if request.dtype == "bf16" else torch.float32


def _key(request: LatencyRequest) -> dict[str, Any]:
    key = asdict(request)
    for name in ("parts", "models", "repeats"):
        del key[name]
    name = torch.cuda.get_device_name() if request.device.startswith("cuda") else processor()
    return {**key, "processor": name, "torch": torch.__version__}


def _main() -> None:
    request_file, table_file = (Path(argument) for argument in sys.argv[1:3])
    fields = json.loads(request_file.read_text(encoding="utf-8"))
    fields["parts"] = tuple(fields["parts"])
    fields["models"] = tuple(tuple(model) for model in fields["models"])
    measure_latency(LatencyRequest(**fields), _say).write(table_file)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
