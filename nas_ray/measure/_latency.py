"""Latency of each part on this device, checked against whole students.

Run in a process of its own, with everything else idle and the thread count fixed before torch starts:

    python -m nas_ray.measure._latency REQUEST.json TABLE.parquet

A request without parts is of whole models only, and the answer is JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_ray._machine import processor
from nas_ray.blocks import build_layer, build_part, build_student, build_uniform, uniform_config
from nas_ray.measure._calibration import calibrate
from nas_ray.measure._clock import Call, Timing, captured, interleaved
from nas_ray.measure._onnx import onnx_call
from nas_ray.modeling import Numerics, ReducedEmbedding, Seam
from nas_ray.space import UniformArchitecture
from nas_ray.tables import PartTable, parse_layer, uniform_of

_AT_ONCE = 12  # whole models in memory


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

    @classmethod
    def whole(cls, key: Mapping[str, Any], models: Sequence[tuple[str, ...]], repeats: int) -> LatencyRequest:
        """To measure whole ``models`` as the table of that ``key`` was measured."""
        known = {name: key[name] for name in cls.__dataclass_fields__ if name in key}
        return cls(parts=(), models=tuple(models), repeats=repeats, **known)


def measure_latency(request: LatencyRequest, progress: Callable[[str], None] | None = None) -> PartTable:
    """Milliseconds of each part (``Timing``), corrected by half of the models; the error on the others.

    Timings go round all parts and models many times, so that a slow moment of the machine does not fall on one.
    """
    torch.set_num_threads(request.threads)
    say = progress or (lambda _text: None)
    say(f"preparing {len(request.parts)} parts")
    calls = {part: _part_call(part, request) for part in request.parts}
    timings: dict[str, list[float]] = {part: [] for part in calls}
    whole, apart = list[float](), list[list[float]]()
    for start in range(0, max(1, len(request.models)), _AT_ONCE):
        models = dict(enumerate(request.models[start : start + _AT_ONCE], start))
        if models:
            say(f"timing them with models {start + 1} to {start + len(models)} of {len(request.models)}")
        found = interleaved(
            calls | {f"model {number}": model_call(parts, request) for number, parts in models.items()},
            request.repeats,
            request.device,
        )
        whole += [Timing.of(found[f"model {number}"]).milliseconds for number in models]
        now = {part: Timing.of(found[part]).milliseconds for part in calls}
        apart += [[now[part] for part in parts] for parts in models.values()]  # in the same rounds as the models
        for part in calls:
            timings[part] += found[part]
    fit, check = calibrate(apart, whole)
    timed = {part: Timing.of(found) for part, found in timings.items()}
    values = {part: max(0.0, timing.milliseconds - fit.call_ms) for part, timing in timed.items()}
    spreads = {part: timing.spread_ms for part, timing in timed.items()}
    metadata = {"key": _key(request), "check": asdict(check), "call_ms": fit.call_ms}
    return PartTable("latency_ms", "ms a batch", values, spreads, fit.slope, fit.slope * fit.call_ms, metadata)


def measure_models(request: LatencyRequest) -> list[float]:
    """Milliseconds of each whole model (``Timing``), in rounds over all of them."""
    torch.set_num_threads(request.threads)
    calls = {str(number): model_call(parts, request) for number, parts in enumerate(request.models)}
    timings = interleaved(calls, request.repeats, request.device).values()
    return [Timing.of(found).milliseconds for found in timings]


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
    return {**key, "processor": _processor(request), "torch": torch.__version__}


def _processor(request: LatencyRequest) -> str:
    return torch.cuda.get_device_name() if request.device.startswith("cuda") else processor()


def _main() -> None:
    request_file, table_file = (Path(argument) for argument in sys.argv[1:3])
    fields = json.loads(request_file.read_text(encoding="utf-8"))
    fields["parts"] = tuple(fields["parts"])
    fields["models"] = tuple(tuple(model) for model in fields["models"])
    request = LatencyRequest(**fields)
    if request.parts:
        measure_latency(request, _say).write(table_file)
    else:
        found = {"processor": _processor(request), "milliseconds": measure_models(request)}
        table_file.write_text(json.dumps(found), encoding="utf-8")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
