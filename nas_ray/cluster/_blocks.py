"""Block workers as named, restartable Ray actors; hidden states pass from actor to actor by reference."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import ray

from nas_ray.cluster._session import LOOPBACK, cpus_of_a_node, gpu_share, num_cpus
from nas_ray.data import Batch
from nas_ray.distill import BlockConfig, BlockWorker, join_replicas
from nas_ray.errors import ClusterError, NasRayError

_SHARE = 0.1  # of a CPU for all actors together, so that any number of them starts on one core


class RayBlocks:
    """The block actors of one run, spread over the cluster.

    They reserve next to nothing: while they train nothing else runs, and later they only hold the shared weights.
    Hidden states flow through one chain of actors for each replica; the chains behind the first live while there is
    something to train. The actors of one block, one of each chain, are a group that averages gradients.
    """

    def __init__(self, run: str, configs: list[BlockConfig]) -> None:
        self.num_blocks, self.replicas = len(configs), configs[0].replicas
        self._run, workers = run, len(configs) * configs[0].replicas
        self._share = _SHARE / workers
        self._gpus = gpu_share(workers) if configs[0].device == "cuda" else 0.0
        threads = min(max(1, num_cpus() // workers), cpus_of_a_node())
        self._configs = [replace(config, threads=config.threads or threads) for config in configs]
        self._chains = [self._chain(0)]
        self.call("position")  # raises here what their __init__ raised

    @property
    def actors(self) -> list[Any]:
        """The first actor of each block."""
        return self._chains[0]

    def _chain(self, rank: int) -> list[Any]:
        actor: Any = ray.remote(BlockWorker)
        suffix = f"replica-{rank}-{os.getpid()}" if rank else f"{os.getpid()}"
        return [
            actor.options(
                name=f"{self._run}-block-{config.block}-{suffix}",
                num_cpus=self._share,
                num_gpus=self._gpus,
                max_restarts=-1,
                max_task_retries=-1,
                scheduling_strategy="SPREAD",
            ).remote(replace(config, rank=rank))
            for config in self._configs
        ]

    def feed(self, split: str, index: int, batch: Batch) -> None:
        hidden: Any = batch.ids
        for actor in self._chains[index % len(self._chains) if split == "train" else 0]:
            hidden = actor.forward.remote(split, index, hidden, batch.mask)

    def train(self, index: int) -> list[Any]:
        return [actor.train_step.remote(index) for chain in self._chains for actor in chain]

    def result(self, ticket: list[Any]) -> list[dict[str, Any]]:
        return self._get(ticket)

    def held(self) -> list[set[int]]:
        cached = [self._get([actor.cached.remote() for actor in chain]) for chain in self._chains]
        return [set.intersection(*map(set, chain)) for chain in cached]

    def regroup(self) -> bool:
        if self.replicas == 1:
            return True
        if len(self._chains) == 1:
            self._chains += [self._chain(rank) for rank in range(1, self.replicas)]
        whole = self._on(((actor, _is_whole) for chain in self._chains for actor in chain), self.num_blocks)
        broken = [block for block in range(self.num_blocks) if not all(chain[block] for chain in whole)]
        groups = [[chain[block] for chain in self._chains] for block in broken]
        places = self._on(((actor, _node_ip) for group in groups for actor in group), self.replicas)
        hosts = [group if len(set(group)) > 1 else [LOOPBACK] * self.replicas for group in places]
        ports = self._get([g[0].__ray_call__.remote(_open, h[0]) for g, h in zip(groups, hosts, strict=True)])
        if not all(ports):
            return False
        joined = [
            actor.__ray_call__.remote(join_replicas, group_hosts[0], port, host)
            for group, group_hosts, port in zip(groups, hosts, ports, strict=True)
            for actor, host in zip(group, group_hosts, strict=True)
        ]
        return all(self._get(joined))

    def _on(self, calls: Iterable[tuple[Any, Any]], length: int) -> list[list[Any]]:
        """What each function says of its actor, in rows of ``length``."""
        found = self._get([actor.__ray_call__.remote(function) for actor, function in calls])
        return [found[at : at + length] for at in range(0, len(found), length)]

    def release(self) -> None:
        if len(self._chains) > 1:
            for actor in self.actors:
                actor.__ray_call__.remote(_leave)
        for chain in self._chains[1:]:
            for actor in chain:
                ray.kill(actor)
        del self._chains[1:]

    def call(self, method: str, *arguments: Any) -> list[Any]:
        return self._get([getattr(actor, method).remote(*arguments) for actor in self.actors])

    def call_one(self, block: int, method: str, *arguments: Any) -> Any:
        return self._get([getattr(self.actors[block], method).remote(*arguments)])[0]

    def score_each(self, path_ids: list[list[str]]) -> list[dict[str, float] | None]:
        return self._get([a.score.remote(ids) for a, ids in zip(self.actors, path_ids, strict=True)])

    def publish(self) -> list[Any]:
        # Owned by this process, on its node: a node that is lost in the search takes none of it along.
        references, published = [actor.publish.remote() for actor in self.actors], []
        while references:
            shared = self._get([references.pop(0)])[0]
            published.append(None if shared is None else ray.put(shared))
        return published

    def close(self) -> None:
        self.release()
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


def _is_whole(worker: BlockWorker) -> bool:
    return worker.group.whole


def _node_ip(worker: BlockWorker) -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _open(worker: BlockWorker, host: str) -> int:
    try:
        return worker.group.open(host)
    except (OSError, RuntimeError):  # restarted meanwhile, on another node
        return 0


def _leave(worker: BlockWorker) -> None:
    worker.group.leave()
