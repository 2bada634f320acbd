"""The maximum point as one shared actor: its outputs are computed once, whichever trial asks first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from numpy.typing import NDArray

from nas_ray.cluster._session import cpus_of_a_node, gpu_share, num_cpus, num_gpus
from nas_ray.distill import OutputsConfig, TeacherOutputs, TrainingText
from nas_ray.errors import NasRayError

_SHARE = 0.1  # of a CPU: while it computes, the trial that asked waits

Array = NDArray[Any]


@dataclass(frozen=True)
class RayOutputs:
    """The actor's outputs, for any process of the cluster."""

    actor: Any

    def groups(self, rows: Mapping[int, TrainingText]) -> dict[int, Array]:
        """Outputs of groups of sequences of the training text."""
        return self._ask("groups", dict(rows))  # type: ignore[no-any-return]

    def once(self, rows: TrainingText) -> Array:
        """Outputs of sequences that nobody will ask for again."""
        return self._ask("once", rows)  # type: ignore[no-any-return]

    def decoder(self) -> tuple[Array, Array] | None:
        """What makes predictions of them, if they are features of a head."""
        return self._ask("decoder")  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the actor."""
        ray.kill(self.actor)

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(self.actor, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, NasRayError):
                raise error.cause from error
            raise


def share_outputs(run: str, config: OutputsConfig) -> RayOutputs:
    """The teacher actor of ``run``; it restarts where its node or process is lost, and computes again what it kept."""
    actor: Any = ray.remote(TeacherOutputs)
    gpus = gpu_share(num_gpus() + 1) if config.device == "cuda" else 0.0
    options = {"num_cpus": _SHARE, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": -1}
    threads = max(1, min(num_cpus(), cpus_of_a_node()))
    return RayOutputs(
        actor.options(name=f"{run}-teacher-{os.getpid()}", **options).remote(replace(config, threads=threads))
    )


def put(value: Any) -> Any:
    """``value`` in the object store, by reference."""
    return ray.put(value)


def take(references: Sequence[Any]) -> list[Any]:
    """What is in the object store under ``references``."""
    return ray.get(list(references))
