"""Distillation of one student: everything behind its embedding, towards the teacher's last hidden state."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_ray.blocks import PathStudent
from nas_ray.distill._store import Checkpoints
from nas_ray.distill._trainer import Schedule, Trainer, normalised_mse
from nas_ray.teacher import Teacher


@dataclass(frozen=True)
class TrainingText:
    """``ids`` ``(sequences, tokens)`` of the training split; ``mask``: True where there is text, None if everywhere."""

    ids: NDArray[np.int32]
    mask: NDArray[np.bool_] | None

    def rows(self, seed: int, step: int, count: int) -> tuple[Tensor, Tensor | None]:
        """The ``count`` sequences of training step ``step``: a function of the seed, every sequence once an epoch."""
        size = len(self.ids)
        chosen = [_order(size, seed, at // size)[at % size] for at in range(step * count, (step + 1) * count)]
        mask = None if self.mask is None else torch.from_numpy(self.mask[chosen])
        return torch.from_numpy(self.ids[chosen].astype(np.int64)), mask


@dataclass(frozen=True)
class DistillPlan:
    """How students are trained; ``folder`` has a folder of checkpoints for each candidate.

    ``origin`` stands for the weights that training starts from: checkpoints of another origin are not continued.
    """

    steps: tuple[int, ...]  # at which it is judged; the last one ends it
    learning_rate: float
    sequences: int
    weight_decay: float
    warmup: float
    clip: float
    precision: str
    seed: int
    origin: str
    folder: Path

    def of(self, hyperparameters: Mapping[str, Any]) -> DistillPlan:
        """The plan with a candidate's own hyperparameters."""
        return replace(self, **hyperparameters)

    @property
    def key(self) -> str:
        """Equal for plans that train alike."""
        values = {name: value for name, value in asdict(self).items() if name != "folder"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class StudentTraining:
    """The training of one student, from its newest checkpoint on."""

    def __init__(
        self, stitched: PathStudent, teacher: Teacher, variance: float, text: TrainingText, plan: DistillPlan, name: str
    ) -> None:
        self.teacher, self.variance, self.text, self.plan = teacher, variance, text, plan
        self.student = _trainable(stitched)
        self.trainer = Trainer(
            self.student,
            Schedule(plan.learning_rate, plan.steps[-1], plan.warmup),
            weight_decay=plan.weight_decay,
            clip=plan.clip,
            precision=plan.precision,
        )
        self.checkpoints = Checkpoints(plan.folder / name)
        self.step = 0
        self._resume()

    def advance(self, to: int) -> None:
        """Train until ``to`` steps are done, and keep a checkpoint; nothing if they are."""
        if to <= self.step:
            return
        for step in range(self.step, to):
            ids, mask = self.text.rows(self.plan.seed, step, self.plan.sequences)
            with torch.no_grad():
                target = self.teacher.hidden_states(ids, mask)[-1]

            def loss(ids: Tensor = ids, mask: Tensor | None = mask, target: Tensor = target) -> Tensor:
                return normalised_mse(self.student(ids, mask), target, mask, self.variance)

            self.trainer.step(step, [loss])
        self.step = to
        self._save()

    def _save(self) -> None:
        tensors = {f"student/{name}": p.detach() for name, p in self.trainer.names.items()}
        is_last = self.step == self.plan.steps[-1]
        if not is_last:  # a finished student needs no optimizer
            tensors |= {f"trainer/{name}": tensor for name, tensor in self.trainer.state().items()}
        with suppress(OSError):  # a full disk ends the keeping, not the training: it can be done again to the bit
            self.checkpoints.save(self.step, tensors, {"key": self.plan.key}, keep=1)

    @torch.no_grad()
    def _resume(self) -> None:
        found = self.checkpoints.load()
        if found is None:
            return
        if found[1].get("key") != self.plan.key:  # of other weights or settings: it would hide those to come
            self.checkpoints.clear()
            return
        tensors, state = found
        for name, parameter in self.trainer.names.items():
            parameter.copy_(tensors[f"student/{name}"])
        prefix = "trainer/"
        self.trainer.load_state({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        self.step = int(state["step"])


def _trainable(stitched: PathStudent) -> PathStudent:
    """A copy whose stages can be trained; what students share is left as it is."""
    student = PathStudent(stitched.embedding, [copy.deepcopy(stage) for stage in stitched.stages]).eval()
    student.stages.requires_grad_(True)
    return student


@lru_cache(maxsize=4)
def _order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 7, epoch]).permutation(size)
