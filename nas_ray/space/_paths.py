"""``kind: paths``: blocks of layers, each layer one operation (NAS-BERT, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from nas_ray.errors import SpaceError
from nas_ray.space._architecture import Architecture, Path
from nas_ray.space._operations import Kind, Operation

_TRIES = 64
_JUMP = 0.05
_MOVES = ("replace", "insert", "delete", "width")


@dataclass(frozen=True)
class OperationChoice:
    """An operation as a space lists it; its number of heads follows from the width."""

    kind: Kind
    head_fraction: Fraction = Fraction(1)
    ratio: int = 4
    kernel: int = 3
    units: int = 2

    def at(self, width: int, head_size: int) -> Operation:
        """The operation at ``width``.

        Raises:
            SpaceError: the width does not give a whole number of heads.
        """
        if self.kind == "feed_forward":
            return Operation("feed_forward", ratio=self.ratio, head_size=head_size)
        if self.kind == "separable_conv":
            return Operation("separable_conv", kernel=self.kernel, units=self.units, head_size=head_size)
        heads = self.head_fraction * width / head_size
        if heads.denominator != 1 or heads < 1:
            raise SpaceError(
                f"attention at width {width} with head size {head_size} and head_fraction {self.head_fraction} "
                f"gives {float(heads):g} heads; accepted: a whole number of at least 1."
            )
        return Operation("attention", heads=int(heads), head_size=head_size)


@dataclass(frozen=True)
class EmbeddingRule:
    """The embedding size of an architecture by the size of its encoder: the first bound that holds it."""

    bounds: tuple[tuple[int, int], ...]  # (most encoder parameters, embedding size), ascending
    largest: int

    def size(self, encoder_params: int) -> int:
        for most, size in self.bounds:
            if encoder_params <= most:
                return size
        return self.largest


@dataclass(frozen=True)
class PathSpace:
    """All architectures of ``num_blocks`` blocks of up to ``num_layers`` operations.

    ``remaining`` restricts each block to the paths that survived progressive shrinking.
    """

    name: str
    num_blocks: int
    num_layers: int
    widths: tuple[int, ...]
    head_size: int
    choices: tuple[OperationChoice, ...]
    embedding_sizes: tuple[int, ...]
    alternate: bool = False
    embedding_rule: EmbeddingRule | None = None
    remaining: tuple[frozenset[str], ...] | None = None

    kind = "paths"

    @cached_property
    def operations(self) -> dict[int, tuple[Operation, ...]]:
        """The operations at each width, without identity."""
        return {w: tuple(choice.at(w, self.head_size) for choice in self.choices) for w in self.widths}

    @property
    def num_operations(self) -> int:
        """Operations a layer chooses from, over all widths, identity included (26 in the paper)."""
        return sum(len(operations) for operations in self.operations.values()) + 1

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Every path of a block; identities stand at its end only, and the empty path is left out."""
        return tuple(Path(width, operations) for width in self.widths for operations in self._sequences(width))

    def follows(self, before: tuple[Operation, ...], operation: Operation) -> bool:
        """Whether the grammar lets ``operation`` stand after ``before``."""
        return not (self.alternate and before and before[-1].kind == operation.kind)

    def _sequences(self, width: int) -> list[tuple[Operation, ...]]:
        """Operation sequences of one width in depth-first order: a prefix comes before its extensions."""
        found: list[tuple[Operation, ...]] = []

        def extend(before: tuple[Operation, ...]) -> None:
            for operation in self.operations[width]:
                if self.follows(before, operation):
                    sequence = (*before, operation)
                    found.append(sequence)
                    if len(sequence) < self.num_layers:
                        extend(sequence)

        extend(())
        return found

    def block_paths(self, block: int) -> tuple[Path, ...]:
        """The paths that block ``block`` may still take."""
        return self._block_paths[block]

    @cached_property
    def _block_paths(self) -> tuple[tuple[Path, ...], ...]:
        if self.remaining is None:
            return (self.paths,) * self.num_blocks
        return tuple(tuple(p for p in self.paths if p.path_id in keep) for keep in self.remaining)

    @property
    def num_architectures(self) -> int:
        """Whole architectures, embedding sizes left out, as the paper counts them."""
        total = 1
        for block in range(self.num_blocks):
            total *= len(self.block_paths(block))
        return total

    def restrict(self, remaining: Sequence[frozenset[str]]) -> PathSpace:
        """The same space with only the paths ``remaining`` in each block.

        Raises:
            SpaceError: a block is left out, or left without any path of the space.
        """
        if len(remaining) != self.num_blocks:
            raise SpaceError(f"paths remain for {len(remaining)} blocks; accepted: {self.num_blocks} sets of path ids.")
        space = replace(self, remaining=tuple(remaining))
        if empty := [block for block in range(self.num_blocks) if not space.block_paths(block)]:
            raise SpaceError(f"no path of the space remains in block {empty[0]}; accepted: at least one a block.")
        return space

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what can be computed again is not sent to other processes."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def contains(self, architecture: Architecture) -> bool:
        """Whether every part of ``architecture`` is allowed here."""
        return (
            architecture.embedding_size in self.embedding_sizes
            and len(architecture.paths) == self.num_blocks
            and all(path in allowed for path, allowed in zip(architecture.paths, self._allowed, strict=True))
        )

    @cached_property
    def _allowed(self) -> tuple[frozenset[Path], ...]:
        if self.remaining is None:
            return (frozenset(self.paths),) * self.num_blocks
        return tuple(frozenset(self.block_paths(block)) for block in range(self.num_blocks))

    def with_rule(self, architecture: Architecture, encoder_params: int) -> Architecture:
        """``architecture`` with the embedding size that the space's rule gives it, if it has a rule."""
        if self.embedding_rule is None:
            return architecture
        return replace(architecture, embedding_size=self.embedding_rule.size(encoder_params))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Uniform over embedding sizes and over the paths of each block."""
        size = self.embedding_sizes[int(rng.integers(len(self.embedding_sizes)))]
        return Architecture(size, tuple(self._sample_path(b, rng) for b in range(self.num_blocks)))

    def _sample_path(self, block: int, rng: np.random.Generator) -> Path:
        allowed = self.block_paths(block)
        return allowed[int(rng.integers(len(allowed)))]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Change one slot: the embedding size, or one block's path by one operation, its length or its width.

        Where a rule gives the embedding size, that is no slot. A block with one path only stays as it is.
        """
        slots = self.num_blocks + (len(self.embedding_sizes) > 1 and self.embedding_rule is None)
        slot = int(rng.integers(slots))
        if slot == self.num_blocks:
            others = [size for size in self.embedding_sizes if size != architecture.embedding_size]
            return replace(architecture, embedding_size=others[int(rng.integers(len(others)))])
        paths = list(architecture.paths)
        paths[slot] = self._mutate_path(slot, paths[slot], rng)
        return replace(architecture, paths=tuple(paths))

    def _mutate_path(self, block: int, path: Path, rng: np.random.Generator) -> Path:
        if path not in self._allowed[block]:  # the teacher's own path, or one that shrinking removed
            return self._sample_path(block, rng)
        tries = _TRIES if rng.random() >= _JUMP else 0  # jumps reach paths whose neighbours shrinking removed
        if self.remaining is not None:
            near, edges, chance = self._neighbours(block, path)
            if tries and rng.random() >= (1 - chance) ** _TRIES:
                return near[int(np.searchsorted(edges, rng.random(), side="right"))]
            tries = 0
        for _ in range(tries):
            changed = self._edit(path, rng)
            if changed != path and changed in self._allowed[block]:
                return changed
        if len(self.block_paths(block)) == 1:
            return path
        while (other := self._sample_path(block, rng)) == path:
            pass
        return other

    def _edit(self, path: Path, rng: np.random.Generator) -> Path:
        """One random edit; the result may lie outside the space."""
        operations = list(path.operations)
        here = self.operations[path.width]
        move = _MOVES[int(rng.integers(len(_MOVES)))]
        if move == "width":
            width = self.widths[int(rng.integers(len(self.widths)))]
            there = self.operations[width]
            return Path(width, tuple(there[here.index(operation)] for operation in operations))
        at = int(rng.integers(len(operations) + (move == "insert")))
        if move == "delete":
            del operations[at]
        else:
            new = here[int(rng.integers(len(here)))]
            operations[at : at + (move == "replace")] = [new]
        return Path(path.width, tuple(operations))

    def _neighbours(self, block: int, path: Path) -> tuple[list[Path], list[float], float]:
        """What one edit makes of ``path`` that the block may take, the edges between their shares of [0, 1), and the
        chance that an edit makes any of them.

        Among few remaining paths hardly any edit leads to one, so they are listed, not tried.
        """
        key = (block, path)
        if key not in self._near:
            chances: dict[Path, float] = {}
            for changed, chance in self._edits(path):
                if changed != path and changed in self._allowed[block]:
                    chances[changed] = chances.get(changed, 0.0) + chance
            total = min(1.0, sum(chances.values()))
            edges = np.cumsum(list(chances.values()))[:-1] / (total or 1.0)
            self._near[key] = list(chances), edges.tolist(), total
        return self._near[key]

    @cached_property
    def _near(self) -> dict[tuple[int, Path], tuple[list[Path], list[float], float]]:
        return {}

    def _edits(self, path: Path) -> Iterator[tuple[Path, float]]:
        """Every outcome of ``_edit`` with its probability."""
        here, operations = self.operations[path.width], path.operations
        chance = 1 / len(_MOVES)
        for width in self.widths:
            there = self.operations[width]
            same = tuple(there[here.index(operation)] for operation in operations)
            yield Path(width, same), chance / len(self.widths)
        for at in range(len(operations)):
            yield Path(path.width, operations[:at] + operations[at + 1 :]), chance / len(operations)
        for new in here:
            for at in range(len(operations)):
                replaced = (*operations[:at], new, *operations[at + 1 :])
                yield Path(path.width, replaced), chance / len(operations) / len(here)
            for at in range(len(operations) + 1):
                inserted = (*operations[:at], new, *operations[at:])
                yield Path(path.width, inserted), chance / (len(operations) + 1) / len(here)

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Each slot from one of the two parents."""
        pick = rng.integers(2, size=self.num_blocks + 1)
        size = (a, b)[pick[0]].embedding_size
        return Architecture(size, tuple((a, b)[k].paths[i] for i, k in enumerate(pick[1:])))
