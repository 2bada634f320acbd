"""Candidate operations as modules: post-LayerNorm, y = LN(op(x) + x) (NAS-BERT, section 3.1 and table 1).

Shapes: x and y ``(batch, tokens, width)``; mask ``(batch, tokens)``, True where there is text, or None. Carried by
exports: imports torch only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Numerics(NamedTuple):
    """What an operation takes over from the teacher: GELU's ``approximate`` and LayerNorm's epsilon."""

    gelu: str = "none"
    norm_eps: float = 1e-12


class Attention(nn.Module):
    """Multi-head self-attention whose inner size is heads x head size, whatever the width."""

    def __init__(self, width: int, heads: int, head_size: int, numerics: Numerics) -> None:
        super().__init__()
        self.heads, self.head_size = heads, head_size
        inner = heads * head_size
        self.qkv = nn.Linear(width, 3 * inner)
        self.output = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=numerics.norm_eps)

    def features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Heads side by side, before the output projection: ``(batch, tokens, inner)``."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, self.head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if mask is None else mask[:, None, None, :]
        mixed = _attend(query, key, value, bias)
        return mixed.transpose(1, 2).reshape(batch, tokens, self.heads * self.head_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.norm(self.output(self.features(x, mask)) + x)  # type: ignore[no-any-return]


def _attend(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None) -> Tensor:
    """Mixed values ``(batch, heads, tokens, head_size)``; ``there`` ``(batch, 1, 1, tokens)``: where there is text."""
    if not (query.is_cpu and query.dtype == torch.bfloat16 and torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=there)
    # The backward pass of a CPU's fused bf16 kernel takes 4 to 6 times as long as these parts.
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if there is not None:
        scores = scores.masked_fill(~there, torch.finfo(scores.dtype).min)
    mixed: Tensor = scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return mixed


class FeedForward(nn.Module):
    """Two linear layers with GELU between, inner size ratio x width."""

    def __init__(self, width: int, ratio: int, numerics: Numerics) -> None:
        super().__init__()
        self.gelu = numerics.gelu
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)
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

    def __init__(self, width: int, kernel: int, units: int, numerics: Numerics) -> None:
        super().__init__()
        self.units = nn.ModuleList(SeparableConvUnit(width, kernel, numerics) for _ in range(units))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for unit in self.units:
            x = unit(x, mask)
        return x


class Seam(nn.Linear):
    """The affine map between two slots."""

    def __init__(self, before: int, after: int, numerics: Numerics | None = None) -> None:
        super().__init__(before, after)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x)


class ReducedEmbedding(nn.Module):
    """Words and positions at a size of their own: ids ``(batch, tokens)`` to ``(batch, tokens, size)``."""

    def __init__(self, vocab_size: int, num_positions: int, size: int, norm_eps: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, size)
        self.positions = nn.Embedding(num_positions, size)
        self.norm = nn.LayerNorm(size, eps=norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        return self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])  # type: ignore[no-any-return]


_MODULES: dict[str, type[nn.Module]] = {
    "attention": Attention,
    "feed_forward": FeedForward,
    "separable_conv": SeparableConv,
    "map": Seam,
}


def build_layer(layer: Mapping[str, Any], numerics: Numerics) -> nn.Module:
    """The module of ``layer``, a kind and its sizes, with PyTorch's own initialisation."""
    sizes = {name: value for name, value in layer.items() if name != "kind"}
    return _MODULES[layer["kind"]](**sizes, numerics=numerics)


def describe_layer(module: nn.Module) -> dict[str, Any]:
    """The layer that ``build_layer`` makes ``module`` of."""
    match module:
        case Attention():
            sizes = {"width": module.qkv.in_features, "heads": module.heads, "head_size": module.head_size}
            return {"kind": "attention", **sizes}
        case FeedForward():
            width = module.up.in_features
            return {"kind": "feed_forward", "width": width, "ratio": module.up.out_features // width}
        case SeparableConv():
            unit: Any = module.units[0].depthwise
            return {
                "kind": "separable_conv",
                "width": unit.in_channels,
                "kernel": unit.kernel_size[0],
                "units": len(module.units),
            }
        case Seam():
            return {"kind": "map", "before": module.in_features, "after": module.out_features}
    raise TypeError(f"{type(module).__name__} is no layer of a path student.")


@torch.no_grad()
def init_weights(module: nn.Module, std: float = 0.02, generator: torch.Generator | None = None) -> None:
    """The papers' initialisation of ``module`` and all in it: linear N(0, std), convolutions by fan-in, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.normal_(0.0, std, generator=generator)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.Embedding):
            part.weight.normal_(0.0, std, generator=generator)
        elif isinstance(part, nn.Conv1d):
            kernel, width = part.kernel_size[0], part.out_channels
            part.weight.normal_(0.0, (4.0 / (kernel * width)) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.LayerNorm):
            part.reset_parameters()
