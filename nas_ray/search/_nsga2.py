"""NSGA-II in its steady-state form (Deb et al. 2002; Durillo et al. 2009).

The population is renewed after every result, not after every generation: nothing waits for stragglers, and a
suggestion depends on the observed history alone. (Optuna's NSGAIISampler keeps generations in attributes of
its own trials, which a journal does not hold.)
"""

from __future__ import annotations

import math
from typing import Generic

import numpy as np

from nas_ray.search._population import Member, preference
from nas_ray.search._price import Price
from nas_ray.search._searcher import A, Space, generator

_PATIENCE = 4  # attempts before one more mutation is added, to leave a neighbourhood that is used up


class Nsga2Searcher(Generic[A]):
    """Keeps the best ``population_size`` results; a child mutates a tournament winner or two crossed ones.

    Half of the children are not crossed, and the tournaments are of four: with the usual crossover of 0.9 and
    binary tournaments it stayed level with random search at 100 candidates.
    """

    name = "nsga2"

    def __init__(
        self,
        space: Space[A],
        num_objectives: int,
        seed: int,
        *,
        price: Price[A] | None = None,
        population_size: int = 24,
        tournament_size: int = 4,
    ) -> None:
        self._space = space
        self._seed = seed
        self._population_size = population_size
        self._tournament_size = tournament_size
        self._members: list[Member[A]] = []  # best first

    def propose(self, index: int, attempt: int = 0) -> A:
        rng = generator(self._seed, index, attempt)
        if len(self._members) < self._population_size:
            return self._space.sample(rng)
        child = self._parent(rng)
        if rng.random() < 0.5:
            child = self._space.crossover(child, self._parent(rng), rng)
        for _ in range(1 + attempt // _PATIENCE):
            child = self._space.mutate(child, rng)
        return child

    def _parent(self, rng: np.random.Generator) -> A:
        """The best of a tournament."""
        return self._members[int(rng.integers(len(self._members), size=self._tournament_size).min())].architecture

    def observe(self, architecture: A, values: tuple[float, ...] | None, finished: bool) -> None:
        if values is None or not all(map(math.isfinite, values)) or not self._space.contains(architecture):
            return
        members = [*self._members, Member(architecture, values, finished)]
        self._members = [members[i] for i in preference(members)[: self._population_size]]
