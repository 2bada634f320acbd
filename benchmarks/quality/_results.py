"""Finished trainings as draws: values of arms, paired differences, ranks among random architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality._bundle import RANDOM, Arms
from benchmarks.quality._intervals import Interval, Resamples, averaged, interval
from benchmarks.quality._rows import Row
from nas_ray.measure import above_chance

Array = NDArray[Any]


@dataclass(frozen=True)
class Measure:
    """What is compared."""

    key: str
    title: str
    lower_is_better: bool = False
    digits: int = 3


MEASURES = (
    Measure("loss", "normalised loss", lower_is_better=True, digits=4),
    Measure("cosine", "cosine to the teacher's embedding", digits=4),
    Measure("rank", "rank correlation of pairwise similarities"),
    Measure("movie", "movie sentiment, share of the teacher's accuracy above chance"),
    Measure("question", "question types, share of the teacher's accuracy above chance"),
)
_PROBES = ("movie", "question")


class Results:
    """The rows of one bundle and setting."""

    def __init__(self, arms: Arms, rows: Sequence[Row], resamples: int = 4000) -> None:
        self.arms = arms
        self.rows = {(row["table"], row["model"], row["seed"]): row for row in rows}
        self.resamples = {
            key: Resamples(weights, count=resamples) for key, weights in arms.about["weights"].items()
        }  # the same buckets are drawn for all arms
        self.draws = cache(self._draws)
        self._seed_weights = cache(lambda size, runs: Resamples([1.0], seed=1 + size, count=resamples).seeds(runs))

    def value(self, table: str, measure: Measure, size: int, arm: str) -> float | None:
        """Mean over seeds, or over random architectures; None where nothing is finished."""
        found = self.values(table, measure, size, arm)
        return float(np.mean(found)) if found else None

    def values(self, table: str, measure: Measure, size: int, arm: str) -> list[float]:
        """Of each finished seed or random architecture."""
        return [float(self.draws(table, measure.key, *run)[0]) for run in self.runs(table, size, arm)]

    def difference(self, table: str, measure: Measure, size: int, arm: str, other: str) -> Array | None:
        """Draws of ``arm`` minus ``other`` on the seeds that both have; with random architectures on their seed."""
        mine, theirs = self.runs(table, size, arm), self.runs(table, size, other)
        shared = sorted({seed for _, seed in mine} & {seed for _, seed in theirs})
        if not shared:
            return None
        sides = []
        for runs in (mine, theirs):
            drawn = [self.draws(table, measure.key, *run) for run in runs if run[1] in shared]
            sides.append(averaged(drawn, self._seed_weights(size, len(drawn))))
        difference: Array = sides[0] - sides[1]
        return difference

    def compared(
        self, table: str, measure: Measure, arm: str, other: str
    ) -> tuple[list[Interval | None], Interval | None]:
        """At each size, and pooled over those that are finished."""
        found = [self.difference(table, measure, size, arm, other) for size in range(len(self.arms.sizes))]
        there = [draws for draws in found if draws is not None]
        pooled = interval(np.mean(there, axis=0)) if there else None
        return [None if draws is None else interval(draws) for draws in found], pooled

    def place(self, table: str, measure: Measure, size: int, arm: str) -> tuple[int, int] | None:
        """Place of the arm among the random architectures of its seed, itself counted, and of how many."""
        others = self.runs(table, size, RANDOM)
        mine = [run for run in self.runs(table, size, arm) if others and run[1] == others[0][1]]
        if not mine:
            return None
        value, *rest = (float(self.draws(table, measure.key, *run)[0]) for run in (*mine[:1], *others))
        better = sum(v < value if measure.lower_is_better else v > value for v in rest)
        return better + 1, len(rest) + 1

    def runs(self, table: str, size: int, arm: str) -> list[tuple[str, int]]:
        """Models and seeds of the finished trainings of an arm; of random architectures the first seed's."""
        models = self.arms.of(size, arm)
        found = [(model, seed) for t, model, seed in self.rows if t == table and model in models]
        if arm == RANDOM:
            first = min((seed for _, seed in found), default=0)
            found = [run for run in found if run[1] == first]
        return sorted(found, key=lambda run: run[1])

    def _draws(self, table: str, key: str, model: str, seed: int) -> Array:
        resamples = self.resamples[key]
        found = resamples.means(self.rows[table, model, seed]["parts"][key])
        if key not in _PROBES:
            return found
        teacher = resamples.means(self.rows["", "teacher", 0]["parts"][key])
        by_chance = self.arms.about["chance"][key]
        shares = [above_chance(mine, theirs, by_chance) for mine, theirs in zip(found, teacher, strict=True)]
        return np.array(shares)
