"""Settings of a block for tests: every field that the trial spec would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_ray.distill import BlockConfig, ShrinkPlan
from nas_ray.space import PathSpace

_BLOCK: dict[str, Any] = {
    "seed": 1,
    "start": "inherit",
    "basis": "pca",
    "steps": 9,
    "batches": 4,
    "updates": 1,
    "paths_per_update": 2,
    "sampling": "depths",
    "learning_rate": 2e-3,
    "rate_exponent": 1.0,
    "warmup": 0.1,
    "weight_decay": 0.01,
    "clip": 1.0,
    "precision": "fp32",
    "device": "cpu",
    "replicas": 1,
    "checkpoint_every": 3,
    "cache_bytes": 10**7,
    "sample_paths": 6,
    "evaluations": 3,
    "ridges": (1e-3, 1e-1),
    "tile_tokens": 128,
    "select_batches": None,
    "score_precision": "fp32",
    "score_bytes": 10**9,
    "shrink": None,
}


def block_configs(space: PathSpace, teacher: Path, folder: Path, **changes: Any) -> list[BlockConfig]:
    """Configurations of all blocks, which write below ``folder``."""
    fields = {"space": space, "teacher": str(teacher), **_BLOCK, **changes}
    return [BlockConfig(block=b, checkpoint_dir=folder / f"block-{b}", **fields) for b in range(space.num_blocks)]


def shrink_plan(*sizes: int, **changes: Any) -> ShrinkPlan:
    """A plan by paths; ``sizes`` are bins, epochs and warm epochs."""
    given = dict(zip(("bins", "epochs", "warm_epochs"), sizes, strict=False))
    return ShrinkPlan(**{"mode": "paths", "latency": "at_most", "batches": None, "stop": False, **given, **changes})
