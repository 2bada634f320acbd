"""All costs of an architecture from its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path as FilePath

from nas_ray.errors import TableError
from nas_ray.space import (
    Architecture,
    Boundary,
    Path,
    PathSpace,
    Start,
    TeacherShape,
    all_parts,
    embedding_boundary,
    map_part,
    part_params,
    parts,
    path_boundary,
    teacher_path,
)
from nas_ray.tables._parts import PartTable

COST_METRICS = ("encoder_params", "params", "latency_ms", "flops")


def params_table(space: PathSpace, shape: TeacherShape) -> PartTable:
    """Exact weights of every part, in closed form."""
    values = {part: float(part_params(part, shape, space.head_size)) for part in all_parts(space, shape)}
    return PartTable("params", "weights", values, metadata={"teacher": asdict(shape)})


@dataclass(frozen=True)
class Costs:
    """Costs of architectures of one space under one teacher on one device."""

    space: PathSpace
    shape: TeacherShape
    start: Start
    params: PartTable
    flops: PartTable
    latency: PartTable

    @classmethod
    def read(cls, folder: FilePath, space: PathSpace, start: Start) -> Costs:
        """The three tables in ``folder``; the teacher's sizes stand in that of parameters.

        Raises:
            TableError: one is missing or damaged, or of a version that did not keep the sizes.
        """
        params, flops, latency = (PartTable.read(folder / f"{name}.parquet") for name in ("params", "flops", "latency"))
        if "teacher" not in params.metadata:
            raise TableError(f"{folder}/params.parquet: of an older version; `nas-ray resume RUN --from profile`.")
        return cls(space, TeacherShape(**params.metadata["teacher"]), start, params, flops, latency)

    @cached_property
    def frozen(self) -> Path | None:
        """The path that copies the teacher."""
        return teacher_path(self.shape, self.space.num_blocks, self.space.head_size)

    def parts(self, architecture: Architecture) -> tuple[str, ...]:
        """The parts of the student of ``architecture``."""
        return parts(architecture, self.shape, self.start, self.frozen)

    def of(self, architecture: Architecture) -> dict[str, float]:
        """``encoder_params``, ``params``, ``latency_ms`` (batch of the table's key) and ``flops`` of one sequence."""
        found = self.parts(architecture)
        return {
            "encoder_params": self.params.total(encoder_parts(found)),
            "params": self.params.total(found),
            "latency_ms": self.latency.total(found),
            "flops": self.flops.total(found),
        }

    def additive(self, names: Sequence[str], metric: str) -> float:
        """The part of ``metric`` that ``names`` add; the latency's intercept is left out."""
        if metric == "encoder_params":
            return self.params.total(encoder_parts(names))
        table = {"params": self.params, "latency_ms": self.latency, "flops": self.flops}[metric]
        return table.slope * sum(table.part(name) for name in names)

    def offset(self, metric: str) -> float:
        """What a whole model costs beside its parts."""
        return self.latency.intercept if metric == "latency_ms" else 0.0

    def path_boundary(self, path: Path) -> Boundary:
        """The seams of a block's path."""
        return path_boundary(path, self.frozen, self.start)

    def embedding_boundary(self, size: int) -> Boundary:
        """The seam behind an embedding."""
        return embedding_boundary(size, self.shape)

    def seam(self, before: Boundary, after: Boundary | None) -> tuple[str, ...]:
        """The map at a seam, if it needs one."""
        part = map_part(before, after, self.shape, self.start)
        return () if part is None else (part,)


def encoder_parts(names: Sequence[str]) -> tuple[str, ...]:
    """The parts that ``encoder_params`` counts: all but the embedding."""
    return tuple(name for name in names if not name.startswith("embedding:"))
