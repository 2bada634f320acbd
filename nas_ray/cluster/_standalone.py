"""Stand-alone trainings as Tune trials: each asks the actor of its block, which has the states and the device."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune import Callback

from nas_ray.cluster._blocks import RayBlocks
from nas_ray.cluster._tune import NotPickled
from nas_ray.distill import StandAlonePlan
from nas_ray.errors import NasRayError, StageError
from nas_ray.space import Start


class StandAloneTrial(tune.Trainable):
    """One path of one block; ends without a loss if its block was restarted and must be prepared again."""

    def setup(
        self,
        config: dict[str, Any],
        actors: Sequence[Any] = (),
        plan: StandAlonePlan | None = None,
        batches: int = 0,
        start: Start = "inherit",
        seed: int = 0,
    ) -> None:
        self.actors, self.arguments = actors, (plan, batches, start, seed)
        self.task = config["task"]

    def step(self) -> dict[str, Any]:
        block, path_id = self.task
        loss = ray.get(self.actors[block].train_standalone.remote(path_id, *self.arguments))
        return {"loss": loss, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.task = new_config["task"]
        return True


class _Listener(NotPickled, Callback):
    def __init__(self, tell: Callable[[int, str, float], None]) -> None:
        self.tell = tell

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if result["loss"] is not None:
            block, path_id = trial.config["task"]
            self.tell(block, path_id, result["loss"])


def run_standalone(
    blocks: RayBlocks,
    tasks: Sequence[tuple[int, str]],
    plan: StandAlonePlan,
    batches: int,
    start: Start,
    seed: int,
    tell: Callable[[int, str, float], None],
) -> None:
    """Train every (block, path id) of ``tasks``, one a block at a time; ``tell`` hears of each that has a loss.

    Those whose worker was lost have none, and are the caller's to ask for again.

    Raises:
        StageError: what the first failed training says.
    """
    folder = tempfile.mkdtemp(prefix="nas_ray-tune-")
    trainable = tune.with_parameters(
        StandAloneTrial, actors=blocks.actors, plan=plan, batches=batches, start=start, seed=seed
    )
    try:
        found = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 0.01}),  # the block actors compute; Tune wants some
            param_space={"task": tune.grid_search(list(tasks))},
            tune_config=tune.TuneConfig(max_concurrent_trials=blocks.num_blocks, reuse_actors=True),
            run_config=tune.RunConfig(
                name="rank",
                storage_path=folder,
                verbose=0,
                callbacks=[_Listener(tell)],
                failure_config=tune.FailureConfig(fail_fast=True),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for error in found.errors:
        _raise_unless_lost(error)


def _raise_unless_lost(error: BaseException) -> None:
    """Raise what a training raised, under the layers of Ray; a lost actor or object is no error of it."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    if isinstance(error, NasRayError):
        raise error
    if isinstance(error, ray.exceptions.RayTaskError) or not isinstance(error, ray.exceptions.RayError):
        reason = str(error).strip().splitlines()
        raise StageError("rank", f"{type(error).__name__}: {reason[-1] if reason else ''}") from error
