"""Whole candidates from supernet weights: refitted block by block, then scored end to end.

Each block's readout is fitted on the candidate's own preceding output, then folded with the next block's map in, so
that the student has one affine map at each seam.

With start ``inherit`` these are the seams that ``space.parts`` counts. With start ``scratch`` the papers' student has a
map only where widths differ, but the supernet's blocks were trained between maps to and from the teacher's width: the
stitched student keeps a seam at every boundary and behind the last block. Its loss is a proxy, and it has more weights
than the costs count, which follow the papers' form; retraining with ``weights: scratch`` builds that form.

The teacher's own architecture is the teacher itself, whatever the start.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_ray.blocks import BlockSupernet, PathStudent, Readout, linear_of, prior_of, reduced_embedding
from nas_ray.measure._documents import Errors, errors_by_document
from nas_ray.measure._scores import ScoreSets, States, refit, score_paths, split_calibration
from nas_ray.modeling import Numerics
from nas_ray.space import (
    Architecture,
    Boundary,
    Path,
    PathSpace,
    Start,
    embedding_boundary,
    map_part,
    parts,
    path_boundary,
    teacher_path,
)
from nas_ray.teacher import Teacher, numerics_of

Array = NDArray[Any]


@dataclass(frozen=True)
class SplitStates:
    """One split at every boundary: ``targets[b]`` is the teacher's state behind slot b, ``ids`` its tokens."""

    ids: Tensor
    mask: Tensor | None
    targets: tuple[Tensor, ...]

    def rows(self, values: Tensor) -> Tensor:
        """``(sequences, tokens, d)`` as ``(n, d)``, padding left out."""
        return values.reshape(-1, values.shape[-1]) if self.mask is None else values[self.mask]

    def first(self, sequences: int) -> SplitStates:
        """Those of the first ``sequences``."""
        mask = None if self.mask is None else self.mask[:sequences]
        return SplitStates(self.ids[:sequences], mask, tuple(target[:sequences] for target in self.targets))


class Stitcher:
    """Assembles and scores candidates of one run; holds the shared weights, read-only."""

    def __init__(
        self,
        space: PathSpace,
        start: Start,
        teacher: Teacher,
        blocks: Sequence[Mapping[str, Any]],
        ridges: Sequence[float],
    ) -> None:
        self.space, self.start, self.teacher, self.ridges = space, start, teacher, ridges
        self.numerics = numerics_of(teacher.config)
        self.frozen: Path | None = teacher_path(teacher.shape, space.num_blocks, space.head_size)
        self._embeddings: dict[int, nn.Module] = {teacher.shape.hidden: teacher.embedding}
        self.supernets = [_load(space, start, teacher, self.numerics, block["weights"]) for block in blocks]
        self.splits = {split: _split(blocks, split) for split in blocks[0]["ids"]}
        last = self.splits["select"].rows(self.splits["select"].targets[-1])
        self.variance = float((last - last.mean(0)).square().mean())

    @torch.no_grad()
    def assemble(self, architecture: Architecture) -> PathStudent:
        """The student of ``architecture``: refitted, folded maps of its own between the shared, read-only weights."""
        if self.is_teacher(architecture):
            return self.teacher_student()
        builder = Builder(self, architecture)
        for block, path in enumerate(architecture.paths):
            builder.enter(block, path)
            builder.run(block, path)
        builder.finish()
        return PathStudent(builder.embedding, builder.stages).eval()

    def is_teacher(self, architecture: Architecture) -> bool:
        """Whether ``architecture`` copies the teacher whole."""
        return architecture.embedding_size == self.teacher.shape.hidden and set(architecture.paths) == {self.frozen}

    def teacher_student(self) -> PathStudent:
        """The teacher itself in a student's clothes."""
        return PathStudent(self.teacher.embedding, list(self.teacher.blocks)).eval()

    def embedding(self, size: int) -> nn.Module:
        """The embedding of ``size``, shared by all students."""
        if size not in self._embeddings:
            words, positions = self.teacher.embedding.tables(self.teacher.shape.num_positions)
            reduced = reduced_embedding(words, positions, size, self.numerics.norm_eps)
            self._embeddings[size] = reduced.requires_grad_(False)
        return self._embeddings[size]

    @torch.no_grad()
    def loss(self, student: PathStudent, first: int, last: int, batch: int, split: str = "select") -> tuple[float, int]:
        """Squared error over sequences of batches ``first`` to ``last`` (of ``batch`` sequences), and its count.

        The normalised loss is error / count / ``variance``.
        """
        states = self.splits[split]
        chosen = slice(first * batch, last * batch)
        mask = None if states.mask is None else states.mask[chosen]
        error = (student(states.ids[chosen], mask) - states.targets[-1][chosen]).square().mean(-1)
        kept = error.reshape(-1) if mask is None else error[mask]
        return float(kept.double().sum()), int(kept.numel())

    def block_loss(self, architecture: Architecture, sequences: int) -> float:
        """Sum over blocks of the refitted normalised loss on the first selection sequences, each block by itself."""
        total = 0.0
        for block, path in enumerate(architecture.paths):
            if self.start == "inherit" and path == self.frozen:
                continue  # the teacher's own block
            sets = self._block_sets(block, sequences)
            total += score_paths(self.supernets[block], [path], sets, self.ridges)[path.path_id]
        return total

    def _block_sets(self, block: int, sequences: int) -> ScoreSets:
        found = {}
        for name in ("calibrate", "select"):
            split = self.splits[name]
            found[name] = States(split.targets[block], split.targets[block + 1], split.mask)
        fit, cut = found["calibrate"], split_calibration(len(found["calibrate"].inputs))
        return ScoreSets(fit.slice(0, cut), fit.slice(cut, len(fit.inputs)), found["select"].slice(0, sequences))

    @torch.no_grad()
    def document_errors(self, student: PathStudent, documents: Array, split: str = "test", batch: int = 8) -> Errors:
        """Normalised squared error and tokens of each document of ``split``.

        ``documents`` ``(sequences, tokens)`` numbers the document of each token, -1 for padding.
        """
        states = self.splits[split]
        errors = []
        for at in range(0, len(states.ids), batch):
            mask = None if states.mask is None else states.mask[at : at + batch]
            output = student(states.ids[at : at + batch], mask)
            errors.append((output - states.targets[-1][at : at + batch]).square().mean(-1))
        error = torch.cat(errors).double().numpy() / self.test_variance(split)
        return errors_by_document(error, documents)

    def test_variance(self, split: str) -> float:
        """Variance of the teacher's last hidden state on ``split``."""
        rows = self.splits[split].rows(self.splits[split].targets[-1])
        return float((rows - rows.mean(0)).square().mean())


class Builder:
    """The student as it grows, and its hidden states on the calibration split."""

    def __init__(self, stitcher: Stitcher, architecture: Architecture) -> None:
        self.stitcher = stitcher
        self.states = stitcher.splits["calibrate"]
        size, hidden = architecture.embedding_size, stitcher.teacher.shape.hidden
        self.stages: list[nn.Module] = []
        self.embedding = stitcher.embedding(size)
        self.hidden = self.states.targets[0] if size == hidden else self.embedding(self.states.ids)
        self.before: Boundary = embedding_boundary(size, stitcher.teacher.shape)
        self.exact = size == hidden
        self.leave: nn.Linear | None = None
        self.slot = 0
        self._fitted: Readout | None = None

    def fork(self) -> Builder:
        """Another one that goes on from here; what is there is shared."""
        twin = copy.copy(self)
        twin.stages = list(self.stages)
        return twin

    def enter(self, block: int, path: Path) -> None:
        """The map at the seam before ``block``, if there is one."""
        stitcher = self.stitcher
        after = path_boundary(path, stitcher.frozen, stitcher.start)
        if self._has_seam(after):
            self._seam(None if after.native else stitcher.supernets[block].map_in(path.width))
        self.before, self.slot = after, block + 1

    def run(self, block: int, path: Path) -> None:
        """The operations of ``path``, or the teacher's own block where the path copies it."""
        stitcher = self.stitcher
        supernet = stitcher.supernets[block]
        if self.before.native:
            modules: list[nn.Module] = [stitcher.teacher.blocks[block]]
            self.leave = None
        else:
            modules = supernet.path_operations(path)
            _, self.leave = supernet.maps(path)
            self.exact = False
        self._fitted = None
        for module in modules:
            self.stages.append(module)
            self.hidden = _tiled(module, self.hidden, self.states.mask)

    def finish(self) -> None:
        """The map behind the last block, if there is one."""
        if self._has_seam(None):
            self._seam(None)

    def _has_seam(self, after: Boundary | None) -> bool:
        stitcher = self.stitcher
        if stitcher.start == "scratch":
            return True
        return map_part(self.before, after, stitcher.teacher.shape, stitcher.start) is not None

    def _seam(self, enter: nn.Linear | None) -> None:
        readout = self.readout()
        weight, bias = readout.weight, readout.bias
        if enter is not None:
            weight, bias = enter.weight @ weight, enter.weight @ bias + enter.bias
        seam = linear_of(weight, bias)
        self.stages.append(seam)
        self.hidden = seam(self.hidden)

    def readout(self) -> Readout:
        """From the hidden state so far to the teacher's state at this slot; exactly the identity where it is exact."""
        if self._fitted is None:
            self._fitted = self._fit()
        return self._fitted

    def _fit(self) -> Readout:
        stitcher, width = self.stitcher, self.hidden.shape[-1]
        hidden = stitcher.teacher.shape.hidden
        target = self.states.targets[self.slot]
        if self.leave is not None:
            prior = prior_of(self.leave.weight, self.leave.bias)
        elif width == hidden:
            prior = prior_of(torch.eye(hidden), torch.zeros(hidden))
        else:
            prior = prior_of(torch.zeros(hidden, width), self.states.rows(target).mean(0))
        if self.exact:
            return Readout(prior, float("inf"))
        sequences = len(self.hidden)
        cut = split_calibration(sequences)
        states = States(self.hidden, target, self.states.mask)
        sets = ScoreSets(states.slice(0, cut), states.slice(cut, sequences), states.slice(cut, sequences))
        return refit((self.hidden[:cut], self.hidden[cut:]), sets, prior, stitcher.ridges)


def student_parts(stitcher: Stitcher, architecture: Architecture) -> tuple[str, ...]:
    """The parts that the tables count for ``architecture``."""
    return parts(architecture, stitcher.teacher.shape, stitcher.start, stitcher.frozen)


def _tiled(module: nn.Module, hidden: Tensor, mask: Tensor | None, rows: int = 8) -> Tensor:
    pieces = []
    for at in range(0, len(hidden), rows):
        pieces.append(module(hidden[at : at + rows], None if mask is None else mask[at : at + rows]))
    return torch.cat(pieces)


def _load(
    space: PathSpace, start: Start, teacher: Teacher, numerics: Numerics, weights: Mapping[str, Array]
) -> BlockSupernet:
    """A supernet over shared, read-only arrays."""
    with torch.device("meta"):
        supernet = BlockSupernet(space, teacher.shape.hidden, numerics, None, start)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    supernet.load_state_dict(tensors, assign=True)
    return supernet.eval().requires_grad_(False)


def _split(blocks: Sequence[Mapping[str, Any]], split: str) -> SplitStates:
    mask = blocks[0]["masks"][split]
    targets = [blocks[0]["embedded"][split], *(block["targets"][split] for block in blocks)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return SplitStates(
            torch.from_numpy(blocks[0]["ids"][split]),
            None if mask is None else torch.from_numpy(mask),
            tuple(torch.from_numpy(target) for target in targets),
        )
