"""Block workers as named, restartable Ray actors; hidden states pass from actor to actor by reference."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import ray

from nas_ray.cluster._session import cpus_of_a_node, num_cpus
from nas_ray.data import Batch
from nas_ray.distill import BlockConfig, BlockWorker
from nas_ray.errors import ClusterError, NasRayError

_SHARE = 0.1  # of a CPU for all blocks together, so that any number of them starts on one core


class RayBlocks:
    """The block actors of one run, spread over the cluster.

    They reserve next to nothing: while they train nothing else runs, and later they only hold the shared weights.
    """

    def __init__(self, run: str, configs: list[BlockConfig]) -> None:
        self.num_blocks = len(configs)
        threads = min(max(1, num_cpus() // self.num_blocks), cpus_of_a_node())
        actor: Any = ray.remote(BlockWorker)
        self.actors: list[Any] = [
            actor.options(
                name=f"{run}-block-{config.block}-{os.getpid()}",
                num_cpus=_SHARE / self.num_blocks,
                max_restarts=-1,
                max_task_retries=-1,
                scheduling_strategy="SPREAD",
            ).remote(replace(config, threads=config.threads or threads))
            for config in configs
        ]
        self.call("position")  # raises here what their __init__ raised

    def feed(self, split: str, index: int, batch: Batch) -> None:
        hidden: Any = batch.ids
        for actor in self.actors:
            hidden = actor.forward.remote(split, index, hidden, batch.mask)

    def train(self, index: int) -> list[Any]:
        return [actor.train_step.remote(index) for actor in self.actors]

    def result(self, ticket: list[Any]) -> list[dict[str, Any]]:
        return self._get(ticket)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        return self._get([getattr(actor, method).remote(*arguments) for actor in self.actors])

    def call_one(self, block: int, method: str, *arguments: Any) -> Any:
        return self._get([getattr(self.actors[block], method).remote(*arguments)])[0]

    def score_each(self, path_ids: list[list[str]]) -> list[dict[str, float] | None]:
        return self._get([a.score.remote(ids) for a, ids in zip(self.actors, path_ids, strict=True)])

    def publish(self) -> list[Any]:
        references = [actor.publish.remote() for actor in self.actors]
        ray.wait(references, num_returns=len(references), fetch_local=False)
        return references

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)

    def _get(self, references: list[Any]) -> list[Any]:
        try:
            return ray.get(references)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, NasRayError):
                raise error.cause from error
            raise
        except ray.exceptions.ActorDiedError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, NasRayError):
                raise cause from error
            raise ClusterError(f"a block actor cannot be started: {' '.join(str(error).split())[:400]}") from error
