"""Distillation of one student in short stretches, from its newest checkpoint on; its batches are a function of (seed,
step). Stitched students learn everything behind their embedding, towards the teacher's last hidden state."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_ray.blocks import PathStudent
from nas_ray.distill._replicas import ReplicaGroup, State
from nas_ray.distill._store import Checkpoints
from nas_ray.distill._trainer import Schedule, Trainer, normalised_mse
from nas_ray.errors import StageError
from nas_ray.teacher import Teacher

_POOL = 50  # steps whose sequences are sorted by length together
_TOLD, _EVERY_S = "step-now", 5.0  # the file that says how far a training is, and how often


@dataclass(frozen=True)
class TrainingText:
    """``ids`` ``(sequences, tokens)`` of a split; ``mask``: True where there is text, None if everywhere; ``labels``:
    the hidden tokens where inputs are masked, -100 elsewhere."""

    ids: NDArray[np.int32]
    mask: NDArray[np.bool_] | None
    labels: NDArray[np.int32] | None = None

    def chosen(self, seed: int, step: int, count: int) -> list[int]:
        """The ``count`` sequences of training step ``step``: a function of the seed, every sequence once an epoch.

        Where lengths differ, those of a step have similar ones; what would not fill a step waits for another epoch.
        """
        size = len(self.ids)
        if self._lengths is None or size < count:
            return [int(_order(size, seed, at // size)[at % size]) for at in range(step * count, (step + 1) * count)]
        epoch, at = divmod(step, size // count)
        return _order_by_length(self._lengths, seed, epoch, count)[at].tolist()  # type: ignore[no-any-return]

    @cached_property
    def _lengths(self) -> bytes | None:
        """Tokens of each sequence, 4 bytes each, if they differ."""
        if self.mask is None:
            return None
        found = self.mask.sum(1, dtype=np.int32)
        return None if (found == found[0]).all() else found.tobytes()

    def num_tokens(self, seed: int, steps: int, count: int) -> int:
        """Tokens of text that ``steps`` steps of ``count`` sequences read."""
        if self.mask is None:
            return steps * count * int(self.ids.shape[1])
        lengths = self.mask.sum(1)
        return sum(int(lengths[self.chosen(seed, step, count)].sum()) for step in range(steps))

    def width(self, chosen: Sequence[int]) -> int:
        """Tokens of the longest of these sequences; what is behind is padding."""
        if self.mask is None:
            return int(self.ids.shape[1])
        there = np.flatnonzero(self.mask[chosen].any(axis=0))
        return int(there[-1]) + 1 if there.size else 1

    def part(self, first: int, last: int) -> TrainingText:
        """Sequences ``first`` to ``last``."""
        return self._of(slice(first, last))

    def take(self, chosen: list[int]) -> TrainingText:
        """These sequences."""
        return self._of(chosen)

    def _of(self, rows: Any) -> TrainingText:
        mask, labels = (None if found is None else found[rows] for found in (self.mask, self.labels))
        return TrainingText(self.ids[rows], mask, labels)

    def hidden(self, chosen: list[int], device: str = "cpu") -> Tensor | None:
        """The labels of these sequences, as wide as ``rows``; None where inputs are plain."""
        if self.labels is None:
            return None
        return torch.from_numpy(self.labels[chosen, : self.width(chosen)].astype(np.int64)).to(device)

    def rows(self, chosen: list[int], device: str = "cpu") -> tuple[Tensor, Tensor | None]:
        """Ids and mask of these sequences, without the padding that all have."""
        width = self.width(chosen)
        mask = None if self.mask is None else torch.from_numpy(self.mask[chosen, :width]).to(device)
        return torch.from_numpy(self.ids[chosen, :width].astype(np.int64)).to(device), mask


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
    weight_bound: float | None = None
    device: str = "cpu"
    kept: int = 1  # checkpoints; of two the older stands in for a damaged one

    def of(self, hyperparameters: Mapping[str, Any]) -> DistillPlan:
        """The plan with a candidate's own hyperparameters."""
        return replace(self, **hyperparameters)

    @property
    def key(self) -> str:
        """Equal for plans that train alike, wherever they do."""
        values = {name: value for name, value in asdict(replace(self, device="cpu")).items() if name != "folder"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class StudentTraining:
    """The training of one student, from its newest checkpoint on.

    ``prepare`` readies a step, without gradients or autocast, and returns what computes its loss: one call, or several
    whose mean it is, computed and differentiated in turn. In a ``group`` each member prepares a part of the step, and
    the first keeps the checkpoints. ``width`` and ``scale`` are those of ``Trainer``.
    """

    ready = True

    def __init__(
        self,
        student: nn.Module,
        plan: DistillPlan,
        name: str,
        prepare: Callable[[int], Sequence[Callable[[], Tensor]]],
        group: ReplicaGroup | None = None,
        *,
        width: Callable[[str], int] = lambda _: 0,
        scale: Callable[[int], float] = lambda _: 1.0,
    ) -> None:
        self.plan, self.prepare, self.group = plan, prepare, group or ReplicaGroup(0, 1)
        self.trainer = Trainer(
            student,
            Schedule(plan.learning_rate, plan.steps[-1], plan.warmup),
            weight_decay=plan.weight_decay,
            clip=plan.clip,
            precision=plan.precision,
            device=plan.device,
            average=self.group.average if self.group.size > 1 else None,
            width=width,
            scale=scale,
        )
        self.checkpoints = Checkpoints(plan.folder / name)
        self.step = 0
        self._told = time.monotonic()
        self._resume()

    def advance(self, to: int) -> None:
        """Train until ``to`` steps are done, and keep a checkpoint; nothing if they are."""
        if to <= self.step:
            return
        for step in range(self.step, to):
            losses = self.trainer.step(step, self.prepare(step))
            if not all(map(math.isfinite, losses)):
                found = " and ".join(map(str, losses))
                raise StageError("distillation", f"the loss of step {step} is {found}; try a lower learning_rate.")
            if self.plan.weight_bound is not None:
                self._bound(self.plan.weight_bound)
            self._tell(step + 1)
        if not all(bool(parameter.isfinite().all()) for parameter in self.trainer.names.values()):
            raise StageError("distillation", f"a weight of step {to - 1} is no number; try a lower learning_rate.")
        self.step = to
        self._save()

    def _tell(self, step: int) -> None:
        """Say now and then how far it is, to whoever watches the folder: rungs may be many minutes apart."""
        if self.group.rank or time.monotonic() < self._told + _EVERY_S:
            return
        self._told = time.monotonic()
        with suppress(OSError):
            self.checkpoints.folder.mkdir(parents=True, exist_ok=True)
            (self.checkpoints.folder / _TOLD).write_text(str(step), encoding="utf-8")

    @torch.no_grad()
    def _bound(self, most: float) -> None:
        for parameter in self.trainer.names.values():
            parameter.clamp_(-most, most)

    def snapshot(self) -> State:
        """Weights and, until the last step, the optimizer's tensors; and the step."""
        tensors = {f"student/{name}": p.detach() for name, p in self.trainer.names.items()}
        if self.step != self.plan.steps[-1]:  # a finished student needs no optimizer
            tensors |= {f"trainer/{name}": tensor for name, tensor in self.trainer.state().items()}
        return tensors, {"key": self.plan.key, "step": self.step}

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from a ``snapshot``."""
        for name, parameter in self.trainer.names.items():
            parameter.copy_(tensors[f"student/{name}"])
        prefix = "trainer/"
        self.trainer.load_state({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        self.step = int(state["step"])

    def _save(self) -> None:
        if self.group.rank:
            return
        tensors, state = self.snapshot()
        with suppress(OSError):  # a full disk ends the keeping, not the training: it can be done again to the bit
            self.checkpoints.save(self.step, tensors, {"key": state["key"]}, keep=self.plan.kept)

    def _resume(self) -> None:
        found = self.checkpoints.load()
        if found is None:
            return
        if found[1].get("key") != self.plan.key:  # of other weights or settings: it would hide those to come
            self.checkpoints.clear()
            return
        self.take(*found)


def steps_done(folder: Path, name: str) -> int:
    """How far a training said last that it is; 0 if it said nothing. It may be a little ahead of its checkpoint."""
    try:
        return int((folder / name / _TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or being written
        return 0


def stitched_training(
    stitched: PathStudent, teacher: Teacher, variance: float, text: TrainingText, plan: DistillPlan, name: str
) -> tuple[PathStudent, StudentTraining]:
    """A copy of ``stitched`` whose stages are trained, what students share is left as it is; and its training."""
    student = PathStudent(stitched.embedding, [copy.deepcopy(stage) for stage in stitched.stages]).eval()
    student.stages.requires_grad_(True)

    def prepare(step: int) -> Sequence[Callable[[], Tensor]]:
        ids, mask = text.rows(text.chosen(plan.seed, step, plan.sequences))
        with torch.no_grad():
            target = teacher.hidden_states(ids, mask)[-1]
        return [lambda: normalised_mse(student(ids, mask), target, mask, variance)]

    return student, StudentTraining(student, plan, name, prepare)


@lru_cache(maxsize=4)
def _order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 7, epoch]).permutation(size)


@lru_cache(maxsize=4)
def _order_by_length(lengths: bytes, seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The sequences of each step of an epoch, ``(steps, count)``: pools of random ones are sorted by length and cut."""
    sizes = np.frombuffer(lengths, np.int32)
    order = _order(len(sizes), seed, epoch)[: len(sizes) // count * count]
    pools = [order[at : at + _POOL * count] for at in range(0, len(order), _POOL * count)]
    steps = np.concatenate([pool[np.argsort(sizes[pool], kind="stable")] for pool in pools]).reshape(-1, count)
    return np.random.default_rng([seed, 8, epoch]).permutation(steps)
