"""How much is trained: for a CPU, for a GPU, and to try the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results" / "quality"
TABLES = ("teacher", "scratch")  # what students start from
_RATES = {"teacher": 1e-3, "scratch": 5e-4}  # docs/benchmarks.md says why


@dataclass(frozen=True)
class Setting:
    """What all arms share."""

    name: str
    tokens: int  # that each student is trained on, to the next whole step
    seeds: tuple[int, ...]  # of data order and initialisation; random architectures have the first only
    sequences: int  # a step
    rates: Mapping[str, float]  # learning rates by what students start from
    randoms: int = 10  # at each size
    sizes: int = 4  # the smallest so many
    device: str = "cpu"
    threads: int = 1  # a worker
    cache_bytes: int = 2_000_000_000  # of the teacher's outputs

    @property
    def file(self) -> Path:
        """The rows of finished trainings."""
        return RESULTS / f"{self.name}.jsonl"


SETTINGS: dict[str, Setting] = {
    "cpu": Setting("cpu", 500_000, (0, 1, 2), 32, _RATES),
    "gpu": Setting(
        "gpu", 50_000_000, (0, 1, 2, 3, 4), 512, _RATES, device="cuda", threads=8, cache_bytes=40_000_000_000
    ),
    "trial": Setting("trial", 5_000, (0,), 32, _RATES, randoms=1, sizes=2),
}
