"""Given architectures, each trained with several hyperparameter sets, which Optuna's TPE suggests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic

import numpy as np

from nas_ray.search._searcher import A, generator
from nas_ray.search._spaces import DimensionSpace, Joint, Point

if TYPE_CHECKING:
    from nas_ray.search._tpe import TpeSearcher

_STARTUP = 8  # random sets before TPE has something to go by
_LISTABLE = 15  # points that the attempts at one suggestion can try in turn


class SetSpace(Generic[A]):
    """Each of ``architectures`` with every point of ``points``."""

    def __init__(self, architectures: Sequence[A], points: DimensionSpace) -> None:
        self.architectures, self.points = tuple(architectures), points

    def contains(self, architecture: Joint[A]) -> bool:
        return architecture.architecture in self.architectures and self.points.contains(architecture.point)

    def sample(self, rng: np.random.Generator) -> Joint[A]:
        return Joint(self.architectures[int(rng.integers(len(self.architectures)))], self.points.sample(rng))

    def mutate(self, architecture: Joint[A], rng: np.random.Generator) -> Joint[A]:
        return Joint(architecture.architecture, self.points.mutate(architecture.point, rng))

    def crossover(self, a: Joint[A], b: Joint[A], rng: np.random.Generator) -> Joint[A]:
        return Joint(a.architecture, self.points.crossover(a.point, b.point, rng))

    def members(self, most: int) -> Iterator[Joint[A]]:
        """Every member, where there are at most ``most`` points and they can be listed."""
        points = list(self.points.members(most))
        yield from (Joint(architecture, point) for architecture in self.architectures for point in points)


class SetSearcher(Generic[A]):
    """Suggestion i is architecture i mod n, with ``middle`` in the first round.

    Where the points can be listed, later attempts walk down the list in an order of their own, so that an architecture
    gets a point that is new to it. Larger architectures have smaller errors, so a set is judged by how much worse it is
    than the best of its own architecture so far. Suggestions are a function of (seed, i, history), as those of every
    searcher.
    """

    name = "tpe"

    def __init__(self, space: SetSpace[A], middle: Point, seed: int) -> None:
        self._space, self._middle, self._seed = space, middle, seed
        self._listed = list(space.points.members(_LISTABLE))
        self._results: list[tuple[Joint[A], float | None, bool]] = []

    def propose(self, index: int, attempt: int = 0) -> Joint[A]:
        architectures = self._space.architectures
        architecture = architectures[index % len(architectures)]
        if index < len(architectures) and attempt == 0:
            return Joint(architecture, self._middle)
        if attempt and self._listed:
            order = generator(self._seed, index, 0).permutation(len(self._listed))
            return Joint(architecture, self._listed[order[(attempt - 1) % len(order)]])
        return Joint(architecture, self._tpe().propose(index, attempt))

    def observe(self, architecture: Joint[A], values: tuple[float, ...] | None, finished: bool) -> None:
        if self._space.contains(architecture):
            self._results.append((architecture, None if values is None else values[0], finished))

    def _tpe(self) -> TpeSearcher[Point]:
        from nas_ray.search._tpe import TpeSearcher

        found: TpeSearcher[Point] = TpeSearcher(self._space.points, 1, self._seed, num_startup=_STARTUP)
        least: dict[str, float] = {}
        for result, value, _ in self._results:
            if value is not None and value > 0:
                least[result.architecture.arch_id] = min(value, least.get(result.architecture.arch_id, value))
        for result, value, finished in self._results:
            best = least.get(result.architecture.arch_id)
            ratio = None if value is None or best is None else (value / best,)
            found.observe(result.point, ratio, finished)
        return found
