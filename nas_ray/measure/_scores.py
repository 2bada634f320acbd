"""Loss of every path of a block in one pass over its prefix tree, each path with its own refitted readout.

A path costs one operation plus its readout, since its prefix has been computed already. Depth-first, in tiles of about
1,000 tokens: giant products of all parents at once are memory bound on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nas_ray.blocks import BlockSupernet, Moments, Readout, TargetTile, Tokens, fit_readout, prior_of
from nas_ray.space import Operation, Path


@dataclass(frozen=True)
class States:
    """A block's inputs and targets on one set of sequences: ``(sequences, tokens, hidden)``; ``mask`` or None."""

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None

    def rows(self, values: Tensor) -> Tensor:
        """``(sequences, tokens, d)`` as ``(n, d)``, padding left out."""
        return values.reshape(-1, values.shape[-1]) if self.mask is None else values[self.mask]

    @property
    def num_tokens(self) -> int:
        return self.targets.shape[0] * self.targets.shape[1] if self.mask is None else int(self.mask.sum())

    def variance(self) -> float:
        """Mean over coordinates of the targets' variance: the loss of predicting their mean."""
        rows = self.rows(self.targets)
        return float((rows - rows.mean(0)).square().mean())

    def slice(self, start: int, stop: int) -> States:
        """Sequences ``start`` to ``stop``."""
        mask = None if self.mask is None else self.mask[start:stop]
        return States(self.inputs[start:stop], self.targets[start:stop], mask)


def split_calibration(sequences: int) -> int:
    """Where the part that readouts are fitted on ends: the last eighth of the sequences chooses the ridge."""
    return sequences - max(1, sequences // 8)


@dataclass(frozen=True)
class ScoreSets:
    """Where readouts are fitted, where their ridge is chosen, and where losses are measured."""

    fit: States
    held_out: States
    select: States

    @property
    def all(self) -> tuple[States, States, States]:
        return self.fit, self.held_out, self.select


@torch.no_grad()
def score_paths(
    supernet: BlockSupernet,
    paths: Sequence[Path],
    sets: ScoreSets,
    ridges: Sequence[float],
    *,
    tile_tokens: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Normalised loss on ``sets.select`` of every path, by path id.

    Memory: the hidden states of all sets at one node per layer of depth.
    """
    scorer = _Scorer(supernet, sets, ridges, tile_tokens, progress)
    wanted = {(path.width, path.operations): path.path_id for path in paths}
    for width in sorted({path.width for path in paths}):
        tree = _tree(path.operations for path in paths if path.width == width)
        scorer.visit(width, (), tree, scorer.enter(width), wanted)
    return scorer.losses


Tree = dict[Operation, "Tree"]


def _tree(sequences: Iterable[tuple[Operation, ...]]) -> Tree:
    root: Tree = {}
    for sequence in sequences:
        node = root
        for operation in sequence:
            node = node.setdefault(operation, {})
    return root


@dataclass(frozen=True)
class _Tile:
    """A few sequences of one set."""

    inputs: Tensor
    mask: Tensor | None
    target: TargetTile

    def rows(self, values: Tensor) -> Tensor:
        return values.reshape(-1, values.shape[-1]) if self.mask is None else values[self.mask]


def _tiles(states: States, tile_tokens: int) -> list[_Tile]:
    sequences = max(1, tile_tokens // states.inputs.shape[1])
    found = []
    for at in range(0, len(states.inputs), sequences):
        piece = states.slice(at, at + sequences)
        found.append(_Tile(piece.inputs, piece.mask, TargetTile.of(piece.rows(piece.targets))))
    return found


class _Scorer:
    """Walks the tree; a node's hidden states are one tensor per tile of all three sets."""

    def __init__(
        self,
        supernet: BlockSupernet,
        sets: ScoreSets,
        ridges: Sequence[float],
        tile_tokens: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.supernet, self.ridges, self.progress = supernet, ridges, progress
        self.losses: dict[str, float] = {}
        split = [_tiles(states, tile_tokens) for states in sets.all]
        self.tiles = [tile for tiles in split for tile in tiles]
        ends = [0, len(split[0]), len(split[0]) + len(split[1]), len(self.tiles)]
        self.parts = [slice(a, b) for a, b in pairwise(ends)]
        self.scale = sets.select.variance() * sets.select.num_tokens * sets.select.targets.shape[-1]

    def enter(self, width: int) -> list[Tensor]:
        enter = self.supernet.map_in(width)
        return [enter(tile.inputs) for tile in self.tiles]

    def visit(
        self,
        width: int,
        before: tuple[Operation, ...],
        tree: Tree,
        hidden: list[Tensor],
        wanted: dict[tuple[int, tuple[Operation, ...]], str],
    ) -> None:
        for operation, below in tree.items():
            module = self.supernet.operation(width, len(before), operation.token)
            after = [module(h, tile.mask) for h, tile in zip(hidden, self.tiles, strict=True)]
            path = (*before, operation)
            name = wanted.get((width, path))
            if name is not None:
                self.losses[name] = self._loss(self.supernet.map_out(width, len(before), operation.token), after)
                if self.progress is not None:
                    self.progress(len(self.losses))
            if below:
                self.visit(width, path, below, after, wanted)

    def _loss(self, leave: torch.nn.Linear, hidden: list[Tensor]) -> float:
        rows = [(tile.rows(h), tile.target) for h, tile in zip(hidden, self.tiles, strict=True)]
        fit, held_out, select = (rows[part] for part in self.parts)
        prior = prior_of(leave.weight, leave.bias)
        readout = fit_readout(Moments.over(fit), Moments.over(held_out), prior, self.ridges)
        return sum(Tokens(x, y.rows).error(readout) for x, y in select) / self.scale


@torch.no_grad()
def refit(
    features: Sequence[Tensor], sets: ScoreSets, prior: Tensor, ridges: Sequence[float], tile_tokens: int = 1024
) -> Readout:
    """The readout from features on (fit, held-out) ``(sequences, tokens, k)`` to the sets' targets."""
    fit, held_out = (
        Moments.of(s.rows(f), s.rows(s.targets), tile_tokens)
        for s, f in zip((sets.fit, sets.held_out), features, strict=True)
    )
    return fit_readout(fit, held_out, prior, ridges)


@torch.no_grad()
def linear_loss(sets: ScoreSets, ridges: Sequence[float]) -> float:
    """Loss of one affine map from a block's input to its output: what a path must beat to have learned anything."""
    moments = [Moments.of(s.rows(s.inputs), s.rows(s.targets)) for s in sets.all]
    hidden = sets.fit.inputs.shape[-1]
    eye = torch.eye(hidden, device=sets.fit.inputs.device)
    prior = prior_of(eye, eye.new_zeros(hidden))
    readout = fit_readout(moments[0], moments[1], prior, ridges)
    return moments[2].error(readout) / (sets.select.variance() * sets.select.num_tokens * hidden)


@torch.no_grad()
def rank_floors(sets: ScoreSets, widths: Sequence[int]) -> dict[int, float]:
    """Share of the target's variance outside its ``width`` principal directions: no path of that width goes below."""
    rows = sets.select.rows(sets.select.targets).double()
    values = torch.linalg.eigvalsh(torch.cov(rows.T)).clamp_min(0).flip(0)
    return {width: float(values[width:].sum() / values.sum()) for width in widths}
