"""Stand-alone trainings as Tune trials: an error is raised as it was said, a lost block is only asked again."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nas_ray.distill import StandAlonePlan
from nas_ray.errors import StageError

PLAN = StandAlonePlan(steps=1, sequences=1, learning_rate=1e-3)


class Block:
    """Answers by the name of the path; has states to publish if it is given some."""

    def __init__(self, states: dict[str, int] | None = None) -> None:
        self.states = states

    def train_standalone(self, path_id: str, *_: Any) -> float | None:
        if path_id == "full":
            raise StageError("rank", "no room for its states")
        if path_id == "broken":
            raise ZeroDivisionError("nothing to divide by")
        return None if path_id == "lost" else 0.5

    def publish(self) -> dict[str, int] | None:
        return self.states


@pytest.fixture(scope="module")
def blocks() -> Iterator[Any]:
    """Two block actors on a Ray of this process."""
    from nas_ray.cluster import num_cpus  # isort: skip  (the package sets Ray's environment first)
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    actor: Any = ray.remote(Block)
    assert num_cpus() == 1
    yield SimpleNamespace(actors=[actor.options(num_cpus=0).remote() for _ in range(2)], num_blocks=2)
    ray.shutdown()


def run(blocks: Any, *tasks: tuple[int, str]) -> list[tuple[int, str, float]]:
    from nas_ray.cluster import run_standalone

    told: list[tuple[int, str, float]] = []
    run_standalone(blocks, tasks, PLAN, 1, "inherit", 0, lambda *row: told.append(row))
    return told


def test_a_loss_is_told_and_a_lost_block_is_not(blocks: Any) -> None:
    assert sorted(run(blocks, (0, "a"), (1, "lost"), (1, "b"))) == [(0, "a", 0.5), (1, "b", 0.5)]


@pytest.mark.parametrize(
    ("path_id", "message"),
    [("full", "^stage rank: no room for its states$"), ("broken", "ZeroDivisionError: nothing to divide by$")],
)
def test_an_error_is_raised_as_it_was_said(blocks: Any, path_id: str, message: str) -> None:
    one_at_a_time = SimpleNamespace(actors=blocks.actors, num_blocks=1)  # each trial's process takes seconds to start
    with pytest.raises(StageError, match=message):
        run(one_at_a_time, (1, path_id), (0, "b"))


def test_lost_actors_and_objects_are_no_errors_of_a_training() -> None:
    import ray

    from nas_ray.cluster._standalone import _raise_unless_lost

    _raise_unless_lost(ray.exceptions.ActorDiedError())
    _raise_unless_lost(ray.exceptions.RayTaskError("step", "", ray.exceptions.ActorUnavailableError("gone", None)))
    with pytest.raises(StageError, match="ValueError: odd"):
        _raise_unless_lost(ray.exceptions.RayTaskError("step", "", ValueError("odd")))


def test_what_is_published_needs_its_actor_no_longer(blocks: Any) -> None:
    import ray

    from nas_ray.cluster import RayBlocks

    actor: Any = ray.remote(Block)
    lost, whole = actor.options(num_cpus=0).remote(), actor.options(num_cpus=0).remote({"weights": 1})
    published = RayBlocks.publish(SimpleNamespace(actors=[lost, whole], _get=ray.get))  # type: ignore[arg-type]
    ray.kill(whole)
    assert published[0] is None
    assert ray.get(published[1]) == {"weights": 1}
