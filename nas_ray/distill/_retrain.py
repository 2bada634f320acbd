"""What retraining does with one chosen student: the whole model is distilled, judged step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.distill._judge import Assignment
from nas_ray.distill._measures import Batch, Evaluation, HiddenStateError
from nas_ray.distill._outputs import Outputs, outputs_of
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText
from nas_ray.distill._trainer import normalised_mse
from nas_ray.measure import Errors, errors_by_document
from nas_ray.modeling import mean_pooled
from nas_ray.space import Rung
from nas_ray.student import load_student


class Losses(NamedTuple):
    """Weights of the losses; see ``spec.Losses``."""

    hidden: float
    embedding: float


class Encoder(nn.Module):
    """A model's last hidden states: ids and mask ``(batch, tokens)`` to ``(batch, tokens, hidden_size)``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        found = self.model(input_ids=ids, attention_mask=None if mask is None else mask.long())
        return found.last_hidden_state  # type: ignore[no-any-return]


@dataclass(frozen=True)
class RetrainJudgeConfig:
    """How to build a judge anywhere; ``starts`` has a model's folder for each candidate."""

    name: str
    ladder: tuple[Rung, ...]
    plan: DistillPlan
    losses: Losses
    accumulation: int
    starts: Path
    ridges: tuple[float, ...]
    test_documents: NDArray[Any]
    outputs: Outputs
    cache_bytes: int  # of outputs that are kept
    group: int  # sequences that the teacher reads at a time

    @property
    def key(self) -> str:
        """Equal for configurations that judge alike from the same arrays."""
        return f"{self.name} {self.ladder} {self.plan} {self.losses}"

    @property
    def device(self) -> str:
        """Where students are trained."""
        return self.plan.device

    def build(self, arrays: Sequence[Mapping[str, Any]], text: TrainingText | None) -> RetrainJudge:
        """The judge, from the one set of evaluation arrays."""
        assert text is not None, "students are always trained"
        return RetrainJudge(self, arrays[0], text)


class RetrainJudge:
    """Trains and judges students, one at a time."""

    def __init__(self, config: RetrainJudgeConfig, arrays: Mapping[str, Any], text: TrainingText) -> None:
        self.config, self.text = config, text
        self.evaluation = Evaluation(arrays, config.device)
        self.variance = self.evaluation.states("calibrate").variance()
        self._readouts = HiddenStateError(self.evaluation, config.ridges)

    def begin(self, assignment: Assignment) -> RetrainedStudent:
        """The student, not yet loaded."""
        return RetrainedStudent(self, assignment)

    def document_errors(self, assignment: Assignment) -> Errors:
        """Normalised squared error and tokens of every test document, of the student at its end."""
        errors, there = self.begin(assignment).trained().token_errors("test")
        return errors_by_document(errors, np.where(there, self.config.test_documents, -1))

    def targets(self, step: int, chosen: list[int]) -> NDArray[Any]:
        """The teacher's outputs on the sequences ``chosen`` of a step, computed once for all students: sequence by
        sequence if all can be kept, else step by step, since students read the same at the same step."""
        outputs, text = self.config.outputs, self.text
        if self._keeps_all:
            return outputs_of(outputs, text, chosen, self.config.group)
        return outputs.groups({step: text.take(chosen)})[step]

    @cached_property
    def _keeps_all(self) -> bool:
        """Whether the outputs of the whole text fit into what may be kept."""
        group, size = self.config.group, self.evaluation.targets["select"].shape[-1]
        starts = range(0, len(self.text.ids), group)
        tokens = sum(group * self.text.width(list(range(at, min(at + group, len(self.text.ids))))) for at in starts)
        return 4 * tokens * size <= self.config.cache_bytes

    def head(self, student: Any) -> nn.Module:
        """What is trained behind a student of another width than the teacher and is no part of it."""
        wide = self.evaluation.targets["calibrate"].shape[-1] == student.model.config.hidden_size
        return nn.Identity() if wide else self._readouts.head(student, 0)

    def loss(self, found: Tensor, batch: Batch, variance: float) -> Tensor:
        """The weighted losses of ``found`` ``(batch, tokens, hidden)`` against the batch's targets."""
        losses = self.config.losses
        total = losses.hidden * normalised_mse(found, batch.target, batch.mask, variance)
        if losses.embedding:
            total = total + losses.embedding * (1 - similarities(found.float(), batch.target, batch.mask)).mean()
        return total


@dataclass
class RetrainedStudent:
    """A student under training."""

    judge: RetrainJudge
    assignment: Assignment

    def loss(self, rung_index: int) -> float:
        """The weighted losses on *select* at a rung."""
        self._training.advance(self.judge.config.ladder[rung_index].budget)
        return self._select()

    def trained(self) -> RetrainedStudent:
        """Itself, at its end."""
        self._training.advance(self.judge.config.ladder[-1].budget)
        return self

    @property
    def model(self) -> Any:
        """The model as training left it."""
        return self._student.model

    @torch.no_grad()
    def outputs(self, split: str) -> Tensor:
        """Behind the head, on ``split``."""
        return self._head(self.judge.evaluation.features(self._student, split))  # type: ignore[no-any-return]

    def token_errors(self, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Squared errors over the split's variance ``(sequences, tokens)``, and where there is text."""
        states = self.judge.evaluation.states(split)
        error = (self.outputs(split) - states.targets).square().mean(-1).double() / states.variance()
        return error.cpu().numpy(), self.judge.evaluation.text(split).cpu().numpy()

    def similarity(self, split: str) -> float:
        """Mean cosine between the pooled outputs of student and teacher on ``split``."""
        states = self.judge.evaluation.states(split)
        return float(similarities(self.outputs(split), states.targets, states.mask).mean())

    def _loss(self, batch: Batch) -> Tensor:
        """That of a batch in training."""
        return self.judge.loss(self._head(self._student(batch.ids, batch.mask)), batch, self.judge.variance)

    def _select(self) -> float:
        states = self.judge.evaluation.states("select")
        batch = Batch(self.judge.evaluation.ids["select"], states.mask, states.targets)
        return float(self.judge.loss(self.outputs("select"), batch, states.variance()))

    @cached_property
    def _student(self) -> Encoder:
        start = self.judge.config.starts / self.assignment.candidate_id
        return Encoder(load_student(start).requires_grad_(True)).to(self.judge.config.device)

    @cached_property
    def _head(self) -> nn.Module:
        return self.judge.head(self._student).to(self.judge.config.device)

    @cached_property
    def _training(self) -> StudentTraining:
        config, text = self.judge.config, self.judge.text
        plan = config.plan.of(self.assignment.hyperparameters)

        def prepare(step: int) -> Sequence[Callable[[], Tensor]]:
            chosen = text.chosen(plan.seed, step, plan.sequences)
            target = torch.from_numpy(self.judge.targets(step, chosen))
            whole = Batch(*text.rows(chosen, plan.device), target.to(plan.device))
            return [partial(self._loss, part) for part in whole.parts(config.accumulation)]

        both = nn.ModuleDict({"student": self._student, "head": self._head})
        return StudentTraining(both, plan, self.assignment.candidate_id, prepare)


def similarities(found: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Cosine between mean-pooled hidden states ``(batch, tokens, hidden)``: ``(batch,)``."""
    return F.cosine_similarity(mean_pooled(found, mask), mean_pooled(target, mask), dim=-1)
