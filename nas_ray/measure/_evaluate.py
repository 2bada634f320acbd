"""What a trial does with one candidate: assemble it, measure its losses, its errors by test document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nas_ray.blocks import PathStudent
from nas_ray.measure._documents import Errors
from nas_ray.measure._stitch import Stitcher
from nas_ray.space import Architecture, PathSpace, Start, parse_architecture
from nas_ray.teacher import load_teacher, resolve_teacher


@dataclass(frozen=True)
class EvaluatorConfig:
    """How to build an evaluator anywhere; ``key`` names the run."""

    key: str
    space: PathSpace
    start: Start
    teacher: str
    ridges: tuple[float, ...]
    batch_sequences: int
    test_documents: NDArray[Any]


class CandidateEvaluator:
    """Scores candidates by ``arch_id``, from the blocks' published arrays."""

    def __init__(self, config: EvaluatorConfig, blocks: Sequence[Mapping[str, Any]]) -> None:
        self.config = config
        teacher = load_teacher(resolve_teacher(config.teacher), config.space.num_blocks)
        self.stitcher = Stitcher(config.space, config.start, teacher, blocks, config.ridges)

    def architecture(self, arch_id: str) -> Architecture:
        """The architecture that ``arch_id`` names."""
        return parse_architecture(arch_id, self.config.space.head_size)

    def assemble(self, arch_id: str) -> PathStudent:
        """The stitched student."""
        return self.stitcher.assemble(self.architecture(arch_id))

    def block_loss(self, arch_id: str, budget: int) -> float:
        """Sum of the normalised block losses on the first ``budget`` selection batches."""
        return self.stitcher.block_loss(self.architecture(arch_id), budget * self.config.batch_sequences)

    def loss(self, student: PathStudent, budget: int) -> float:
        """Normalised end-to-end loss on the first ``budget`` selection batches."""
        error, count = self.stitcher.loss(student, 0, budget, self.config.batch_sequences)
        return error / count / self.stitcher.variance

    def document_errors(self, student: PathStudent) -> Errors:
        """Normalised squared error and tokens of every document of the test split."""
        return self.stitcher.document_errors(student, self.config.test_documents)
