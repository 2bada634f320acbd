"""Small spaces with made-up additive losses and costs, shared by the tests of this folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np

from nas_ray.search import (
    Categorical,
    DimensionSpace,
    Float,
    Integer,
    Joint,
    JointSpace,
    Objective,
    Point,
    When,
    make_searcher,
    minimised,
)
from nas_ray.space import Architecture, EmbeddingRule, OperationChoice, PathSpace, UniformSpace

ATTENTION, FEED_FORWARD = OperationChoice("attention"), OperationChoice("feed_forward")
CONVS = tuple(OperationChoice("separable_conv", kernel=kernel) for kernel in (3, 5, 7))
OBJECTIVES = (Objective("loss"), Objective("params"))
SEARCHERS = ("evolution", "nsga2", "random", "surrogate", "tpe")

TINY = PathSpace("tiny", 2, 1, (32, 64), 32, (ATTENTION, FEED_FORWARD), (32, 64))
SMALL = PathSpace("small", 2, 3, (64, 128), 64, (ATTENTION, FEED_FORWARD, CONVS[0]), (64, 128))
QUICKSTART = PathSpace(
    "quickstart",
    num_blocks=3,
    num_layers=4,
    widths=(128, 192, 256, 384),
    head_size=32,
    choices=(ATTENTION, OperationChoice("attention", head_fraction=Fraction(1, 2)), FEED_FORWARD, *CONVS),
    embedding_sizes=(128, 256, 384),
    alternate=True,
)
RESTRICTED = SMALL.restrict([frozenset(p.path_id for p in SMALL.paths[b::3]) for b in range(2)])
UNIFORM = UniformSpace("uniform", (2, 4, 6), (2, 4, 8, 12), (128, 256, 384, 512), (256, 512, 1024))
TRAINING = DimensionSpace((Float("rate", 1e-4, 1e-1, log=True), Integer("batch", 8, 128, log=True)))
MIXED = JointSpace(SMALL, TRAINING)
KERNELS = DimensionSpace(
    (
        Categorical("kernel", ("linear", "rbf", "poly")),
        Float("penalty", 1e-3, 1e3, log=True),
        Float("gamma", 1e-4, 10.0, log=True, when=When("kernel", ("rbf", "poly"))),
        Integer("degree", 2, 5, when=When("kernel", ("poly",))),
        Categorical("features", (8, 32, 64, 512), ordered=True),
    )
)


@dataclass(frozen=True)
class Bits:
    """A candidate of a space that shares no code with this package."""

    bits: str

    @property
    def arch_id(self) -> str:
        return self.bits


class BitSpace:
    """Words of ten bits, not all 0."""

    dimensions = tuple(Categorical(f"bit{i}", (0, 1), group="word") for i in range(10))

    def contains(self, architecture: Any) -> bool:
        return isinstance(architecture, Bits) and len(architecture.bits) == 10 and "1" in architecture.bits

    def sample(self, rng: np.random.Generator) -> Bits:
        return self._made(str(bit) for bit in rng.integers(2, size=10))

    def mutate(self, architecture: Bits, rng: np.random.Generator) -> Bits:
        at = int(rng.integers(10))
        return self._made("10"[int(bit)] if i == at else bit for i, bit in enumerate(architecture.bits))

    def crossover(self, a: Bits, b: Bits, rng: np.random.Generator) -> Bits:
        cut = int(rng.integers(10))
        return self._made(a.bits[:cut] + b.bits[cut:])

    def encode(self, architecture: Bits) -> dict[str, int]:
        return {f"bit{i}": int(bit) for i, bit in enumerate(architecture.bits)}

    def decode(self, values: Mapping[str, Any]) -> Bits:
        return self._made(str(values[f"bit{i}"]) for i in range(10))

    def members(self, most: int) -> Iterator[Bits]:
        yield from (Bits("".join(word)) for word in product("01", repeat=10) if "1" in word)

    def _made(self, bits: Any) -> Bits:
        return Bits(word if "1" in (word := "".join(bits)) else "1" + word[1:])


SPACES: dict[str, Any] = {
    "bits": BitSpace(),
    "kernels": KERNELS,
    "mixed": MIXED,
    "quickstart": QUICKSTART,
    "restricted": RESTRICTED,
    "small": SMALL,
    "uniform": UNIFORM,
}
RULED = PathSpace(
    "ruled",
    num_blocks=2,
    num_layers=2,
    widths=(64, 128),
    head_size=64,
    choices=(ATTENTION, FEED_FORWARD),
    embedding_sizes=(32, 64, 128),
    embedding_rule=EmbeddingRule(((40_000, 32), (170_000, 64)), 128),
)

_GAINS = {"attention": 1.0, "feed_forward": 0.8, "separable_conv": 0.4}


def costs(architecture: Any) -> dict[str, float]:
    """Parameters; maps wherever widths differ."""
    if isinstance(architecture, Bits):
        total = sum((i + 3) * int(bit) for i, bit in enumerate(architecture.bits))
        return {"encoder_params": total, "params": total}
    if isinstance(architecture, Point):
        total = 10 * int(architecture["features"])
        return {"encoder_params": total, "params": total}
    if isinstance(architecture, Joint):
        return costs(architecture.architecture)
    if not isinstance(architecture, Architecture):
        a = architecture
        layer = 4 * a.hidden**2 + 2 * a.hidden * a.intermediate
        return {"encoder_params": a.depth * layer, "params": a.depth * layer + 1000 * a.hidden}
    widths = [architecture.embedding_size, *(path.width for path in architecture.paths)]
    maps = sum(a * b + b for a, b in pairwise(widths) if a != b)
    encoder = maps + sum(path.num_params() for path in architecture.paths)
    return {"encoder_params": encoder, "params": encoder + 1000 * architecture.embedding_size}


def loss(architecture: Any) -> float:
    """Additive over the blocks; falls with width and with every operation, less where a kind is repeated."""
    if isinstance(architecture, Bits):
        return 5.0 - len(architecture.bits.strip("0")) / 4 - architecture.bits.count("11") / 3
    if isinstance(architecture, Point):
        bend = abs(math.log10(float(dict(architecture.items).get("gamma", 10.0))) + 2)
        return 1 + 20 / float(architecture["features"]) + bend + abs(math.log10(float(architecture["penalty"])))
    if isinstance(architecture, Joint):
        point = architecture.point
        return loss(architecture.architecture) + abs(math.log10(float(point["rate"])) + 2) + int(point["batch"]) / 256
    if not isinstance(architecture, Architecture):
        a = architecture
        return 8 / a.depth + 300 / a.hidden + 200 / a.intermediate + abs(math.log2(a.hidden / a.heads / 64))
    total = 30 / architecture.embedding_size
    for block, path in enumerate(architecture.paths):
        gain, before = 0.0, None
        for operation in path.operations:
            gain += _GAINS[operation.kind] * (0.2 if operation.kind == before else 1.0)
            before = operation.kind
        total += (1 + 0.3 * block) * math.exp(-0.6 * gain * math.sqrt(path.width / 384))
    return total


def measured(architecture: Any) -> tuple[float, ...]:
    """The minimised objective values."""
    return minimised(OBJECTIVES, {"loss": loss(architecture), **costs(architecture)})


def suggestions(name: str, space_name: str, seed: int, count: int) -> list[str]:
    """The arch_ids that a searcher suggests when it is told every result; some are stopped, some fail."""
    space = SPACES[space_name]
    searcher = make_searcher(name, space, 2, seed, SMALL_OPTIONS[name])
    found = []
    for index in range(count):
        architecture = searcher.propose(index)
        values = None if index % 7 == 6 else measured(architecture)
        searcher.observe(architecture, values, finished=index % 3 != 2)
        found.append(architecture.arch_id)
    return found


SMALL_OPTIONS: dict[str, dict[str, int]] = {
    "evolution": {"population_size": 8, "tournament_size": 3},
    "nsga2": {"population_size": 8},
    "random": {},
    "surrogate": {"num_startup": 8, "pool_size": 24},
    "tpe": {"num_startup": 8, "num_samples": 16},
}
