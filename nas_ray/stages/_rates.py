"""How fast this machine computes, by half a second of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from nas_ray._machine import num_cores
from nas_ray.space import Operation, PathSpace

_SECONDS = 0.5


def operation_flops(operation: Operation, width: int, length: int) -> float:
    """Forward FLOPs a token: two a weight, and the products of attention over ``length`` tokens."""
    return 2 * operation.num_params(width) + 4 * length * operation.heads * operation.head_size


def operation_rate(space: PathSpace, length: int, device: str = "cpu") -> float:
    """FLOP/s of this machine on the space's own work: its largest operation of the middle width.

    On a CPU one thread, times the cores, for blocks and candidates run beside each other; on a GPU all of it.
    """
    import torch

    from nas_ray.blocks import build_operation
    from nas_ray.modeling import Numerics

    width, gpu = space.widths[len(space.widths) // 2], device == "cuda"
    operation = max(space.operations[width], key=lambda o: o.num_params(width))
    sequences = max(1, (65536 if gpu else 1024) // length)
    module = build_operation(width, operation, Numerics()).eval().to(device)
    hidden = torch.randn(sequences, length, width, device=device)

    def once() -> None:
        module(hidden, None)
        if gpu:
            torch.cuda.synchronize()

    units = 1 if gpu else num_cores()
    return operation_flops(operation, width, length) * sequences * length / least_seconds(once) * units


def least_seconds(once: Callable[[], object]) -> float:
    """The shortest run of ``once`` on one thread, without gradients."""
    import torch

    threads, end, least = torch.get_num_threads(), time.perf_counter() + _SECONDS, float("inf")
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            while (began := time.perf_counter()) < end:
                once()
                least = min(least, time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return least
