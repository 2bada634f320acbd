"""The maximum point as one shared actor: its outputs are computed once, whichever trial asks first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from numpy.typing import NDArray

from nas_ray.cluster._session import cpus_of_a_node, num_cpus
from nas_ray.distill import OutputsConfig, TeacherOutputs, TrainingText

_SHARE = 0.1  # of a CPU: while it computes, the trial that asked waits


@dataclass(frozen=True)
class RayOutputs:
    """The actor's outputs, for any process of the cluster."""

    actor: Any

    def of(self, chosen: Sequence[int]) -> NDArray[Any]:
        """Outputs of the training sequences ``chosen``."""
        return self._ask("of", list(chosen))  # type: ignore[no-any-return]

    def of_text(self, text: TrainingText) -> NDArray[Any]:
        """Outputs of another text."""
        return self._ask("of_text", text)  # type: ignore[no-any-return]

    def decoder(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """What makes predictions of them, if they are features of a head."""
        return self._ask("decoder")  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the actor."""
        ray.kill(self.actor)

    def _ask(self, method: str, *arguments: Any) -> Any:
        return ray.get(getattr(self.actor, method).remote(*arguments))


def share_outputs(run: str, config: OutputsConfig, text: TrainingText) -> RayOutputs:
    """The teacher actor of ``run``; it restarts where its node or process is lost, and computes again what it kept."""
    actor: Any = ray.remote(TeacherOutputs)
    options = {"num_cpus": _SHARE, "max_restarts": -1, "max_task_retries": -1}
    threads = max(1, min(num_cpus(), cpus_of_a_node()))
    name = f"{run}-teacher-{os.getpid()}"
    return RayOutputs(actor.options(name=name, **options).remote(replace(config, threads=threads), ray.put(text)))


def put(value: Any) -> Any:
    """``value`` in the object store, by reference."""
    return ray.put(value)
