"""What fails in a cluster: a trial that says why, a block actor and a node that are lost while they train."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_ray.distill import JudgeConfig
from nas_ray.measure import EvaluatorConfig
from tests.cluster.test_ray_run import CANDIDATES, assert_complete, kill_a_block_actor, start, wait_for
from tests.search.test_session import LADDER, SPACE, make
from tests.tiny_trial import run_folder, write_trial


@pytest.fixture
def one_node() -> Iterator[None]:
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("one_node")
def test_what_a_trial_raised_is_the_reason_of_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_ray.cluster import _tune, run_search

    monkeypatch.setattr(_tune, "_MAX_FAILURES", 1)  # a worker for each attempt costs seconds
    session = make(tmp_path, num=1)
    evaluator = EvaluatorConfig("run", SPACE, "inherit", str(tmp_path / "nowhere"), (1.0,), 1, np.zeros((1, 1)))
    run_search(session, JudgeConfig(evaluator, LADDER, 1), [], None, max_concurrent=1, progress=lambda _: None)
    session.journal.close()
    assert [outcome.status for outcome in session.outcomes.values()] == ["failed", "failed"]
    assert all(outcome.reason.startswith("TeacherError: ") for outcome in session.outcomes.values())
    assert all("nowhere" in outcome.reason for outcome in session.outcomes.values())


# -- lost while training -----------------------------------------------------------------------------------------------

STEPS = 200


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A Ray cluster of two nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_an_actor_and_a_node_lost_in_training_change_no_loss(
    two_nodes: Any, tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    losses = {}
    lose: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "actor": kill_a_block_actor,
        "node": lambda: two_nodes.remove_node(next(iter(two_nodes.worker_nodes)), allow_graceful=False),
    }
    for name, kill in lose.items():
        trial = write_trial(
            tmp_path / name / "trial",
            tiny_teacher_dir,
            tiny_text_file,
            cluster={"executor": "ray"},
            supernet={"steps": STEPS, "checkpoint_every": 10},
            search={"num_candidates": CANDIDATES},
        )
        storage = tmp_path / name / "runs"
        process = start(storage, "search", trial, "--storage", storage, "--address", two_nodes.address)
        try:
            wait_for(lambda: min(kept(storage, b) for b in (0, 1)) >= 50, process, storage / "log.txt")  # noqa: B023
            kill()
            assert max(kept(storage, block) for block in (0, 1)) < STEPS - 50, "training is over, this proves nothing"
            assert process.wait(timeout=500) == 0, (storage / "log.txt").read_text()
        finally:
            process.kill()
        run = run_folder(storage)
        assert_complete(run)
        blocks = json.loads((run / "supernet" / "blocks.json").read_text())
        losses[name] = [block["curve"][-1] for block in blocks]
    print(losses)
    for name in ("actor", "node"):
        for (step, loss), (same_step, undisturbed) in zip(losses[name], losses["nothing"], strict=True):
            assert step == same_step
            assert loss == pytest.approx(undisturbed, rel=1e-3)


def kept(storage: Path, block: int) -> int:
    """The step of the newest checkpoint."""
    return max((int(f.stem[5:]) for f in storage.glob(f"tiny-*/supernet/block-{block}/step-*.json")), default=-1)
