"""What one block worker is and does, and at which steps it pauses training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nas_ray.distill._sampling import Law
from nas_ray.distill._shrink import ShrinkPlan
from nas_ray.space import PathSpace, Start


@dataclass(frozen=True)
class BlockConfig:
    """All that a worker needs to build itself again after a crash; numbers as in the trial spec."""

    block: int
    space: PathSpace
    teacher: str
    checkpoint_dir: Path
    seed: int
    start: Start
    basis: str
    steps: int
    batches: int  # distinct training batches
    paths_per_update: int
    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float
    precision: str
    device: str
    checkpoint_every: int
    cache_bytes: int
    sample_paths: int
    evaluations: int
    ridges: tuple[float, ...]
    tile_tokens: int
    updates: int  # optimizer updates of a step, each on its own part of the batch
    sampling: Law
    rate_exponent: float  # learning rate at a width: that of the spec times (hidden / width) to this power
    select_batches: int | None  # that paths are scored on
    score_precision: str  # of the operations while paths are scored
    score_bytes: int  # of a GPU's memory for prefixes that are extended at once
    replicas: int  # workers that train this block together
    shrink: ShrinkPlan | None
    latencies: Mapping[str, float] = field(default_factory=dict)  # path id → ms, for shrinking
    threads: int | None = None
    rank: int = 0  # of this worker; rank 0 also evaluates, shrinks and writes checkpoints

    def epoch_of(self, step: int) -> int | None:
        """The shrinking epoch that ends with ``step`` steps, if one does."""
        return _parts(self.steps, self.shrink.epochs).get(step) if self.shrink else None

    def evaluates(self, step: int) -> bool:
        """Whether the watched sample is scored after ``step`` steps."""
        return step in _parts(self.steps, self.evaluations)

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is written after ``step`` steps."""
        return step % self.checkpoint_every == 0 or step == self.steps


def _parts(steps: int, count: int) -> dict[int, int]:
    """The steps at which the k-th of ``count`` equal parts of a training ends, with k."""
    return {round(steps * k / count): k for k in range(1, count + 1)}
