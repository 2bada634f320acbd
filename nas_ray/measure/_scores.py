"""Loss of every path of a block in one pass over its prefix tree, each path with its own refitted readout.

A path costs one operation plus its readout, since its prefix has been computed already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_ray.blocks import BlockSupernet, Moments, Readout, TargetTile, Tokens, fit_readout, prior_of
from nas_ray.measure._prefixes import Group, Piece, Tile, Walk, tree
from nas_ray.space import Path

_TEMPORARIES = 10  # hidden states' worth of memory in the largest operation


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
    def text(self) -> Tensor:
        """``mask``, also where there is no padding."""
        return torch.ones_like(self.targets[..., 0], dtype=torch.bool) if self.mask is None else self.mask

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
    memory_bytes: int = 8 << 30,
    parents: int | None = None,
    precision: str = "fp32",
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Normalised loss on ``sets.select`` of every path, by path id.

    ``parents`` prefixes are extended at once, at most as many as ``memory_bytes`` has room for, but at least one; if
    not given, one on a CPU and all that there is room for on a GPU. A CPU computes ``tile_tokens`` of each at once, a
    GPU all. ``precision`` (``fp32`` or ``bf16``) is that of the operations; hidden states and refits stay in fp32 and
    fp64. ``progress`` is told how many paths are done.
    """
    gpu = sets.fit.inputs.is_cuda
    scorer = _Scorer(sets, ridges, None if gpu else tile_tokens, progress)
    for width in sorted({path.width for path in paths}):
        same = [path for path in paths if path.width == width]
        room = memory_bytes // _parent_bytes(sets, width, max(path.depth for path in same), len(ridges))
        limit = max(1, min(room, parents or (len(same) if gpu else 1)))
        Walk(supernet, width, scorer.tiles, limit, precision == "bf16", scorer.score).over(tree(same))
    return {path.path_id: scorer.losses[path.path_id] for path in paths}


def _parent_bytes(sets: ScoreSets, width: int, depth: int, num_ridges: int) -> int:
    """What one more parent takes at most: its states at every layer, those of an operation, the refit's matrices."""
    positions = sum(states.targets.shape[0] * states.targets.shape[1] for states in sets.all)
    hidden, size = sets.fit.targets.shape[-1], width + 1
    refit = (2 * num_ridges + 4) * size * (size + hidden)
    return 4 * positions * width * (depth + 3 + _TEMPORARIES) + 8 * refit


def _tiles(sets: ScoreSets, tile_tokens: int | None) -> list[Tile]:
    """All sequences in tiles, whatever their set: the fewer and larger calls, the better for small sets and GPUs."""
    inputs = torch.cat([states.inputs for states in sets.all])
    mask = None
    if any(states.mask is not None for states in sets.all):
        mask = torch.cat([states.text for states in sets.all])
    step = max(1, tile_tokens // inputs.shape[1]) if tile_tokens else len(inputs)
    cuts = range(0, len(inputs), step)
    return [
        Tile(inputs[at : at + step], None if mask is None else mask[at : at + step], _pieces(sets, at, at + step))
        for at in cuts
    ]


def _pieces(sets: ScoreSets, start: int, stop: int) -> tuple[Piece, ...]:
    """What sequences ``start`` to ``stop`` of all sets have of each."""
    found, first = [], 0
    for part, states in enumerate(sets.all):
        a, b = max(start, first), min(stop, first + len(states.inputs))
        if a < b:
            own = states.slice(a - first, b - first)
            kept = None if own.mask is None else own.mask.flatten().nonzero()[:, 0]
            found.append(Piece(part, a - start, b - start, kept, TargetTile.of(own.rows(own.targets))))
        first += len(states.inputs)
    return tuple(found)


class _Scorer:
    """Refits the readouts of the prefixes it is shown and keeps their losses."""

    def __init__(
        self,
        sets: ScoreSets,
        ridges: Sequence[float],
        tile_tokens: int | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.ridges, self.progress = ridges, progress
        self.losses: dict[str | None, float] = {}
        self.tiles = _tiles(sets, tile_tokens)
        self.scale = sets.select.variance() * sets.select.num_tokens * sets.select.targets.shape[-1]

    def score(self, group: Group, leave: nn.Linear) -> None:
        """Score a group of paths that share their last operation, and so the prior of their readouts."""
        parts: tuple[list[tuple[Tensor, TargetTile]], ...] = ([], [], [])
        for tile, hidden in zip(self.tiles, group.hidden, strict=True):
            for piece in tile.pieces:
                parts[piece.part].append((piece.rows(hidden), piece.target))
        fit, held_out, select = parts
        prior = prior_of(leave.weight, leave.bias)
        readout = fit_readout(Moments.over(fit), _held_out(held_out), prior, self.ridges)
        error = torch.stack([Tokens(x, y.rows).error(readout).double() for x, y in select]).sum(0)
        for node, loss in zip(group.nodes, (error / self.scale).tolist(), strict=True):
            self.losses[node.path_id] = loss
        if self.progress is not None:
            self.progress(len(self.losses))


def _held_out(tiles: Sequence[tuple[Tensor, TargetTile]]) -> Moments | Tokens:
    """Tokens where they are fewer than features: their outputs cost less than products with a Gram matrix in fp64."""
    if sum(len(y.rows) for _, y in tiles) > tiles[0][0].shape[-1]:
        return Moments.over(tiles)
    return Tokens(torch.cat([x for x, _ in tiles], -2), torch.cat([y.rows for _, y in tiles]))


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
    return float(moments[2].error(readout)) / (sets.select.variance() * sets.select.num_tokens * hidden)


@torch.no_grad()
def rank_floors(sets: ScoreSets, widths: Sequence[int]) -> dict[int, float]:
    """Share of the target's variance outside its ``width`` principal directions: no path of that width goes below."""
    rows = sets.select.rows(sets.select.targets).double()
    values = torch.linalg.eigvalsh(torch.cov(rows.T)).clamp_min(0).flip(0)
    return {width: float(values[width:].sum() / values.sum()) for width in widths}
