"""Bort's training loop: hyperparameter sets that are given up one after the other, and data made of mistakes."""

from __future__ import annotations

from itertools import product

from pydantic import Field, model_validator

from nas_ray.spec._augment import Augment
from nas_ray.spec._finetune import Finetune
from nas_ray.spec._frozen import Frozen
from nas_ray.spec._overrides import overrides_of


class Agora(Frozen):
    """Every set of hyperparameters is one of each list; all are trained in the first round."""

    learning_rates: tuple[float, ...] = Field((5e-5, 1e-4, 3e-4), min_length=1)
    """Peak rates."""
    sequences: tuple[int, ...] = Field((16, 32), min_length=1)
    """Examples of a step."""
    warmups: tuple[float, ...] = Field((0.06, 0.4), min_length=1)
    """Shares of the steps in which the rate rises."""
    weight_decays: tuple[float, ...] = Field((0.01,), min_length=1)
    """AdamW's decay."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Of the head, the order of examples and dropout."""
    dev_share: float = Field(0.2, gt=0, lt=1)
    """Share of the training examples, by group, that feeds the loop: it orders sets, and mistakes on it are changed."""
    transform: Augment = Augment(copies=4)
    """How examples are made of each mistake; a teacher labels them."""
    most_rounds: int = Field(12, ge=1)
    """Rounds at most; usually nothing is left before."""
    training: Finetune = Finetune()
    """How each set is trained; its hyperparameters are those of the set, its search, augment and seeds are not used."""

    @property
    def sets(self) -> list[dict[str, float | int]]:
        """All sets of hyperparameters."""
        lists = (self.learning_rates, self.sequences, self.warmups, self.weight_decays, self.seeds)
        names = ("learning_rate", "sequences", "warmup", "weight_decay", "seed")
        return [dict(zip(names, values, strict=True)) for values in product(*lists)]

    @property
    def overrides(self) -> list[str]:
        """What differs from the defaults, as ``--set`` takes it."""
        return overrides_of(self, Agora())

    @model_validator(mode="after")
    def _check(self) -> Agora:
        if self.training.search is not None or self.training.augment is not None:
            raise ValueError("training.search or training.augment beside the loop's own; accepted: null")
        if len({tuple(found.values()) for found in self.sets}) < len(self.sets):
            raise ValueError("a list has a value twice; accepted: different ones")
        if len(self.sets) < 2:
            raise ValueError("there is one set of hyperparameters; accepted: two or more")
        return self
