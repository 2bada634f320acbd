"""What students start from: the teacher's weights for all, or none for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality._bundle import Bundle, Model
from nas_ray.blocks import PathStudent
from nas_ray.distill import BlockConfig, inherited_arrays
from nas_ray.measure import Stitcher
from nas_ray.space import OperationChoice, PathSpace, parse_architecture, teacher_path
from nas_ray.student import path_config, scale_as, stitched_model, untrained_model
from nas_ray.teacher import Teacher, TeacherBlock, TeacherSource, load_teacher

_SEQUENCES = 8  # of a batch of calibration text


@dataclass
class Starts:
    """Untrained models of a bundle's architectures; every model speaks the teacher's hidden space at its end."""

    bundle: Bundle

    def make(self, table: str, model: Model, seed: int) -> Any:
        """The model as training finds it. From scratch it has the same parts, maps at the seams included, and where it
        ends in none its last layer norm has the teacher's gain and bias."""
        if table == "teacher":
            return self._copied(model) if model.layers else self._stitched(model)
        if model.layers:
            return self._scaled(untrained_model(self._copied(model).config, seed))
        space = self.space
        frozen = teacher_path(self.teacher.shape, space.num_blocks, space.head_size)
        architecture = parse_architecture(model.arch, space.head_size)
        config = path_config(architecture, self.teacher, "inherit", frozen, space.head_size)
        return self._scaled(untrained_model(config, seed))

    @cached_property
    def space(self) -> PathSpace:
        """That of the run."""
        found = dict(self.bundle.arms.about["space"])
        choices = [
            OperationChoice(**{**choice, "head_fraction": Fraction(choice["head_fraction"])})
            for choice in found.pop("choices")
        ]
        for name in ("widths", "embedding_sizes"):
            found[name] = tuple(found[name])
        return PathSpace(choices=tuple(choices), **found)

    @cached_property
    def teacher(self) -> Teacher:
        """In blocks."""
        return load_teacher(TeacherSource(self.bundle.teacher), self.space.num_blocks)

    def _scaled(self, model: Any) -> Any:
        scale_as(model, self.teacher)
        return model

    def _copied(self, model: Model) -> Any:
        layers = [layer for block in self.teacher.blocks for layer in block.layers]
        assert model.layers is not None, "a copy of layers"
        kept = TeacherBlock([layers[number] for number in model.layers], self.teacher.config)
        return stitched_model(PathStudent(self.teacher.embedding, [kept]), self.teacher, "inherit", model.arch)

    def _stitched(self, model: Model) -> Any:
        student = self.stitcher.assemble(parse_architecture(model.arch, self.space.head_size))
        return stitched_model(student, self.teacher, "inherit", model.arch)

    @cached_property
    def stitcher(self) -> Stitcher:
        """Over supernets that have inherited from the teacher and are not trained."""
        rows = self.bundle.arrays["calibration.rows"].astype(np.int64)
        batches = _Rows(rows)
        ridges = tuple(self.bundle.arms.about["ridges"])
        configs = [self._config(block, ridges) for block in range(self.space.num_blocks)]
        # Only *calibrate* counts; what is scored meanwhile is not used.
        counts = {"calibrate": batches.count, "select": 1, "test": 1}
        published = inherited_arrays(configs, batches, counts)  # type: ignore[arg-type]
        return Stitcher(self.space, "inherit", self.teacher, published, ridges)

    def _config(self, block: int, ridges: Sequence[float]) -> BlockConfig:
        return BlockConfig(
            block=block, space=self.space, teacher=self.bundle.teacher, checkpoint_dir=Path(),
            seed=0, start="inherit", basis="pca", steps=1, batches=1, paths_per_update=1, learning_rate=1e-3,
            warmup=0.0, weight_decay=0.0, clip=1.0, precision="fp32", device="cpu", checkpoint_every=1, cache_bytes=0,
            sample_paths=1, evaluations=1, ridges=tuple(ridges), tile_tokens=1024, updates=1, sampling="paths",
            rate_exponent=1.0, select_batches=None, score_precision="fp32", score_bytes=0, replicas=1, shrink=None,
        )  # fmt: skip


@dataclass(frozen=True)
class _Batch:
    ids: NDArray[np.int64]
    mask: None = None


@dataclass(frozen=True)
class _Rows:
    """Packed rows as batches, the same in every split."""

    rows: NDArray[np.int64]

    @property
    def count(self) -> int:
        return len(self.rows) // _SEQUENCES

    def batch(self, _split: str, index: int) -> _Batch:
        return _Batch(self.rows[index * _SEQUENCES : (index + 1) * _SEQUENCES])
