"""The one small interface of all searchers, and what they need of a space."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np


class HasId(Protocol):
    """An architecture, as far as a searcher looks at it."""

    @property
    def arch_id(self) -> str: ...


A = TypeVar("A", bound=HasId)


class Space(Protocol[A]):
    """What searchers ask of a search space; ``PathSpace`` and ``UniformSpace`` have it."""

    def contains(self, architecture: A) -> bool: ...

    def sample(self, rng: np.random.Generator) -> A: ...

    def mutate(self, architecture: A, rng: np.random.Generator) -> A: ...

    def crossover(self, a: A, b: A, rng: np.random.Generator) -> A: ...


class Searcher(Protocol[A]):
    """Proposes architectures and learns from their results.

    A suggestion is a function of the seed, ``index``, ``attempt`` and the observations so far, in their
    order; ``propose`` changes nothing. So a searcher that is told a journal's observations goes on as if
    never interrupted.
    """

    name: str

    def propose(self, index: int, attempt: int = 0) -> A:
        """Suggestion number ``index``; a caller that cannot use it asks again with the next ``attempt``."""
        ...

    def observe(self, architecture: A, values: tuple[float, ...] | None, finished: bool) -> None:
        """Take a result: minimised objective values at the last rung reached, None for a failure.

        ``finished`` is False for a candidate that was stopped before the last rung. Architectures outside the
        space (references) are ignored.
        """
        ...


def generator(seed: int, index: int, attempt: int) -> np.random.Generator:
    """The random numbers of one suggestion; attempt 0 is ``default_rng([seed, index])``."""
    return np.random.default_rng([seed, index, attempt])
