"""A whole search on real local Ray whose blocks train on two workers each, of which two are killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_ray_run import assert_complete, journal, start, wait_for
from tests.tiny_trial import run_folder, write_trial

STEPS = 600


@pytest.fixture
def cluster() -> Iterator[str]:
    """A Ray cluster that this process has joined too; its address."""
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=found.address, namespace="nas_ray", log_to_driver=False)
    yield found.address
    ray.shutdown()
    found.shutdown()


def names() -> list[str]:
    import ray

    return ray.util.list_named_actors()


def workers() -> dict[str, int]:
    """Process ids of the block workers, by block and rank: ``0/1`` is the second of block 0."""
    import ray

    found = {}
    for name in names():
        block, _, rest = name.partition("-block-")[2].partition("-")
        rank = rest.split("-")[1] if rest.startswith("replica-") else "0"
        found[f"{block}/{rank}"] = ray.get(ray.get_actor(name).__ray_call__.remote(lambda worker: os.getpid()))
    return found


def step(storage: Path, block: int) -> int:
    """That of the newest checkpoint."""
    return max((int(f.stem[5:]) for f in storage.glob(f"tiny-*/supernet/block-{block}/step-*.json")), default=-1)


@pytest.mark.proof
def test_two_replicas_of_which_two_are_killed_end_with_a_front(
    cluster: str, tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    storage = tmp_path / "runs"
    supernet = {"steps": STEPS, "checkpoint_every": 10, "replicas": 2}
    trial = write_trial(
        tmp_path / "trial", tiny_teacher_dir, tiny_text_file, cluster={"executor": "ray"}, supernet=supernet
    )
    process = start(storage, "search", trial, "--storage", storage, "--address", cluster)
    try:
        lose_two(storage, process)
        assert process.wait(timeout=400) == 0, (storage / "log.txt").read_text()
    finally:
        process.kill()
    assert_complete(run_folder(storage))


def lose_two(storage: Path, process: subprocess.Popen[str]) -> None:
    log = storage / "log.txt"
    wait_for(lambda: len(names()) == 4, process, log)  # just before training begins
    pids = workers()
    assert sorted(pids) == ["0/0", "0/1", "1/0", "1/1"]
    reached = 0
    for victim in ("0/1", "1/0"):  # one that only trains, then one that keeps the block's state
        wait_for(lambda: min(step(storage, 0), step(storage, 1)) > reached + 20, process, log)  # noqa: B023
        os.kill(pids[victim], signal.SIGKILL)
        reached = max(step(storage, 0), step(storage, 1))
        assert reached < STEPS - 40, "training is nearly over, the kill proves nothing"
    wait_for(lambda: min(step(storage, 0), step(storage, 1)) > reached + 20, process, log)
    wait_for(lambda: any(r["kind"] == "done" for r in journal(storage)), process, log)
    wait_for(lambda: not any("-replica-" in name for name in names()), process, log)  # released after training
