"""What retraining does with one chosen student: the whole model is trained, judged step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_ray.distill._judge import Assignment
from nas_ray.distill._losses import NOT_HIDDEN, Decoder, Losses, Words, divergence, of_states, similarities, word_errors
from nas_ray.distill._measures import ROWS, Batch, Evaluation, HiddenStateError
from nas_ray.distill._outputs import Outputs, outputs_of
from nas_ray.distill._replicas import ReplicaGroup
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText
from nas_ray.measure import Errors, errors_by_document
from nas_ray.space import Rung, candidate_id
from nas_ray.student import load_student, predictions


class Encoder(nn.Module):
    """A model's last hidden states: ids and mask ``(batch, tokens)`` to ``(batch, tokens, hidden_size)``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        found = self.model.base_model(input_ids=ids, attention_mask=None if mask is None else mask.long())
        return found.last_hidden_state  # type: ignore[no-any-return]


@dataclass(frozen=True)
class RetrainJudgeConfig:
    """How to build a judge anywhere; ``starts`` has a model's folder for each candidate."""

    name: str
    ladder: tuple[Rung, ...]
    plan: DistillPlan
    losses: Losses
    temperature: float
    accumulation: int
    starts: Path
    ridges: tuple[float, ...]
    test_documents: NDArray[Any]
    outputs: Outputs
    cache_bytes: int  # of outputs that are kept
    group: int  # sequences that the teacher reads at a time
    freeze_embeddings: bool = False

    @property
    def key(self) -> str:
        """Equal for configurations that judge alike from the same arrays."""
        return f"{self.name} {self.ladder} {self.plan} {self.losses} {self.temperature}"

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
        self.decoder, targets = None, arrays["targets"]
        if (found := arrays["decoder"]) is not None:
            weight, bias = (torch.from_numpy(np.array(part)).to(config.device) for part in found)
            self.decoder = Decoder(weight, bias)
        size = 0 if self.decoder is None else self.decoder.weight.shape[1]
        self.hidden_size: int = targets["select"].shape[-1] - size
        states = {split: outputs[..., : self.hidden_size] for split, outputs in targets.items()}
        self.evaluation = Evaluation({**arrays, "targets": states}, config.device)
        features = {split: np.array(outputs[..., self.hidden_size :]) for split, outputs in targets.items()}
        self.features = {split: torch.from_numpy(found) for split, found in features.items()}
        self.variance = self.evaluation.states("calibrate").variance()
        self._readouts = HiddenStateError(self.evaluation, config.ridges)

    def begin(self, assignment: Assignment, group: ReplicaGroup | None = None) -> RetrainedStudent:
        """The student, not yet loaded; ``group`` trains it together, if there is one."""
        return RetrainedStudent(self, assignment, group or ReplicaGroup(0, 1))

    def document_errors(self, assignment: Assignment) -> Errors:
        """Normalised squared error and tokens of every test document, of the student at its end."""
        errors, there = self.begin(assignment).trained().token_errors("test")
        return errors_by_document(errors, np.where(there, self.config.test_documents, -1))

    def batch(self, step: int, plan: DistillPlan, group: ReplicaGroup) -> Batch:
        """What a member of ``group`` reads in a step: its part of the sequences."""
        whole = self.text.chosen(plan.seed, step, plan.sequences)
        each = len(whole) // group.size
        chosen = whole[group.rank * each : (group.rank + 1) * each]
        target = None
        if self.config.losses.of_teacher:
            target = torch.from_numpy(self._targets(step * group.size + group.rank, chosen)).to(plan.device)
        return Batch(*self.text.rows(chosen, plan.device), target, self.text.hidden(chosen, plan.device))

    def _targets(self, part: int, chosen: list[int]) -> NDArray[Any]:
        """The teacher's outputs on the sequences ``chosen`` of a step or of a ``part`` of one, computed once for all
        students: sequence by sequence if all can be kept, else part by part, for students read the same at a step."""
        outputs, text = self.config.outputs, self.text
        if self._keeps_all:
            return outputs_of(outputs, text, chosen, self.config.group)
        return outputs.groups({part: text.take(chosen)})[part]

    @cached_property
    def _keeps_all(self) -> bool:
        """Whether the outputs of the whole text fit into what may be kept."""
        group, size = self.config.group, self.hidden_size + self.features["select"].shape[-1]
        starts = range(0, len(self.text.ids), group)
        tokens = sum(group * self.text.width(list(range(at, min(at + group, len(self.text.ids))))) for at in starts)
        return 4 * tokens * size <= self.config.cache_bytes

    def head(self, student: Encoder) -> nn.Module:
        """What is trained behind a student of another width than the teacher and is no part of it."""
        wide = self.hidden_size == student.model.config.hidden_size
        return nn.Identity() if wide or not self.config.losses.of_states else self._readouts.head(student, 0)

    def loss(self, student: Encoder, head: nn.Module, losses: Losses, batch: Batch) -> Tensor:
        """The losses of a training step, by the weights ``losses``."""
        hidden = student(batch.ids, batch.mask)
        total: Tensor = hidden.sum() * 0.0  # a short batch may have no hidden token
        if losses.of_states:
            assert batch.target is not None
            states = batch.target[..., : self.hidden_size]
            total = total + of_states(losses, head(hidden), states, batch.mask, self.variance)
        if losses.of_words:
            features = None if batch.target is None else batch.target[..., self.hidden_size :]
            words = self.of_words(student, hidden, features, batch.labels)
            if len(words.errors):
                total = total + words.weighted(losses)
        return total

    def of_words(self, student: Encoder, hidden: Tensor, features: Tensor | None, labels: Tensor | None) -> Words:
        """How well the hidden tokens of a batch are predicted."""
        assert labels is not None, "text.inputs is masked"
        there = labels != NOT_HIDDEN
        logits = predictions(student.model, hidden[there])
        errors = word_errors(logits, labels[there])
        distance = None
        if self.decoder is not None and features is not None:
            distance = divergence(logits, self.decoder(features[there].to(logits.device)), self.config.temperature)
        return Words(errors, distance, logits.detach().argmax(-1) == labels[there])


@dataclass
class RetrainedStudent:
    """A student under training."""

    judge: RetrainJudge
    assignment: Assignment
    group: ReplicaGroup

    def loss(self, rung_index: int) -> float:
        """The weighted losses on *select* at a rung."""
        self.advance(rung_index)
        return self._select()

    def advance(self, rung_index: int) -> None:
        """Train to a rung."""
        self.training.advance(self.judge.config.ladder[rung_index].budget)

    def trained(self) -> RetrainedStudent:
        """Itself, at its end."""
        self.advance(-1)
        return self

    @property
    def model(self) -> Any:
        """The model as training left it."""
        return self._student.model

    def metrics(self, split: str) -> dict[str, float]:
        """What it reaches on ``split``: normalised loss and similarity of pooled embeddings where hidden states are
        learned; masked accuracy, cross-entropy and divergence (nats) where words are."""
        losses, found = self.judge.config.losses, {}
        if losses.of_states:
            errors, there = self.token_errors(split)
            found = {"loss": float(errors[there].mean()), "similarity": self.similarity(split)}
        if losses.of_words:
            words = self._words(split)
            found |= {"masked_accuracy": float(words.found.double().mean()), "masked_lm": float(words.errors.mean())}
            if words.divergence is not None:
                found["divergence"] = float(words.divergence.mean())
        return {f"{split}_{name}": value for name, value in found.items()}

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

    @torch.no_grad()
    def _words(self, split: str) -> Words:
        """Predictions of all hidden tokens of ``split``, a few sequences at a time: scores are a vocabulary wide."""
        judge, labels = self.judge, self.judge.evaluation.labels[split]
        hidden = judge.evaluation.features(self._student, split)
        found = []
        for at in range(0, len(hidden), ROWS):
            some = slice(at, at + ROWS)
            features, wanted = judge.features[split][some], None if labels is None else labels[some]
            found.append(judge.of_words(self._student, hidden[some], features, wanted))
        distances = [words.divergence for words in found if words.divergence is not None]
        return Words(
            torch.cat([words.errors for words in found]),
            torch.cat(distances) if distances else None,
            torch.cat([words.found for words in found]),
        )

    def _select(self) -> float:
        judge, total = self.judge, 0.0
        if judge.config.losses.of_states:
            states = judge.evaluation.states("select")
            found = self.outputs("select")
            total += float(of_states(judge.config.losses, found, states.targets, states.mask, states.variance()))
        if judge.config.losses.of_words:
            total += float(self._words("select").weighted(judge.config.losses))
        return total

    @cached_property
    def _student(self) -> Encoder:
        # Known by its architecture: hyperparameters of its own change nothing of where it starts.
        start = self.judge.config.starts / candidate_id({"architecture": self.assignment.arch_id})
        model = load_student(start).requires_grad_(True)
        if self.judge.config.freeze_embeddings:
            model.get_input_embeddings().requires_grad_(False)
        return Encoder(model).to(self.judge.config.device)

    @cached_property
    def _head(self) -> nn.Module:
        return self.judge.head(self._student).to(self.judge.config.device)

    @cached_property
    def training(self) -> StudentTraining:
        """Its training, from its newest checkpoint on."""
        config, judge = self.judge.config, self.judge
        own = dict(self.assignment.hyperparameters)
        losses = config.losses.balanced(float(own.pop("balance", 1.0)))
        plan = replace(config.plan.of(own), origin=f"{config.plan.origin} {losses}")

        def prepare(step: int) -> Sequence[Callable[[], Tensor]]:
            parts = judge.batch(step, plan, self.group).parts(config.accumulation)
            return [partial(judge.loss, self._student, self._head, losses, part) for part in parts]

        both = nn.ModuleDict({"student": self._student, "head": self._head})
        return StudentTraining(both, plan, self.assignment.candidate_id, prepare, self.group)
