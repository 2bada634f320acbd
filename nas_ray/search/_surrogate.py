"""A model of all results so far, and the candidate of a pool that it expects to move the front most.

The model (``_surrogate_model``) is refitted for every suggestion, its few weights whenever the results have grown by a
third. Costs are exact where tables know them. The pool is sampled, mutated and crossed from the front so far, then
once more mutated from its own best; a further attempt takes the pool's next best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Generic

import numpy as np

from nas_ray.search._encoding import make_encoding
from nas_ray.search._pareto import Floats
from nas_ray.search._population import Member, preference
from nas_ray.search._price import Price, Priced
from nas_ray.search._searcher import A, Space, generator
from nas_ray.search._surrogate_features import Features
from nas_ray.search._surrogate_front import front_levels
from nas_ray.search._surrogate_model import Kernels, Posterior, Weights, likeliest

_SCALE_SAMPLE = 128
_PARENTS = 24  # best results that the pool is bred from
_ELITE = 12  # best of the pool that are mutated once more
_MOST = 640  # results that the model holds
_STRIDE = 64
_DOUBTS = (2.0, 2.0, 2.0, 4.0)  # times the model's own deviation, in turn: else it passes by what it never tried
_MARGIN = 0.1  # of the observed range: how far the reference lies behind the worst


class SurrogateSearcher(Generic[A]):
    """Samples the space for ``num_startup`` results, then takes the best of a pool of ``pool_size``."""

    name = "surrogate"

    def __init__(
        self,
        space: Space[A],
        num_objectives: int,
        seed: int,
        *,
        price: Price[A] | None = None,
        num_startup: int = 12,
        pool_size: int = 256,
    ) -> None:
        self._space, self._seed = space, seed
        self._num_objectives, self._num_startup, self._pool_size = num_objectives, num_startup, pool_size
        self._price = price or (lambda architecture: Priced(architecture, (None,) * num_objectives))
        self._encoding = make_encoding(space)
        self._members: list[Member[A]] = []
        self._seen: set[str] = set()
        self._features: Features | None = None
        self._model = _Model()
        self._ranking: tuple[int, list[A]] | None = None

    def propose(self, index: int, attempt: int = 0) -> A:
        if len(self._members) < self._num_startup:
            return self._space.sample(generator(self._seed, index, attempt))
        if self._ranking is None or self._ranking[0] != index:  # kept for further attempts
            self._ranking = index, self._ranked(index)
        ranking = self._ranking[1]
        if attempt < len(ranking):
            return ranking[attempt]
        return self._space.sample(generator(self._seed, index, attempt))

    def observe(self, architecture: A, values: tuple[float, ...] | None, finished: bool) -> None:
        if not self._space.contains(architecture):
            return
        self._ranking = None
        self._seen.add(architecture.arch_id)
        if values is not None and all(map(math.isfinite, values)):
            self._members.append(Member(architecture, values, finished))

    def _ranked(self, index: int) -> list[A]:
        """A pool of new candidates, best first."""
        rng, doubt = generator(self._seed, index, 0), _DOUBTS[index % len(_DOUBTS)]
        if self._features is None:
            self._features = self._scaled_features()
        held = _held(self._members)
        priced = self._price(held[0].architecture)
        measured = [j for j, value in enumerate(priced.values) if value is None] or [0]
        self._model.fit(self._features, self._price, held, measured)
        parents = [self._members[i].architecture for i in preference(self._members)[:_PARENTS]]
        pool = _Pool(self._price, self._seen)
        third = self._pool_size // 3
        pool.add(self._space.sample(rng) for _ in range(third // 2))
        pool.add(self._bred(parents, rng) for _ in range(self._pool_size - third - third // 2))
        best = [pool.found[i].architecture for i in self._order(pool.found, measured, doubt)[:_ELITE]]
        pool.add(self._space.mutate(best[int(rng.integers(len(best)))], rng) for _ in range(third if best else 0))
        return [pool.found[i].architecture for i in self._order(pool.found, measured, doubt)]

    def _bred(self, parents: list[A], rng: np.random.Generator) -> A:
        """A parent, or two crossed, mutated up to three times."""
        child = parents[int(rng.integers(len(parents)))]
        if rng.random() < 0.4:
            child = self._space.crossover(child, parents[int(rng.integers(len(parents)))], rng)
        for _ in range(int(rng.integers(1, 4))):
            child = self._space.mutate(child, rng)
        return child

    def _order(self, pool: list[Priced[A]], measured: list[int], doubt: float) -> list[int]:
        """Numbers of ``pool``, largest expected improvement first, the model's deviations times ``doubt``."""
        if not pool:
            return []
        assert self._features is not None
        means, deviations = self._model.predict(self._features.rows(pool))
        expected = np.array([[np.nan if v is None else v for v in priced.values] for priced in pool])
        expected[:, measured] = means
        finished = [m.values for m in self._members if m.finished] or [m.values for m in self._members]
        values = np.array(finished)
        everything = np.concatenate((values, expected))
        worst = np.nanmax(np.where(np.isfinite(everything), everything, np.nan), axis=0)
        reference = worst + _MARGIN * (worst - np.nanmin(everything, axis=0))
        uncertain = measured[0]
        levels = front_levels(values, uncertain, reference)
        known = np.delete(expected, uncertain, axis=1)
        gain = levels.improvement(expected[:, uncertain], doubt * deviations[:, 0], known)
        return [int(i) for i in np.argsort(-np.nan_to_num(gain, nan=-np.inf), kind="stable")]

    def _scaled_features(self) -> Features:
        rng = np.random.default_rng([self._seed, _SCALE_SAMPLE])
        return Features(self._encoding, [self._price(self._space.sample(rng)) for _ in range(_SCALE_SAMPLE)])


class _Pool(Generic[A]):
    """New candidates that meet the constraints, each once."""

    def __init__(self, price: Price[A], seen: set[str]) -> None:
        self._price, self._seen = price, set(seen)
        self.found: list[Priced[A]] = []

    def add(self, architectures: Iterable[A]) -> None:
        for architecture in architectures:
            priced = self._price(architecture)
            if priced.architecture.arch_id not in self._seen and priced.violation == 0:
                self._seen.add(priced.architecture.arch_id)
                self.found.append(priced)


class _Model:
    """The regression over the results held; keeps what the next fit can use again."""

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._rows: list[Floats] = []
        self._kernels: Kernels | None = None
        self._weights: tuple[int, Weights] | None = None
        self._posterior: Posterior | None = None

    def fit(self, features: Features, price: Price[A], held: list[Member[A]], measured: list[int]) -> None:
        if self._kernels is None or held[: len(self._held)] != self._held:
            self._kernels, self._weights, self._held = Kernels(features.parts), None, []
            self._rows = []
        if len(held) == len(self._held):
            return
        new = features.rows([price(member.architecture) for member in held[len(self._held) :]])
        self._rows.extend(new)
        self._held = held
        self._kernels.grow(np.array(self._rows))
        values = np.array([member.values for member in held])[:, measured]
        stopped = np.array([not member.finished for member in held])
        count = _milestone(len(held))
        if self._weights is None or self._weights[0] != count:
            self._weights = count, likeliest(self._kernels, values[:count], stopped[:count])
        self._posterior = Posterior(self._kernels, values, stopped, self._weights[1])

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        assert self._posterior is not None
        return self._posterior.predict(rows)


def _held(members: list[Member[A]]) -> list[Member[A]]:
    """All results, or the best of many and the newest; what is left out changes every ``_STRIDE`` results only."""
    if len(members) <= _MOST:
        return list(members)
    old = len(members) - len(members) % _STRIDE
    best = sorted(preference(members[:old])[: _MOST - _STRIDE])
    return [*(members[i] for i in best), *members[old:]]


def _milestone(count: int) -> int:
    """The last of a row of counts, each a third larger, that ``count`` has reached."""
    reached = 4
    while (following := reached + max(2, reached // 3)) <= count:
        reached = following
    return min(reached, count)
