"""Supernet weights from the teacher: heads and neurons by importance, hidden directions by projection.

An operation at the teacher's own sizes is copied, so the path that copies the teacher starts at loss 0. Narrower ones
see hidden states through an orthonormal basis (H x width); their output projections are fitted by ridge and their
LayerNorms by least squares per coordinate, on calibration states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.blocks._ridge import Moments, Tokens, fit_readout, prior_of
from nas_ray.blocks._supernet import BlockSupernet
from nas_ray.modeling import Attention, FeedForward, Numerics, SeparableConv, SeparableConvUnit
from nas_ray.space import Path, PathSpace

_STRENGTHS = (1e-3, 1e-2, 1e-1)
_HELD_OUT = 0.2


@dataclass(frozen=True)
class Layer:
    """One post-LayerNorm layer of the teacher, as linear maps and LayerNorms (``teacher.LayerWeights``)."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    attention_norm: nn.LayerNorm
    up: nn.Linear
    down: nn.Linear
    output_norm: nn.LayerNorm


@dataclass(frozen=True)
class Sublayer:
    """What one half of a teacher layer did to the calibration states (all ``(batch, tokens, ...)``)."""

    before: Tensor
    features: Tensor
    update: Tensor
    after: Tensor


class Inheritance:
    """The teacher's slice run once over calibration states, ready to initialise operations of any size."""

    def __init__(
        self, layers: Sequence[Layer], hidden: Tensor, mask: Tensor | None, head_size: int, numerics: Numerics
    ) -> None:
        self.layers, self.mask, self.head_size, self.numerics = layers, mask, head_size, numerics
        self.attention: list[Sublayer] = []
        self.feed_forward: list[Sublayer] = []
        for layer in layers:
            hidden = self._run(layer, hidden)
        self.states = [self.attention[0].before]
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            self.states += [attention.after, feed_forward.after]

    @torch.no_grad()
    def _run(self, layer: Layer, hidden: Tensor) -> Tensor:
        features = self._attend(layer, hidden)
        update = layer.attention_output(features)
        middle = layer.attention_norm(update + hidden)
        self.attention.append(Sublayer(hidden, features, update, middle))
        neurons = F.gelu(layer.up(middle), approximate=self.numerics.gelu)
        update = layer.down(neurons)
        after = layer.output_norm(update + middle)
        self.feed_forward.append(Sublayer(middle, neurons, update, after))
        return cast(Tensor, after)

    def _attend(self, layer: Layer, hidden: Tensor) -> Tensor:
        batch, tokens, _ = hidden.shape
        query, key, value = (
            part(hidden).view(batch, tokens, -1, self.head_size).transpose(1, 2)
            for part in (layer.query, layer.key, layer.value)
        )
        bias = None if self.mask is None else self.mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).reshape(batch, tokens, -1)

    def text(self, states: Tensor) -> Tensor:
        """States ``(batch, tokens, d)`` as rows ``(n, d)``, padding left out."""
        return states.reshape(-1, states.shape[-1]) if self.mask is None else states[self.mask]

    @torch.no_grad()
    def basis(self, width: int, kind: str) -> Tensor:
        """A basis ``(hidden, width)``: the ``coordinates`` of most variance, or principal directions (``pca``).

        ``width - 1`` principal directions are spread over the width so that what is seen through the basis sums to
        zero: a LayerNorm subtracts the mean, which would else remove one direction. Past the teacher's hidden size a
        basis has nothing to add.
        """
        hidden, device = self.states[0].shape[-1], self.states[0].device
        if width == hidden:
            return torch.eye(hidden, device=device)
        if kind == "coordinates":
            spread = torch.stack([v / v.mean() for v in map(variance, map(self.text, self.states))]).mean(0)
            chosen = spread.topk(min(width, hidden)).indices.sort().values
            return F.pad(torch.eye(hidden, device=device)[:, chosen], (0, width - len(chosen)))
        directions = self._directions[:, -(width - 1) :]
        generator = torch.Generator().manual_seed(width)
        square = torch.randn(width, width, generator=generator, dtype=torch.float64)
        square[:, 0] = 1.0
        turn = torch.linalg.qr(square).Q[:, 1 : 1 + directions.shape[1]].to(device)
        return cast(Tensor, (directions @ turn.T).float())

    @cached_property
    def _directions(self) -> Tensor:
        """Principal directions ``(hidden, hidden)`` of all states, each state weighing the same; the last is first."""
        covariance = torch.stack([c / c.trace() for c in map(_covariance, map(self.text, self.states))]).mean(0)
        return cast(Tensor, torch.linalg.eigh(covariance).eigenvectors)

    @torch.no_grad()
    def initialise(self, supernet: BlockSupernet, space: PathSpace, width: int, basis: Tensor) -> None:
        """Fill all weights of ``width``: maps in and out, and every operation of every layer."""
        enter = supernet.map_in(width)
        enter.weight.copy_(basis.T)
        enter.bias.zero_()
        done: dict[tuple[int, str], nn.Module] = {}  # neighbours inherit from the same teacher layer
        for position in range(space.num_layers):
            index = position * len(self.layers) // space.num_layers
            for operation in space.operations[width]:
                module = supernet.operation(width, position, operation.token)
                source = (index, operation.token)
                if operation.kind != "separable_conv" and source in done:
                    module.load_state_dict(done[source].state_dict())
                    continue
                self._fill(module, position, space.num_layers, basis)
                done[source] = module
        self._fit_maps_out(supernet, space, width, basis)

    def _fit_maps_out(self, supernet: BlockSupernet, space: PathSpace, width: int, basis: Tensor) -> None:
        """Fit the map out behind every operation, each after attention and feed-forward layers in turn."""
        targets = self.text(self.states[-1])
        mean = targets.mean(0)
        prior = prior_of(basis, mean - basis @ (basis.T @ mean))
        probe = probe_path(space, width).operations
        pair = (probe[0], probe[min(1, len(probe) - 1)])
        streams = [supernet.map_in(width)(self.states[0])] * 2  # stream k starts with pair[k]
        for position in range(space.num_layers):
            for operation in space.operations[width]:
                k = 0 if pair[(position - 1) % 2].kind != operation.kind else 1
                features = supernet.operation(width, position, operation.token)(streams[k], self.mask)
                fit_linear(supernet.map_out(width, position, operation.token), self.text(features), targets, prior)
            streams = [
                supernet.operation(width, position, pair[(position + k) % 2].token)(streams[k], self.mask)
                for k in (0, 1)
            ]

    def _fill(self, module: nn.Module, position: int, num_layers: int, basis: Tensor) -> None:
        """One operation; those larger than the teacher's own keep the papers' initialisation."""
        index = position * len(self.layers) // num_layers
        if isinstance(module, Attention):
            if module.head_size == self.head_size and module.output.in_features <= self.attention[0].features.shape[-1]:
                self._fill_attention(module, index, basis)
        elif isinstance(module, FeedForward):
            self._fill_feed_forward(module, index, basis)
        elif isinstance(module, SeparableConv):
            count = len(self.states) - 1
            before, after = (self.states[(position + k) * count // num_layers] for k in (0, 1))
            self._fill_convolution(module, before @ basis, after @ basis)

    def _fill_attention(self, module: Attention, index: int, basis: Tensor) -> None:
        layer, seen = self.layers[index], self.attention[index]
        heads = self.best_heads(seen, layer, module.heads)
        rows = torch.cat([torch.arange(h * self.head_size, (h + 1) * self.head_size) for h in heads.tolist()])
        mean = self.text(seen.before).mean(0)
        parts = [project(part, rows, basis, mean) for part in (layer.query, layer.key, layer.value)]
        module.qkv.weight.copy_(torch.cat([weight for weight, _ in parts]))
        module.qkv.bias.copy_(torch.cat([bias for _, bias in parts]))
        exact = _is_identity(basis) and len(rows) == layer.query.out_features
        self._fit_output(module, module.output, layer.attention_output, layer.attention_norm, rows, seen, basis, exact)

    def _fill_feed_forward(self, module: FeedForward, index: int, basis: Tensor) -> None:
        layer, seen = self.layers[index], self.feed_forward[index]
        inner = module.up.out_features
        if inner > layer.up.out_features:
            return
        importance = variance(self.text(seen.features)) * layer.down.weight.square().sum(0)
        rows = importance.topk(inner).indices.sort().values
        weight, bias = project(layer.up, rows, basis, self.text(seen.before).mean(0))
        module.up.weight.copy_(weight)
        module.up.bias.copy_(bias)
        exact = _is_identity(basis) and inner == layer.up.out_features
        self._fit_output(module, module.down, layer.down, layer.output_norm, rows, seen, basis, exact)

    def best_heads(self, seen: Sublayer, layer: Layer, count: int) -> Tensor:
        """The ``count`` heads that write most to the stream, in their order."""
        features = self.text(seen.features)
        covariance = _covariance(features)
        spread = []
        for at in range(0, features.shape[1], self.head_size):
            weight = layer.attention_output.weight[:, at : at + self.head_size].double()
            spread.append((weight @ covariance[at : at + self.head_size, at : at + self.head_size] * weight).sum())
        return torch.stack(spread).topk(count).indices.sort().values

    def _fit_output(
        self,
        module: Attention | FeedForward,
        output: nn.Linear,
        teacher: nn.Linear,
        norm: nn.LayerNorm,
        rows: Tensor,
        seen: Sublayer,
        basis: Tensor,
        exact: bool,
    ) -> None:
        """The projection behind the features, then the LayerNorm."""
        prior_weight = basis.T @ teacher.weight[:, rows]
        prior_bias = basis.T @ teacher.bias
        if exact:
            output.weight.copy_(prior_weight)
            output.bias.copy_(prior_bias)
            module.norm.load_state_dict(norm.state_dict())
            return
        narrow = seen.before @ basis
        features = self.text(module.features(narrow, self.mask))
        targets = self.text(seen.update) @ basis
        fit_linear(output, features, targets, prior_of(prior_weight, prior_bias))
        fit_norm(module.norm, output(features) + self.text(narrow), self.text(seen.after) @ basis)

    def _fill_convolution(self, module: SeparableConv, before: Tensor, after: Tensor) -> None:
        """Start near identity: centre tap 1; the last LayerNorm already steps towards the next teacher state."""
        for number, unit in enumerate(cast("Iterable[SeparableConvUnit]", module.units)):
            unit.depthwise.weight.zero_()
            unit.depthwise.weight[:, 0, unit.depthwise.kernel_size[0] // 2] = 1.0
            nn.init.zeros_(cast(Tensor, unit.depthwise.bias))
            target = after if number == len(module.units) - 1 else before
            fit_norm(unit.norm, self.text(before), self.text(target))


def fit_linear(linear: nn.Linear, features: Tensor, targets: Tensor, prior: Tensor) -> None:
    """Ridge towards ``prior``, its strength chosen on the last fifth of the rows."""
    cut = int(len(features) * (1 - _HELD_OUT))
    fit, held_out = Moments.of(features[:cut], targets[:cut]), Tokens(features[cut:], targets[cut:])
    readout = fit_readout(fit, held_out, prior, _STRENGTHS)
    linear.weight.copy_(readout.weight)
    linear.bias.copy_(readout.bias)


def project(part: nn.Linear, rows: Tensor, basis: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Chosen rows of a linear map as seen through ``basis``; what the basis misses of the mean goes to the bias."""
    weight = part.weight[rows]
    return weight @ basis, part.bias[rows] + weight @ (mean - basis @ (basis.T @ mean))


def variance(rows: Tensor) -> Tensor:
    """Variance of each column; ``Tensor.var`` over rows is many times slower on a CPU."""
    return (rows - rows.mean(0)).square().mean(0)


def _covariance(rows: Tensor) -> Tensor:
    """Covariance ``(d, d)`` of the columns, in fp64."""
    centred = rows - rows.mean(0)
    return (centred.T @ centred).double() / len(rows)


def _is_identity(basis: Tensor) -> bool:
    return basis.shape[0] == basis.shape[1]


def fit_norm(norm: nn.LayerNorm, inputs: Tensor, targets: Tensor) -> None:
    """Gain and bias per coordinate by least squares, ``(n, width)`` against ``(n, width)``."""
    plain = F.layer_norm(inputs, norm.normalized_shape, eps=norm.eps)
    mean_in, mean_out = plain.mean(0), targets.mean(0)
    covariance = ((plain - mean_in) * (targets - mean_out)).mean(0)
    gain = covariance / variance(plain).clamp_min(1e-8)
    norm.weight.copy_(gain)
    norm.bias.copy_(mean_out - gain * mean_in)


def probe_path(space: PathSpace, width: int) -> Path:
    """The path by which bases are compared: attention and feed-forward in turn, each at its largest."""
    here = space.operations[width]
    attention = max((o for o in here if o.kind == "attention"), key=lambda o: o.heads, default=here[0])
    feed = max((o for o in here if o.kind == "feed_forward"), key=lambda o: o.ratio, default=here[-1])
    return Path(width, tuple((attention, feed)[i % 2] for i in range(space.num_layers)))
