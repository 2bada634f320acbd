"""Time one call on a CPU or a GPU.

A CPU by the wall clock; a GPU by its own events, so that neither waking the host nor waiting for it is counted. A call
captured as a CUDA graph is replayed without Python: what a served model of fixed shape costs. Called eagerly, small
layers on a GPU cost what launching them costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

WARM_UP = 3
ROUNDS = 10

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call: the lower quartile of its timings, and half their interquartile range.

    What slows a call comes from outside it: between sittings lower quartiles differ less than medians.
    """

    milliseconds: float
    spread_ms: float

    @classmethod
    def of(cls, timings: Sequence[float]) -> Timing:
        """All ``timings`` of a call, in ms."""
        low, high = np.percentile(timings, [25, 75])
        return cls(float(low), float(high - low) / 2)


@torch.inference_mode()
def milliseconds(call: Call, repeats: int, device: str, warm_up: int = WARM_UP) -> list[float]:
    """Milliseconds of each of ``repeats`` calls, after a few that warm up."""
    clock = _gpu if device.startswith("cuda") else _wall
    return [clock(call) for _ in range(warm_up + repeats)][warm_up:]


def interleaved(calls: Mapping[str, Call], repeats: int, device: str) -> dict[str, list[float]]:
    """At least ``repeats`` timings of each call, in ms, in rounds over all of them: a slow moment of the machine does
    not fall on one."""
    timings: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(min(ROUNDS, repeats)):
        for name, call in calls.items():
            timings[name] += milliseconds(call, -(-repeats // ROUNDS), device, 1 if number else WARM_UP)
    return timings


def _wall(call: Call) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def _gpu(call: Call) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    began.record()
    call()
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended))


@torch.inference_mode()
def captured(call: Call) -> Call:
    """``call`` as a CUDA graph: replaying it runs the same kernels on the same memory.

    Warm-up goes on a stream of its own first, as PyTorch asks: what libraries set up lazily cannot be captured.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()

    def replay(_keeps_weights_alive: Call = call) -> None:
        graph.replay()

    return replay
