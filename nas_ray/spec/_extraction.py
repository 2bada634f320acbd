"""Optimal sub-architecture extraction: which plain encoders are trained for a few steps, and what is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas_ray.spec._frozen import Frozen

Sequences = Annotated[int, Field(ge=1)]


class HyperparameterSet(Frozen):
    """One set; what it does not name is as in `search.distill`."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak of the linear schedule."""
    sequences: Sequences | None = None
    """Sequences of a training step."""
    weight_decay: float | None = Field(None, ge=0)
    """AdamW's decay."""

    @model_validator(mode="after")
    def _check(self) -> HyperparameterSet:
        if not self.chosen:
            raise ValueError("an empty set; accepted: learning_rate, sequences or weight_decay")
        return self

    @property
    def chosen(self) -> dict[str, float | int]:
        """What it names."""
        return self.model_dump(exclude_none=True)


class Extraction(Frozen):
    """The FPTAS of de Wynter (2020), for spaces of kind uniform."""

    epsilon: int = Field(4, ge=1)
    """Of the architectures in their intrinsic order every `epsilon`-th is trained; 1 trains them all."""
    error: Literal["auto", "cross_entropy", "hidden_state"] = "auto"
    """`cross_entropy` with the maximum point's predictions; `hidden_state`: the share of its last hidden state that a
    refitted readout of the student's does not explain. `auto`: the first where the teacher has an MLM head."""
    start: Literal["inherit", "scratch"] = "inherit"
    """Where students start: `inherit` fits the teacher's weights to the student's sizes, `scratch` is the papers'."""
    latency: Literal["operations", "measured"] = "operations"
    """What W takes for speed: operations in closed form, or milliseconds of the latency table."""
    floor: float = Field(1e-3, gt=0)
    """Errors below count as this, so that W is finite."""
    hyperparameter_sets: tuple[HyperparameterSet, ...] = ()
    """Each architecture is trained with each; not beside ranges in `search.distill`."""
    draws: int = Field(4, ge=1)
    """Sets an architecture, where `search.distill` has ranges or lists: their middle, then what Optuna's TPE suggests;
    all of them where there are no more."""
    early_stopping: bool = False
    """Whether `search.scheduler` stops trainings at the steps of `search.distill`; the papers train all to the end."""
    weight_bound: float = Field(8.0, gt=0)
    """Largest absolute weight: what is beyond is clipped after each step."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the maximum point computes and students are trained; with `cuda` all of them share the cluster's GPUs."""
    cache_bytes: int = Field(4_000_000_000, ge=0)
    """The maximum point's outputs that are kept for all candidates; the rest is computed again."""

    @model_validator(mode="after")
    def _check(self) -> Extraction:
        sets = [tuple(sorted(found.chosen.items())) for found in self.hyperparameter_sets]
        if len(set(sets)) < len(sets):
            raise ValueError("hyperparameter_sets lists one set twice; accepted: different ones")
        return self
