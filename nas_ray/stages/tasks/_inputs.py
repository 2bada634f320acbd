"""What a fine-tuning is made of: model, task, settings, and other fine-tuned models that it learns from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from nas_ray._files import replace_file
from nas_ray.distill import OF_TOKENS, DistillPlan, FinetuneJudgeConfig
from nas_ray.errors import ModelError
from nas_ray.space import Rung
from nas_ray.spec import Finetune
from nas_ray.stages._console import Console
from nas_ray.stages._inputs import teacher_content
from nas_ray.stages.tasks._augmentation import augmented, check_augment
from nas_ray.stages.tasks._data import Scores, TaskData, check_trainable, head_of
from nas_ray.stages.tasks._models import TaskModel
from nas_ray.student import Head, ModelSource, find_model
from nas_ray.tasks import Task

_FORMAT = 1
_TEACHER, _AUGMENTED = "teacher.safetensors", "augmented.jsonl"
_PLANNED = ("learning_rate", "sequences", "warmup", "weight_decay", "clip", "precision", "seed", "device")


@dataclass(frozen=True)
class TaskInputs:
    """One model on one task by one ``Finetune``; ``teacher`` and ``start`` are other fine-tunings' models.

    Raises:
        TeacherError, ModelError: of the models. TaskError: of the task. AssetError: one cannot be fetched.
    """

    model: str
    task: Task
    named: tuple[str, ...]
    """The command line's words that name the task and its data."""
    spec: Finetune
    console: Console
    teacher: TaskModel | None = None
    """Whose predictions are learned beside the task."""
    start: TaskModel | None = None
    """Whose weights training begins with, in place of the model's own."""

    @cached_property
    def source(self) -> ModelSource:
        """The model, found."""
        return find_model(self.model, self.console.say)

    @cached_property
    def data(self) -> TaskData:
        """The task as the model reads it."""
        check_trainable(self.task)
        return TaskData(self.task, self.source.tokenizer(), self.source.num_positions, self.spec.max_length)

    @property
    def head(self) -> Head:
        """What the task wants of the model."""
        return head_of(self.task)

    @cached_property
    def content(self) -> str:
        """A hash of the model's files."""
        return teacher_content(self.model)

    @cached_property
    def key(self) -> str:
        """Eight hexadecimal digits of all that the result depends on: settings, and what models and data hold."""
        task = self.task.model_dump(mode="json", exclude={"data", "title", "sizes", "files", "hub"})
        models = [None if found is None else found.content for found in (self.teacher, self.start)]
        augment = self.spec.augment
        words = teacher_content(augment.model) if augment is not None and augment.model else None
        model = self.content or self.model  # a folder by what it holds, wherever it lies
        found = [_FORMAT, self.spec.training.model_dump(mode="json"), task, model, *models, words]
        text = json.dumps([*found, self.data.digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def check(self) -> None:
        """Refuse other models that do not fit.

        Raises:
            ModelError: says which and why.
        """
        if self.spec.augment is not None:
            check_augment(self.task)
        if self.start is not None:
            self.start.check_continues(self.model, self.content)
        if self.teacher is None:
            return
        self.teacher.check_teaches(self.task)
        if self.teacher.record.get("held_out", self.data.held_out) != self.data.held_out:
            self.console.say(
                f"  {self.teacher.folder}: other examples of the task were kept from this teacher than select and test "
                "here; what it learned of these reaches the student"
            )
        if self.head.kind in OF_TOKENS:
            self._check_reads_alike(self.teacher)

    def _check_reads_alike(self, teacher: TaskModel) -> None:
        source = teacher.source
        alike = source.tokenizer().get_vocab() == self.data.tokenizer.get_vocab()
        if not alike or source.num_positions < self.data.length:
            what = "fewer positions" if alike else "other tokens"
            raise ModelError(
                f"{teacher.folder}: has {what} than {self.model}; accepted as --teacher on a task of kind "
                f"{self.task.kind}, where every token is scored: a model that reads the same."
            )

    @cached_property
    def ladder(self) -> tuple[Rung, ...]:
        """The steps at which models are judged."""
        return tuple(Rung("distilled", step) for step in self.spec.rungs(self.data.units))

    def augment(self, folder: Path) -> None:
        """Add what the settings say to the training examples; it is kept in ``folder``."""
        if self.spec.augment is not None:
            parts, file = self.data.examples, folder / _AUGMENTED
            self.data.train_on(augmented(self.spec.augment, self.model, parts, file, self.console))

    def config(
        self, checkpoints: Path, ladder: tuple[Rung, ...] | None = None, origin: str | None = None
    ) -> FinetuneJudgeConfig:
        """How a worker anywhere trains and judges; ``origin`` stands for examples that are not the task's own."""
        spec, ladder = self.spec, ladder or self.ladder
        plan = DistillPlan(
            steps=tuple(rung.budget for rung in ladder),
            origin=origin or self.key,
            folder=checkpoints,
            **spec.model_dump(include=set(_PLANNED)),
        )
        source = self.source if self.start is None else self.start.source
        return FinetuneJudgeConfig(ladder, plan, source, self.head, spec.teacher_weight, spec.temperature)

    def arrays(self, folder: Path) -> dict[str, Any]:
        """What a judge is built from; the teacher's scores are kept in ``folder``."""
        data = self.data
        return {
            "train": data.rows("train"),
            "select": data.rows("select"),
            "score": data.scorer("select"),
            "teacher": None if self.teacher is None else self._scores_of(self.teacher, folder / _TEACHER),
        }

    def _scores_of(self, teacher: TaskModel, file: Path) -> Scores:
        """What the teacher says of the training rows, as it reads them; computed once and kept."""
        if not file.is_file():
            self.console.say(f"  {teacher.folder} is asked of the training part")
            rows = self.data.rows("train")
            if self.head.kind not in OF_TOKENS:
                rows = self.data.read_by(teacher.source, self.data.examples["train"])
            (scores,) = teacher.scores(self.head, [rows], self.spec.device)
            with replace_file(file) as temporary:
                save_file({"scores": torch.from_numpy(scores)}, temporary)
        return np.asarray(load_file(file)["scores"].numpy())
