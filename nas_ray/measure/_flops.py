"""FLOPs of each part, counted by torch's own counter on one sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nas_ray.blocks import build_part
from nas_ray.modeling import Numerics
from nas_ray.tables import PartTable


@torch.no_grad()
def flops_table(parts: Iterable[str], head_size: int, sequence_length: int) -> PartTable:
    """Floating-point operations of one sequence through each part; an embedding look-up counts 0."""
    values = {part: _count(part, head_size, sequence_length) for part in parts}
    return PartTable("flops", "FLOPs a sequence", values, metadata={"sequence_length": sequence_length})


def _count(part: str, head_size: int, sequence_length: int) -> float:
    kind, _, rest = part.partition(":")
    if kind == "embedding":
        return 0.0
    width = int(rest.partition("-")[0]) if kind == "map" else int(kind)
    module = build_part(part, head_size, Numerics())
    return counted_flops(partial(module, torch.zeros(1, sequence_length, width)))


@torch.no_grad()
def counted_flops(call: Callable[[], object]) -> float:
    """Floating-point operations of one ``call``."""
    # The fused CPU kernel is unknown to the counter; the plain one does the same products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return float(counter.get_total_flops())
