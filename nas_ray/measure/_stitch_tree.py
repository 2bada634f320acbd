"""Losses of all architectures that are made of a few paths a block, from one walk over the tree of their beginnings.

Students that begin alike share their states and readouts up to where they part, and the paths of the last block behind
one beginning are scored in a single pass. So an architecture costs about as much as one operation and one readout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from nas_ray.blocks import PathStudent, linear_of
from nas_ray.measure._scores import ScoreSets, States, score_paths, split_calibration
from nas_ray.measure._stitch import Builder, SplitStates, Stitcher
from nas_ray.space import Architecture, Path, path_boundary

Scored = list[tuple[Architecture, float]]


@torch.no_grad()
def stitched_losses(
    stitcher: Stitcher,
    embedding_size: int,
    choices: Sequence[Sequence[Path]],
    sequences: int,
    known: Collection[str] = (),
) -> Iterator[Scored]:
    """Normalised losses on the first ``sequences`` of *select*, those of a beginning at a time.

    They are those of assembled students (``Stitcher.loss``) but for rounding. The architectures have ``embedding_size``
    and a path of ``choices[b]`` in block b; beginnings whose arch_ids are all ``known`` are passed by.
    """
    builder = Builder(stitcher, Architecture(embedding_size, tuple(paths[0] for paths in choices)))
    states = stitcher.splits["select"].first(sequences)
    root = _Stem(builder, builder.embedding(states.ids), states, embedding_size, ())
    yield from _walk(root, choices, known)


def _walk(stem: _Stem, choices: Sequence[Sequence[Path]], known: Collection[str]) -> Iterator[Scored]:
    left = choices[len(stem.paths) :]
    if all(stem.ends(paths).arch_id in known for paths in product(*left)):
        return
    if len(left) == 1:
        yield [(stem.ends((path,)), loss) for path, loss in stem.scored(left[0])]
        return
    for path in left[0]:
        yield from _walk(stem.grown(path), choices, known)


@dataclass
class _Stem:
    """The first blocks of students, and their hidden states on the sequences that the loss is measured on."""

    builder: Builder
    selected: Tensor
    states: SplitStates
    embedding_size: int
    paths: tuple[Path, ...]

    def ends(self, paths: Sequence[Path]) -> Architecture:
        """The architecture that goes on with ``paths``."""
        return Architecture(self.embedding_size, (*self.paths, *paths))

    def grown(self, path: Path) -> _Stem:
        builder, block = self.builder.fork(), len(self.paths)
        begun = len(builder.stages)
        builder.enter(block, path)
        builder.run(block, path)
        selected = PathStudent(builder.embedding, builder.stages[begun:]).encode(self.selected, self.states.mask)
        return _Stem(builder, selected, self.states, self.embedding_size, (*self.paths, path))

    def scored(self, paths: Sequence[Path]) -> Iterator[tuple[Path, float]]:
        """The losses with each of ``paths`` as the last block."""
        stitcher = self.builder.stitcher
        losses = {path.path_id: 0.0 for path in paths if stitcher.is_teacher(self.ends((path,)))}
        own = [path for path in paths if not path_boundary(path, stitcher.frozen, stitcher.start).native]
        own = [path for path in own if path.path_id not in losses]
        if own:
            sets = self._sets()
            found = score_paths(stitcher.supernets[len(self.paths)], own, sets, stitcher.ridges)
            scale = sets.select.variance() / stitcher.variance
            losses |= {name: loss * scale for name, loss in found.items()}
        for path in paths:
            yield path, losses[path.path_id] if path.path_id in losses else self._with_teachers_own(path)

    def _sets(self) -> ScoreSets:
        """What the last block is given in the teacher's space, and what it shall make of it."""
        readout = self.builder.readout()
        seam = linear_of(readout.weight, readout.bias)
        calibrate = self.builder.states
        fitted = States(seam(self.builder.hidden), calibrate.targets[-1], calibrate.mask)
        cut, count = split_calibration(len(fitted.inputs)), len(fitted.inputs)
        select = States(seam(self.selected), self.states.targets[-1], self.states.mask)
        return ScoreSets(fitted.slice(0, cut), fitted.slice(cut, count), select)

    def _with_teachers_own(self, path: Path) -> float:
        """The loss where the last block is the teacher's own, which has no readout."""
        output = self.grown(path).selected
        error = self.states.rows(output - self.states.targets[-1]).square().mean(-1)
        return float(error.double().mean()) / self.builder.stitcher.variance
