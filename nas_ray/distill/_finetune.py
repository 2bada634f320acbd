"""What fine-tuning does with one model, one seed and one set of hyperparameters: a task is learned, judged by its
metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_ray.distill._judge import Assignment
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText
from nas_ray.distill._task_losses import OF_TOKENS, TaskBatch, batch_parts, task_loss, teacher_loss
from nas_ray.space import Rung
from nas_ray.student import Head, HeadKind, ModelSource, task_logits

_TOKENS = 8192  # that are read at a time outside training, padding counted
_STEP_TOKENS = 16384  # of a training step that are computed at a time: options and windows can be a hundred thousand

Array = NDArray[Any]


class TaskRows(Protocol):
    """Examples as rows of tokens; see ``tasks.Encoded``, whose fields these are."""

    @property
    def ids(self) -> NDArray[np.int32]: ...

    @property
    def mask(self) -> NDArray[np.bool_]: ...

    @property
    def type_ids(self) -> NDArray[np.uint8] | None: ...

    @property
    def targets(self) -> Array: ...

    @property
    def example(self) -> NDArray[np.int32]: ...


@dataclass(frozen=True)
class FinetuneJudgeConfig:
    """How to build a judge anywhere. Its arrays are one mapping: ``train`` and ``select`` (``TaskRows``), ``score``
    (of scores of the rows of *select*, larger is better), and ``teacher`` (scores of the rows of *train*, or None)."""

    ladder: tuple[Rung, ...]
    plan: DistillPlan
    model: ModelSource
    head: Head
    teacher_weight: float
    """Of the whole loss; the rest is the task's own."""
    temperature: float

    @property
    def key(self) -> str:
        """Equal for configurations that judge alike from the same arrays."""
        return f"{self.ladder} {self.plan} {self.model} {self.head} {self.teacher_weight} {self.temperature}"

    @property
    def device(self) -> str:
        """Where models are trained."""
        return self.plan.device

    def build(self, arrays: Sequence[Mapping[str, Any]], text: TrainingText | None = None) -> FinetuneJudge:
        """The judge, from the one mapping."""
        return FinetuneJudge(self, **arrays[0])


class FinetuneJudge:
    """Trains and judges models, one at a time."""

    def __init__(
        self,
        config: FinetuneJudgeConfig,
        train: TaskRows,
        select: TaskRows,
        score: Callable[[Array], float],
        teacher: Array | None,
    ) -> None:
        self.config, self.train, self.select, self.score, self.teacher = config, train, select, score, teacher
        # What a step draws: an example with all its options; of other tasks a row, such as a window of a long text.
        units = train.example if config.head.kind == "choice" else np.arange(len(train.ids))
        self._first = np.append(np.flatnonzero(np.diff(units, prepend=-1)), len(units))
        longest = np.maximum.reduceat(train.mask.sum(1), self._first[:-1])
        there = np.arange(int(longest.max())) < longest[:, None]
        self._units = TrainingText(np.empty((len(longest), 0), np.int32), there)

    def begin(self, assignment: Assignment) -> FinetunedModel:
        """The model, not yet loaded."""
        return FinetunedModel(self, assignment)

    def batch(self, step: int, plan: DistillPlan) -> TaskBatch:
        """What a training step reads: a function of the seed and the step."""
        chosen = self._units.chosen(plan.seed, step, plan.sequences)
        units = [np.arange(self._first[unit], self._first[unit + 1]) for unit in chosen]
        rows, example = np.concatenate(units), np.repeat(np.arange(len(units)), [len(unit) for unit in units])
        kind, width = self.config.head.kind, self._units.width(chosen)

        def tensor(found: Array, of_tokens: bool = True) -> Tensor:
            return torch.from_numpy(np.array(found[rows, :width] if of_tokens else found[rows])).to(plan.device)

        return TaskBatch(
            ids=tensor(self.train.ids).long(),
            mask=tensor(self.train.mask),
            types=None if self.train.type_ids is None else tensor(self.train.type_ids),
            targets=tensor(self.train.targets, kind == "token"),
            example=torch.from_numpy(example).to(plan.device),
            wanted=None if self.teacher is None else tensor(self.teacher, kind in OF_TOKENS),
        )

    def loss(self, model: Any, batch: TaskBatch, weight: float, draw: int) -> Tensor:
        """The loss of a part of a training step, times ``weight``; dropout is a function of ``draw``."""
        config = self.config
        devices = [torch.cuda.current_device()] if config.device == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(draw)
            logits = task_logits(model, config.head.kind, batch.ids, batch.mask, batch.types)
        total = task_loss(config.head.kind, logits, batch)
        if batch.wanted is None:
            return weight * total
        theirs = teacher_loss(config.head.kind, logits, batch, config.temperature)
        return weight * ((1 - config.teacher_weight) * total + config.teacher_weight * theirs)


@dataclass
class FinetunedModel:
    """A model under training."""

    judge: FinetuneJudge
    assignment: Assignment

    def loss(self, rung_index: int) -> float:
        """1 - the metric on *select* at a rung."""
        self.training.advance(self.plan.steps[rung_index])
        return 1 - self.judge.score(self.scores(self.judge.select))

    def trained(self) -> FinetunedModel:
        """Itself, at its end."""
        self.training.advance(self.plan.steps[-1])
        return self

    def scores(self, rows: TaskRows) -> NDArray[np.float32]:
        """What it says of ``rows``, as ``task_logits`` does."""
        return task_scores(self.model, self.judge.config.head.kind, rows, self.judge.config.device)

    @cached_property
    def plan(self) -> DistillPlan:
        """With its own hyperparameters; a step of twice the examples counts for two, so that all read as much."""
        base = self.judge.config.plan
        plan = base.of(self.assignment.hyperparameters)
        steps = tuple(max(1, round(step * base.sequences / plan.sequences)) for step in base.steps)
        return replace(plan, steps=steps)

    @cached_property
    def model(self) -> Any:
        """The model as training left it."""
        config = self.judge.config
        return config.model.load(config.head, self.plan.seed).to(config.device)

    @cached_property
    def training(self) -> StudentTraining:
        """Its training, from its newest checkpoint on."""

        def prepare(step: int) -> Sequence[Callable[[], Tensor]]:
            self.model.train()
            parts = batch_parts(self.judge.config.head.kind, self.judge.batch(step, self.plan), _STEP_TOKENS)
            draws = np.random.SeedSequence([self.plan.seed, 11, step]).generate_state(len(parts))
            return [
                partial(self.judge.loss, self.model, part, weight, int(draw))
                for (part, weight), draw in zip(parts, draws, strict=True)
            ]

        return StudentTraining(self.model, self.plan, self.assignment.candidate_id, prepare)


@torch.no_grad()
def task_scores(model: Any, kind: HeadKind, rows: TaskRows, device: str = "cpu") -> NDArray[np.float32]:
    """What ``model`` says of ``rows``, as ``task_logits`` does; 0 behind their text."""
    model.eval()
    scores: Array | None = None
    for chosen, width in _batches(rows.mask.sum(1)):
        ids, mask = (torch.from_numpy(found[chosen, :width]).to(device) for found in (rows.ids, rows.mask))
        types = None if rows.type_ids is None else torch.from_numpy(rows.type_ids[chosen, :width]).to(device)
        found = task_logits(model, kind, ids.long(), mask, types).float().cpu().numpy()
        if scores is None:
            places = (rows.ids.shape[1],) if kind in OF_TOKENS else ()
            scores = np.zeros((len(rows.ids), *places, found.shape[-1]), np.float32)
        if kind in OF_TOKENS:
            scores[chosen, :width] = found
        else:
            scores[chosen] = found
    assert scores is not None, "a part of a task has rows"
    return scores


def _batches(lengths: Array) -> Iterator[tuple[Array, int]]:
    """Numbers of rows of similar length, and the longest; at most ``_TOKENS`` a batch unless one is longer."""
    order, at = np.argsort(lengths, kind="stable"), 0
    while at < len(order):
        count = max(1, _TOKENS // int(lengths[order[min(len(order), at + 256) - 1]]))
        chosen = order[at : at + min(count, 256)]
        yield chosen, int(lengths[chosen[-1]])
        at += len(chosen)
