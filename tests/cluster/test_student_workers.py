"""Two workers train one student together on real local Ray: what one would have made, whoever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas_ray import api
from nas_ray.errors import ClusterError, SpecError
from tests.cluster.test_ray_run import start
from tests.tiny_trial import write_trial

QUICK = ("sequences=4", "learning_rate=2e-4", "precision=fp32", "losses.embedding=0")


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / searched.name))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    """A search without Ray, whose students are trained with it."""
    folder = tmp_path_factory.mktemp("searched")
    trial = write_trial(folder, tiny_teacher_dir, tiny_text_file, search={"num_candidates": 4, "rungs": [1]})
    return api.search(str(trial), storage=folder / "runs").folder


def on_ray(run: Path) -> Path:
    spec = run / "spec.yaml"
    spec.write_text(spec.read_text().replace("executor: local", "executor: ray"))
    return run


@pytest.fixture
def two_cpus() -> Iterator[None]:
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


def weights(student: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(Path(student["folder"]) / "model.safetensors")


def others() -> list[int]:
    """The process ids of second workers."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # gone meanwhile
            if b"ray::StudentWorker" in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def kill_one_after(checkpoint: Path, killed: list[int]) -> None:
    """Kill a second worker once ``checkpoint`` has a file."""
    for _ in range(1200):
        if list(checkpoint.glob("*/step-*.safetensors")) and (found := others()):
            os.kill(found[0], signal.SIGKILL)
            killed.append(found[0])
            return
        time.sleep(0.05)


@pytest.mark.proof
@pytest.mark.usefixtures("two_cpus")
def test_two_workers_train_as_one_does(run: Path) -> None:
    best = api.front(run)["candidates"][-1]["candidate_id"]
    settings = [*QUICK, "steps=24", "judged=2"]
    with pytest.raises(SpecError, match=r"workers: 2, in a run without Ray"):
        api.retrain(run, candidates=[best], overrides=[*settings, "workers=2"])
    alone, folder = alone_first(run, best, settings)
    with pytest.raises(ClusterError, match="4 workers are asked for; accepted: at most the cluster's CPUs, 2"):
        api.retrain(run, candidates=[best], overrides=[*settings, "workers=4"])
    (together,) = api.retrain(run, candidates=[best], overrides=[*settings, "workers=2"])
    assert together["folder"].startswith(str(folder))  # how many train it changes nothing of what it is
    assert_alike(together, alone, within=1e-4)


@pytest.mark.proof
@pytest.mark.usefixtures("two_cpus")
def test_a_killed_worker_changes_nothing(run: Path) -> None:
    best = api.front(run)["candidates"][-1]["candidate_id"]
    settings = [*QUICK, "steps=300", "judged=10"]
    alone, folder = alone_first(run, best, settings)
    killed: list[int] = []
    killer = threading.Thread(target=kill_one_after, args=(folder / "students", killed))
    killer.start()
    (together,) = api.retrain(run, candidates=[best], overrides=[*settings, "workers=2"])
    killer.join()
    assert killed
    assert_alike(together, alone, within=5e-3)


def alone_first(run: Path, candidate: str, settings: list[str]) -> tuple[dict[str, Any], Path]:
    """The student of one worker without Ray, set aside; and the folder where several will make it again."""
    (student,) = api.retrain(run, candidates=[candidate], overrides=settings)
    folder, aside = Path(student["folder"]).parents[1], run / f"alone-{student['spec_hash']}"
    folder.rename(aside)
    on_ray(run)
    return {**student, "folder": str(aside / Path(student["folder"]).relative_to(folder))}, folder


def assert_alike(student: dict[str, Any], other: dict[str, Any], within: float) -> None:
    """Only the order of sums differs."""
    assert student["metrics"]["test_loss"] == pytest.approx(other["metrics"]["test_loss"], rel=0.01)
    mine, theirs = weights(student), weights(other)
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < within


@pytest.mark.proof
def test_a_killed_driver_of_two_workers_goes_on(run: Path, tmp_path: Path) -> None:
    on_ray(run)
    best = api.front(run)["candidates"][-1]["candidate_id"]
    settings = [*QUICK, "steps=900", "judged=30", "workers=2"]
    words = [word for value in settings for word in ("--set", value)]
    process = start(tmp_path, "retrain", run, "--candidate", best, *words)
    for _ in range(1200):
        if len(list(run.glob("retrained/*/students/*/step-*.safetensors"))) > 1:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    again = start(tmp_path, "retrain", run, "--candidate", best, *words)
    assert again.wait(timeout=300) == 0, (tmp_path / "log.txt").read_text()
    (killed,) = api.retrain(run, candidates=[best], overrides=settings)  # finished: only told
    folder = Path(killed["folder"]).parents[1]
    folder.rename(run / "killed")
    (undisturbed,) = api.retrain(run, candidates=[best], overrides=settings)
    aside = run / "killed" / Path(killed["folder"]).relative_to(folder)
    assert_alike({**killed, "folder": str(aside)}, undisturbed, within=5e-3)
