"""Block-wise distillation: the training loop, sampling, shrinking, block workers and how they are driven."""

from nas_ray.distill._pipeline import Blocks, LocalBlocks, prepare, settled, train
from nas_ray.distill._sampling import step_paths, stratified_sample
from nas_ray.distill._shrink import ShrinkPlan, path_bins, shrink_once
from nas_ray.distill._store import Checkpoints
from nas_ray.distill._trainer import Schedule, Trainer, has_native_bf16, normalised_mse
from nas_ray.distill._worker import BlockConfig, BlockWorker

__all__ = [
    "BlockConfig",
    "BlockWorker",
    "Blocks",
    "Checkpoints",
    "LocalBlocks",
    "Schedule",
    "ShrinkPlan",
    "Trainer",
    "has_native_bf16",
    "normalised_mse",
    "path_bins",
    "prepare",
    "settled",
    "shrink_once",
    "step_paths",
    "stratified_sample",
    "train",
]
