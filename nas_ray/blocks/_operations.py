"""Candidate operations as modules: post-LayerNorm, y = LN(op(x) + x) (NAS-BERT, section 3.1 and table 1).

Shapes: x and y ``(batch, tokens, width)``; mask ``(batch, tokens)``, True where there is text, or None.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.space import Operation


class Numerics(NamedTuple):
    """What an operation takes over from the teacher: GELU's ``approximate`` and LayerNorm's epsilon."""

    gelu: str = "none"
    norm_eps: float = 1e-12


class Attention(nn.Module):
    """Multi-head self-attention whose inner size is heads x head size, whatever the width."""

    def __init__(self, width: int, operation: Operation, numerics: Numerics) -> None:
        super().__init__()
        self.heads, self.head_size = operation.heads, operation.head_size
        inner = self.heads * self.head_size
        self.qkv = nn.Linear(width, 3 * inner)
        self.output = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=numerics.norm_eps)

    def features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Heads side by side, before the output projection: ``(batch, tokens, inner)``."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, self.head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).reshape(batch, tokens, self.heads * self.head_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.norm(self.output(self.features(x, mask)) + x)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers with GELU between, inner size ratio x width."""

    def __init__(self, width: int, operation: Operation, numerics: Numerics) -> None:
        super().__init__()
        self.gelu = numerics.gelu
        self.up = nn.Linear(width, operation.ratio * width)
        self.down = nn.Linear(operation.ratio * width, width)
        self.norm = nn.LayerNorm(width, eps=numerics.norm_eps)

    def features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Neurons after GELU, before the down projection: ``(batch, tokens, inner)``."""
        return F.gelu(self.up(x), approximate=self.gelu)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.norm(self.down(self.features(x, mask)) + x)  # type: ignore[no-any-return]


class SeparableConvUnit(nn.Module):
    """Depthwise then pointwise convolution over tokens; padded positions are zeroed before."""

    def __init__(self, width: int, kernel: int, numerics: Numerics) -> None:
        super().__init__()
        self.gelu = numerics.gelu
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width, padding=kernel // 2)
        self.pointwise = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=numerics.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        seen = x if mask is None else x * mask[..., None].to(x.dtype)
        return self.norm(F.gelu(self.pointwise(self._mix(seen)), approximate=self.gelu) + x)  # type: ignore[no-any-return]

    def _mix(self, x: Tensor) -> Tensor:
        """The depthwise convolution over tokens."""
        columns, convolution = x.transpose(1, 2), self.depthwise
        if not x.is_cpu or torch.is_grad_enabled():
            return convolution(columns).transpose(1, 2)  # type: ignore[no-any-return]
        # As an image one pixel high, channels last, a CPU convolves x as it lies, where conv1d copies it twice. With a
        # backward pass it would cost more than it saves.
        image = F.conv2d(
            columns[:, :, None],
            convolution.weight[:, :, None],
            convolution.bias,
            padding=(0, convolution.kernel_size[0] // 2),
            groups=convolution.groups,
        )
        return image[:, :, 0].transpose(1, 2)


class SeparableConv(nn.Module):
    """One or two stacked units (two as shipped by the authors, one as the paper's text counts)."""

    def __init__(self, width: int, operation: Operation, numerics: Numerics) -> None:
        super().__init__()
        self.units = nn.ModuleList(SeparableConvUnit(width, operation.kernel, numerics) for _ in range(operation.units))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for unit in self.units:
            x = unit(x, mask)
        return x


_MODULES: dict[str, type[Attention] | type[FeedForward] | type[SeparableConv]] = {
    "attention": Attention,
    "feed_forward": FeedForward,
    "separable_conv": SeparableConv,
}


def build_operation(width: int, operation: Operation, numerics: Numerics) -> nn.Module:
    """The module of ``operation`` at ``width``, with PyTorch's own initialisation."""
    return _MODULES[operation.kind](width, operation, numerics)


@torch.no_grad()
def init_operation(module: nn.Module, generator: torch.Generator) -> None:
    """The papers' initialisation: linear N(0, 0.02), convolutions by fan-in, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.normal_(0.0, 0.02, generator=generator)
            part.bias.zero_()
        elif isinstance(part, nn.Conv1d):
            kernel, width = part.kernel_size[0], part.out_channels
            part.weight.normal_(0.0, (4.0 / (kernel * width)) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.LayerNorm):
            part.reset_parameters()
