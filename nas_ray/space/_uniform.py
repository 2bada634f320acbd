"""``kind: uniform``: plain encoders by depth, heads, hidden and intermediate size (Bort)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from nas_ray.space._architecture import UniformArchitecture

_FIELDS = ("depth", "heads", "hidden", "intermediate")


@dataclass(frozen=True)
class UniformSpace:
    """A grid of encoders; tuples whose hidden size the heads do not divide are left out."""

    name: str
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    hiddens: tuple[int, ...]
    intermediates: tuple[int, ...]

    kind = "uniform"

    @property
    def num_tuples(self) -> int:
        """All tuples of the grid, invalid ones included (360 in the paper)."""
        return len(self.depths) * len(self.heads) * len(self.hiddens) * len(self.intermediates)

    @cached_property
    def architectures(self) -> tuple[UniformArchitecture, ...]:
        """The valid tuples (300 in the paper)."""
        grid = product(self.depths, self.heads, self.hiddens, self.intermediates)
        return tuple(UniformArchitecture(*point) for point in grid if point[2] % point[1] == 0)

    @property
    def num_architectures(self) -> int:
        return len(self.architectures)

    def contains(self, architecture: UniformArchitecture) -> bool:
        """Whether ``architecture`` is a valid tuple of the grid."""
        return architecture in self.architectures

    def sample(self, rng: np.random.Generator) -> UniformArchitecture:
        """Uniform over the valid tuples."""
        return self.architectures[int(rng.integers(len(self.architectures)))]

    def mutate(self, architecture: UniformArchitecture, rng: np.random.Generator) -> UniformArchitecture:
        """A valid tuple that differs in one size, or a fresh sample where there is none."""
        near = [a for a in self.architectures if _distance(a, architecture) == 1]
        return near[int(rng.integers(len(near)))] if near else self.sample(rng)

    def crossover(
        self, a: UniformArchitecture, b: UniformArchitecture, rng: np.random.Generator
    ) -> UniformArchitecture:
        """Each size from one of the two parents; the first parent where the mixture is not valid."""
        pick = rng.integers(2, size=len(_FIELDS))
        child = UniformArchitecture(*(getattr((a, b)[k], f) for f, k in zip(_FIELDS, pick, strict=True)))
        return child if self.contains(child) else a


def _distance(a: UniformArchitecture, b: UniformArchitecture) -> int:
    return sum(getattr(a, field) != getattr(b, field) for field in _FIELDS)
