"""Time one call on a CPU or a GPU.

A CPU by the wall clock; a GPU by its own events, so that neither waking the host nor waiting for it is counted. A call
captured as a CUDA graph is replayed without Python: what a served model of fixed shape costs. Called eagerly, small
layers on a GPU cost what launching them costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

WARM_UP = 3
ROUNDS = 4

Call = Callable[[], object]


@torch.inference_mode()
def milliseconds(call: Call, repeats: int, device: str) -> list[float]:
    """Milliseconds of each of ``repeats`` calls, after a few that warm up."""
    clock = _gpu if device.startswith("cuda") else _wall
    return [clock(call) for _ in range(WARM_UP + repeats)][WARM_UP:]


def interleaved(calls: Mapping[str, Call], repeats: int, device: str) -> dict[str, list[float]]:
    """At least ``repeats`` timings of each call, in ms, in rounds over all of them: a slow moment of the machine does
    not fall on one."""
    timings: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            timings[name] += milliseconds(call, max(1, -(-repeats // ROUNDS)), device)
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
