"""What an extraction does with one candidate: a plain encoder trained for a few steps, judged rung by rung."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_ray.blocks import UniformInheritance, UniformStudent, build_uniform, uniform_config
from nas_ray.distill._judge import Assignment
from nas_ray.distill._measures import Batch, Evaluation, HiddenStateError, Measure, PredictionError
from nas_ray.distill._outputs import Outputs, outputs_of
from nas_ray.distill._start import teacher_inheritance
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText
from nas_ray.measure import Errors, errors_by_document
from nas_ray.modeling import Numerics
from nas_ray.space import Rung, parse_uniform

_SEQUENCES = 16  # that the fits of inherited weights see


@dataclass(frozen=True)
class UniformJudgeConfig:
    """How to build a judge anywhere; ``name`` is the run's, ``mask_id`` below 0 where inputs are plain."""

    name: str
    ladder: tuple[Rung, ...]
    plan: DistillPlan
    vocab_size: int
    num_positions: int
    numerics: Numerics
    ridges: tuple[float, ...]
    mask_id: int
    test_documents: NDArray[Any]
    outputs: Outputs
    group: int  # sequences that the maximum point reads at a time
    teacher: str | None = None
    """Where students start from; from scratch if None."""

    @property
    def key(self) -> str:
        """Equal for configurations that judge alike from the same arrays."""
        return f"{self.name} {self.ladder} {self.plan}"

    @property
    def device(self) -> str:
        """Where students are trained."""
        return self.plan.device

    def build(self, arrays: Sequence[Mapping[str, Any]], text: TrainingText | None) -> UniformJudge:
        """The judge, from the one set of evaluation arrays."""
        assert text is not None, "plain students are always trained"
        return UniformJudge(self, arrays[0], text)


class UniformJudge:
    """Judges candidates, one at a time."""

    def __init__(self, config: UniformJudgeConfig, arrays: Mapping[str, Any], text: TrainingText) -> None:
        self.config, self.text = config, text
        evaluation, decoder = Evaluation(arrays, config.device), arrays["decoder"]
        self.measure: Measure = (
            HiddenStateError(evaluation, config.ridges)
            if decoder is None
            else PredictionError(evaluation, decoder, config.mask_id)
        )
        self._calibration = evaluation.ids["calibrate"][:_SEQUENCES], evaluation.masks["calibrate"]

    @cached_property
    def inheritance(self) -> UniformInheritance | None:
        """What students start from, on a few sequences of *calibrate*; None from scratch."""
        if self.config.teacher is None:
            return None
        ids, mask = (None if found is None else found.cpu() for found in self._calibration)
        assert ids is not None
        seen = None if mask is None else mask[: len(ids)]
        return teacher_inheritance(self.config.teacher, self.config.numerics, ids, seen)

    def begin(self, assignment: Assignment) -> UniformCandidate:
        """The candidate, not yet built."""
        return UniformCandidate(self, assignment)

    def document_errors(self, assignment: Assignment) -> Errors:
        """Summed error and number of tokens of every test document, of the student as the last rung leaves it."""
        student, head = self.begin(assignment).trained(self.config.ladder[-1].budget)
        errors, there = self.measure.token_errors(student, head, "test")
        return errors_by_document(errors, np.where(there, self.config.test_documents, -1))


class _Trained(NamedTuple):
    student: UniformStudent
    head: nn.Module
    training: StudentTraining


@dataclass
class UniformCandidate:
    """A candidate under judgement."""

    judge: UniformJudge
    assignment: Assignment

    def loss(self, rung_index: int) -> float:
        """The error at a rung."""
        return self.judge.measure.error(*self.trained(self.judge.config.ladder[rung_index].budget))

    def trained(self, steps: int) -> tuple[UniformStudent, nn.Module]:
        """The student and its head after ``steps`` steps."""
        student, head, training = self._built
        training.advance(steps)
        return student, head

    @property
    def untrained(self) -> tuple[UniformStudent, nn.Module]:
        """The student and its head as training finds or last left them."""
        student, head, _ = self._built
        return student, head

    @cached_property
    def _built(self) -> _Trained:
        config, measure, text = self.judge.config, self.judge.measure, self.judge.text
        plan = config.plan.of(self.assignment.hyperparameters)
        architecture = parse_uniform(self.assignment.arch_id)
        sizes = uniform_config(architecture, config.vocab_size, config.num_positions, config.numerics)
        student = build_uniform(sizes, plan.seed)
        if (inheritance := self.judge.inheritance) is not None:
            inheritance.initialise(student)
        student.to(plan.device)
        head = measure.head(student, plan.seed + 1).to(plan.device)

        def prepare(step: int) -> Sequence[Callable[[], Tensor]]:
            chosen = text.chosen(plan.seed, step, plan.sequences)
            target = torch.from_numpy(outputs_of(config.outputs, text, chosen, config.group))
            batch = Batch(*text.rows(chosen, plan.device), target.to(plan.device))
            return [lambda: measure.loss(student(batch.ids, batch.mask), head, batch)]

        both = nn.ModuleDict({"student": student, "head": head})
        return _Trained(student, head, StudentTraining(both, plan, self.assignment.candidate_id, prepare))
