"""Fine-tuning on a task: for how long, with which hyperparameters, how much of a teacher, over which seeds."""

from __future__ import annotations

from math import ceil
from typing import Any, Literal

from pydantic import Field, model_validator

from nas_ray.spec._augment import Augment
from nas_ray.spec._distill import Range, equal_parts
from nas_ray.spec._frozen import Frozen
from nas_ray.spec._overrides import overrides_of
from nas_ray.spec._trial import Tracking

_RESULTLESS = ("device", "executor", "tracking")  # keys that change no result


class FinetuneSearch(Frozen):
    """Hyperparameters that Optuna's TPE suggests and successive halving stops; every set is a trial with the first
    seed, and the best on *select* is trained with all seeds beside the settings' own."""

    trials: int = Field(30, ge=2)
    """Sets to try; the first is that of the settings, moved into the ranges."""
    learning_rate: Range | None = Range(low=2e-5, high=2e-3)
    """Peak rates; null leaves that of the settings."""
    sequences: tuple[int, ...] | None = (16, 32, 64)
    """Examples of a step, fewer steps the more there are; null as above."""
    warmup: Range | None = Range(low=0.01, high=0.4)
    """Shares of the steps in which the rate rises; null as above."""
    weight_decay: Range | None = Range(low=1e-3, high=1.0)
    """AdamW's decay; null as above."""
    eta: float = Field(3.0, gt=1)
    """At every judgement the best 1/eta of those that came so far go on."""

    @property
    def searched(self) -> dict[str, Range | tuple[int, ...]]:
        """What is searched, by name."""
        named = {name: getattr(self, name) for name in ("learning_rate", "sequences", "warmup", "weight_decay")}
        return {name: values for name, values in named.items() if values is not None}

    @model_validator(mode="after")
    def _check(self) -> FinetuneSearch:
        if not self.searched:
            raise ValueError(
                "nothing is searched; accepted: at least one of learning_rate, sequences, warmup, weight_decay"
            )
        if self.warmup is not None and self.warmup.high >= 1:
            raise ValueError(f"warmup rises to {self.warmup.high:g}; accepted: shares below 1")
        if self.sequences is not None and (not self.sequences or min(self.sequences) < 1):
            raise ValueError("sequences are not numbers from 1; accepted: a list of them")
        return self


_OPTIONAL: dict[str, Any] = {"augment": Augment, "search": FinetuneSearch}  # sections that may be null


class Finetune(Frozen):
    """Training of a whole model with a new head on one task."""

    epochs: float = Field(3.0, gt=0)
    """How often the training part is read."""
    least_steps: int = Field(300, ge=1)
    """Training steps at least: small parts are read more often."""
    judged: int = Field(4, ge=1)
    """How often, at equal distances, a model is judged on *select* and a checkpoint is kept."""
    sequences: int = Field(32, ge=1)
    """Examples of a training step."""
    learning_rate: float = Field(1e-4, gt=0)
    """Peak of the linear schedule."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay."""
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    max_length: int | None = Field(None, ge=8)
    """Tokens of a row, special ones counted; the task's own, at most the model's positions, if null."""
    teacher_weight: float = Field(0.5, ge=0, le=1)
    """With a teacher, the weight of the divergence from its predictions; the rest is the task's own loss."""
    temperature: float = Field(1.0, gt=0)
    """Softens the predictions of both."""
    seed: int = Field(0, ge=0)
    """The first seed: of the head, the order of examples and dropout."""
    seeds: int = Field(3, ge=1)
    """Trainings, each with a seed of its own."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the processor multiplies bf16, else fp32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models are trained."""
    executor: Literal["ray", "local"] = "ray"
    """`local` trains in this process, one after the other, without Ray."""
    tracking: Tracking = Tracking()
    augment: Augment | None = None
    """More training examples: the same texts with other words in the place of some; null adds none."""
    search: FinetuneSearch | None = None
    """Hyperparameters to search; null trains with the settings alone."""

    def rungs(self, examples: int) -> tuple[int, ...]:
        """The steps at which models are judged, the last ends the training, of a part of so many ``examples``."""
        steps = max(self.least_steps, ceil(self.epochs * examples / self.sequences))
        return equal_parts(steps, self.judged)

    @property
    def overrides(self) -> list[str]:
        """What differs from the defaults, as ``--set`` takes it."""
        optional = {name: kind() for name, kind in _OPTIONAL.items() if getattr(self, name) is not None}
        return [*(f"{name}={{}}" for name in optional), *overrides_of(self, Finetune(**optional))]

    @property
    def training(self) -> Finetune:
        """It without what changes no result."""
        return self.model_copy(update={name: Finetune.model_fields[name].default for name in _RESULTLESS})
