"""Regularised evolution: the oldest dies, a tournament's best has a mutant child (Real et al. 2019).

With several objectives the tournament is won by non-dominated rank, then crowding.
"""

from __future__ import annotations

import math
from typing import Generic

from nas_ray.search._population import Member, preference
from nas_ray.search._price import Price
from nas_ray.search._searcher import A, Space, generator

_PATIENCE = 4  # attempts before one more mutation is added, to leave a neighbourhood that is used up


class EvolutionSearcher(Generic[A]):
    """Aging evolution over the last ``population_size`` results."""

    name = "evolution"

    def __init__(
        self,
        space: Space[A],
        num_objectives: int,
        seed: int,
        *,
        price: Price[A] | None = None,
        population_size: int = 32,
        tournament_size: int = 8,
    ) -> None:
        self._space = space
        self._seed = seed
        self._population_size = population_size
        self._tournament_size = tournament_size
        self._members: list[Member[A]] = []
        self._order: list[int] = []

    def propose(self, index: int, attempt: int = 0) -> A:
        rng = generator(self._seed, index, attempt)
        if len(self._members) < self._population_size:
            return self._space.sample(rng)
        drawn = rng.choice(len(self._order), size=min(self._tournament_size, len(self._order)), replace=False)
        child = self._members[self._order[int(drawn.min())]].architecture
        for _ in range(1 + attempt // _PATIENCE):
            child = self._space.mutate(child, rng)
        return child

    def observe(self, architecture: A, values: tuple[float, ...] | None, finished: bool) -> None:
        if values is None or not all(map(math.isfinite, values)) or not self._space.contains(architecture):
            return
        self._members.append(Member(architecture, values, finished))
        del self._members[: -self._population_size]
        self._order = preference(self._members)
