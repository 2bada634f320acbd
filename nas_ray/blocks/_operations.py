"""The modules of candidate operations."""

from __future__ import annotations

from torch import nn

from nas_ray.modeling import Numerics, build_layer
from nas_ray.space import Operation


def build_operation(width: int, operation: Operation, numerics: Numerics) -> nn.Module:
    """The module of ``operation`` at ``width``, with PyTorch's own initialisation."""
    return build_layer({"kind": operation.kind, "width": width, **operation.sizes}, numerics)
