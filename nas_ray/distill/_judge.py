"""What a search does with one candidate, rung by rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from nas_ray.blocks import PathStudent
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText, stitched_training
from nas_ray.measure import CandidateEvaluator, Errors, EvaluatorConfig
from nas_ray.space import Rung


class Judged(Protocol):
    """A candidate under judgement."""

    def loss(self, rung_index: int) -> float:
        """The loss at a rung."""


class AnyJudge(Protocol):
    """Judges candidates, one at a time: those of path spaces by ``Judge``, plain encoders by ``UniformJudge``, given
    models on tasks by ``FinetuneJudge``."""

    def begin(self, assignment: Assignment) -> Judged:
        """The candidate, not yet assembled."""


@runtime_checkable
class DocumentJudge(AnyJudge, Protocol):
    """One that is asked for the errors of test documents too."""

    def document_errors(self, assignment: Assignment) -> Errors:
        """Errors of every test document, of the candidate as the last rung leaves it."""


class AnyJudgeConfig(Protocol):
    """How to build a judge anywhere; configurations of one ``key`` judge alike from the same arrays."""

    @property
    def key(self) -> str: ...

    @property
    def ladder(self) -> tuple[Rung, ...]: ...

    @property
    def device(self) -> str:
        """What a trial computes on."""

    def build(self, arrays: Sequence[Mapping[str, Any]], text: TrainingText | None) -> AnyJudge:
        """The judge, from published arrays and, to train, the training text."""


@dataclass(frozen=True)
class JudgeConfig:
    """How to build a judge anywhere; ``select_batches`` are those that distilled students are judged on."""

    evaluator: EvaluatorConfig
    ladder: tuple[Rung, ...]
    select_batches: int
    distill: DistillPlan | None = None

    @property
    def key(self) -> str:
        """Equal for configurations that judge alike from the same arrays."""
        return f"{self.evaluator.key} {self.ladder} {self.distill}"

    @property
    def device(self) -> str:
        """Stitched students are judged on the CPU."""
        return "cpu"

    def build(self, arrays: Sequence[Mapping[str, Any]], text: TrainingText | None) -> Judge:
        """The judge over the blocks' arrays; a benchmark's subclass has one that looks losses up."""
        return Judge(self, arrays, text)


@dataclass(frozen=True)
class Assignment:
    """A candidate to judge: its id, its architecture, and hyperparameters of its own."""

    candidate_id: str
    arch_id: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


class Judge:
    """Judges candidates, one at a time, from the blocks' published arrays and, to distil, the training text."""

    def __init__(
        self, config: JudgeConfig, blocks: Sequence[Mapping[str, Any]], text: TrainingText | None = None
    ) -> None:
        self.config, self.text = config, text
        self.evaluator = CandidateEvaluator(config.evaluator, blocks)

    def begin(self, assignment: Assignment) -> JudgedCandidate:
        """The candidate, not yet assembled."""
        return JudgedCandidate(self, assignment)

    def document_errors(self, assignment: Assignment) -> Errors:
        """Squared error and tokens of every test document, of the candidate as the last rung leaves it."""
        return self.evaluator.document_errors(self.begin(assignment).finished())


@dataclass
class JudgedCandidate:
    """A candidate under judgement."""

    judge: Judge
    assignment: Assignment

    @cached_property
    def stitched(self) -> PathStudent:
        """The student from supernet weights."""
        return self.judge.evaluator.assemble(self.assignment.arch_id)

    def loss(self, rung_index: int) -> float:
        """The loss at a rung."""
        config, evaluator = self.judge.config, self.judge.evaluator
        rung = config.ladder[rung_index]
        if rung.kind == "blocks":
            return evaluator.block_loss(self.assignment.arch_id, rung.budget)
        if rung.kind == "stitched":
            return evaluator.loss(self.stitched, rung.budget)
        return evaluator.loss(self._trained(rung.budget), config.select_batches)

    def finished(self) -> PathStudent:
        """The student as the last rung leaves it."""
        last = self.judge.config.ladder[-1]
        return self._trained(last.budget) if last.kind == "distilled" else self.stitched

    def _trained(self, steps: int) -> PathStudent:
        """The student after ``steps`` steps; the teacher has nothing to learn from itself."""
        evaluator = self.judge.evaluator
        if evaluator.stitcher.is_teacher(evaluator.architecture(self.assignment.arch_id)):
            return self.stitched
        student, training = self._training
        training.advance(steps)
        return student

    @cached_property
    def _training(self) -> tuple[PathStudent, StudentTraining]:
        plan, text, stitcher = self.judge.config.distill, self.judge.text, self.judge.evaluator.stitcher
        assert plan is not None, "a ladder with distillation comes with a plan"
        assert text is not None, "and with text"
        plan = plan.of(self.assignment.hyperparameters)
        name = self.assignment.candidate_id
        return stitched_training(self.stitched, stitcher.teacher, stitcher.variance, text, plan, name)
