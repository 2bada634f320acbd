"""Random search: the baseline that every other searcher must beat."""

from __future__ import annotations

from typing import Generic

from nas_ray.search._price import Price
from nas_ray.search._searcher import A, Space, generator


class RandomSearcher(Generic[A]):
    """Samples the space and learns nothing."""

    name = "random"

    def __init__(self, space: Space[A], num_objectives: int, seed: int, *, price: Price[A] | None = None) -> None:
        self._space = space
        self._seed = seed

    def propose(self, index: int, attempt: int = 0) -> A:
        return self._space.sample(generator(self._seed, index, attempt))

    def observe(self, architecture: A, values: tuple[float, ...] | None, finished: bool) -> None:
        """Nothing to learn."""
