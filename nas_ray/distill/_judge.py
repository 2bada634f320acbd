"""What a search does with one candidate, rung by rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas_ray.blocks import PathStudent
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText
from nas_ray.measure import CandidateEvaluator, EvaluatorConfig
from nas_ray.space import Rung


@dataclass(frozen=True)
class JudgeConfig:
    """How to build a judge anywhere; ``select_batches`` are those that distilled students are judged on."""

    evaluator: EvaluatorConfig
    ladder: tuple[Rung, ...]
    select_batches: int
    distill: DistillPlan | None = None

    def build(self, blocks: Sequence[Mapping[str, Any]], text: TrainingText | None) -> Judge:
        """The judge; a benchmark's subclass has one that looks losses up."""
        return Judge(self, blocks, text)


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

    def document_errors(self, assignment: Assignment) -> dict[int, tuple[float, int]]:
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
        self._training.advance(steps)
        return self._training.student

    @cached_property
    def _training(self) -> StudentTraining:
        plan, text, stitcher = self.judge.config.distill, self.judge.text, self.judge.evaluator.stitcher
        assert plan is not None, "a ladder with distillation comes with a plan"
        assert text is not None, "and with text"
        plan = plan.of(self.assignment.hyperparameters)
        name = self.assignment.candidate_id
        return StudentTraining(self.stitched, stitcher.teacher, stitcher.variance, text, plan, name)
