"""How a spec's training is done, for what is trained whole: a student, a teacher's new head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nas_ray.distill import DistillPlan, FinetunedModel, FinetuneJudgeConfig, RetrainedStudent, RetrainJudgeConfig
from nas_ray.spec import Adapt, Retrain
from nas_ray.stages._checks import device_here

Config = TypeVar("Config", FinetuneJudgeConfig, RetrainJudgeConfig)
Model = TypeVar("Model", FinetunedModel, RetrainedStudent)


def distill_plan(spec: Retrain | Adapt, *, seed: int, origin: str, folder: Path) -> DistillPlan:
    """The plan of ``spec``; two checkpoints are kept in ``folder``, for weights that began as ``origin``."""
    return DistillPlan(
        steps=spec.rungs,
        learning_rate=spec.learning_rate,
        sequences=spec.sequences,
        weight_decay=spec.weight_decay,
        warmup=spec.warmup,
        clip=spec.clip,
        precision=spec.precision,
        seed=seed,
        origin=origin,
        folder=folder,
        device=spec.device,
        kept=2,
    )


def on_driver(config: Config) -> Config:
    """What workers were given, for a driver that may lack their GPU."""
    return replace(config, plan=replace(config.plan, device=device_here(config.plan.device)))


def at_its_end(model: Model, say: Callable[[str], None]) -> Model:
    """``model`` from its last checkpoint; where a full disk kept none, what is missing is trained again, and told."""
    step, last = model.training.step, model.training.plan.steps[-1]
    if step < last:
        name = model.assignment.candidate_id
        say(f"  {name}: its last checkpoint is of step {step} of {last}; what is missing is trained again here")
    return model.trained()
