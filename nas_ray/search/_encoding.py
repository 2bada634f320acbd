"""Architectures as points of typed dimensions, for searchers that know numbers only.

A path is its width and one choice per layer, where ``END`` says that the path ended before this layer. A
dimension of its own for the depth, with layers conditional on it, was tried: TPE cannot model conditional
dimensions jointly, and the front's hypervolume after 200 candidates fell back to about that of random search.
"""

from __future__ import annotations

from dataclasses import astuple
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nas_ray.errors import SpaceError
from nas_ray.search._dimensions import Categorical, Encoding, Values
from nas_ray.space import Architecture, Operation, Path, PathSpace, UniformArchitecture, UniformSpace

END = -1


def make_encoding(space: Any) -> Encoding[Any]:
    """The encoding of a space; one that has ``dimensions``, ``encode`` and ``decode`` is its own.

    Raises:
        SpaceError: it has none.
    """
    if isinstance(space, UniformSpace):
        return UniformEncoding(space)
    if isinstance(space, PathSpace):
        return PathEncoding(space)
    if missing := [name for name in ("dimensions", "encode", "decode") if not hasattr(space, name)]:
        raise SpaceError(
            f"a space of type {type(space).__name__} has no {', '.join(missing)}, which this searcher needs; "
            "accepted: a space with all three, or a searcher that needs none (evolution, nsga2, random)."
        )
    return cast(Encoding[Any], space)


class PathEncoding:
    """Embedding size; per block the width; per layer the number of its operation in the space, or ``END``."""

    def __init__(self, space: PathSpace) -> None:
        self._space = space
        self._codes = cache(self._block_codes)
        self.dimensions = tuple(self._dimensions())

    def _dimensions(self) -> list[Categorical]:
        space, numbers = self._space, tuple(range(len(self._space.choices)))
        found = [Categorical("embedding_size", space.embedding_sizes, ordered=True)]
        for block in range(space.num_blocks):
            group = f"block{block}"
            found.append(Categorical(f"{group}.width", space.widths, ordered=True, group=group))
            for layer in range(space.num_layers):  # no path is empty
                values = (*numbers, END) if layer else numbers
                found.append(Categorical(f"{group}.layer{layer}", values, group=group))
        return found

    def encode(self, architecture: Architecture) -> dict[str, int]:
        found = {"embedding_size": architecture.embedding_size}
        for block, path in enumerate(architecture.paths):
            found[f"block{block}.width"] = path.width
            found |= {f"block{block}.layer{i}": number for i, number in enumerate(self._numbers(path))}
        return found

    def decode(self, values: Values) -> Architecture:
        paths = []
        for block in range(self._space.num_blocks):
            numbers = [int(values[f"block{block}.layer{layer}"]) for layer in range(self._space.num_layers)]
            depth = numbers.index(END) if END in numbers else len(numbers)
            path = self._follow_grammar(int(values[f"block{block}.width"]), numbers[:depth])
            paths.append(self._nearest(block, path))
        return Architecture(int(values["embedding_size"]), tuple(paths))

    def _follow_grammar(self, width: int, numbers: list[int]) -> Path:
        """The path of ``numbers``; an operation that may not follow becomes the next one that may."""
        here = self._space.operations[width]
        operations: tuple[Operation, ...] = ()
        for number in numbers:
            turns = (here[(number + turn) % len(here)] for turn in range(len(here)))
            allowed = next((op for op in turns if self._space.follows(operations, op)), None)
            if allowed is None:
                break
            operations = (*operations, allowed)
        return Path(width, operations)

    def _nearest(self, block: int, path: Path) -> Path:
        """``path``, or the one with the fewest other choices among those that survived shrinking."""
        if self._space.remaining is None or path.path_id in self._space.remaining[block]:
            return path
        differing = (self._codes(block) != np.array(self._code(path))).sum(axis=1)
        return self._space.block_paths(block)[int(np.argmin(differing))]

    def _numbers(self, path: Path) -> list[int]:
        found = [self._space.operations[path.width].index(operation) for operation in path.operations]
        return found + [END] * (self._space.num_layers - path.depth)

    def _code(self, path: Path) -> list[int]:
        return [path.width, *self._numbers(path)]

    def _block_codes(self, block: int) -> NDArray[np.int64]:
        return np.array([self._code(path) for path in self._space.block_paths(block)])


class UniformEncoding:
    """Four categoricals; a tuple that is left out becomes the valid one with the fewest other sizes."""

    def __init__(self, space: UniformSpace) -> None:
        self._space = space
        sizes = (space.depths, space.heads, space.hiddens, space.intermediates)
        names = ("depth", "heads", "hidden", "intermediate")
        pairs = zip(names, sizes, strict=True)
        self.dimensions = tuple(Categorical(name, values) for name, values in pairs)

    def encode(self, architecture: UniformArchitecture) -> dict[str, int]:
        return {dimension.name: getattr(architecture, dimension.name) for dimension in self.dimensions}

    def decode(self, values: Values) -> UniformArchitecture:
        wanted = UniformArchitecture(**{d.name: int(values[d.name]) for d in self.dimensions})
        if self._space.contains(wanted):
            return wanted
        return min(self._space.architectures, key=lambda a: _differing(a, wanted))


def _differing(a: UniformArchitecture, b: UniformArchitecture) -> int:
    return sum(x != y for x, y in zip(astuple(a), astuple(b), strict=True))
