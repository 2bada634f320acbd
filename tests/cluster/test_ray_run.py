"""Whole searches on real local Ray: one core and four blocks, a lost block actor, and a driver killed twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from nas_ray.tables import read_parquet
from tests.tiny_trial import SPACE, command, environment, nas_ray, nas_ray_process, run_folder, write_trial

CANDIDATES = 10
RAY = {"executor": "ray"}


@pytest.fixture
def one_core() -> Iterator[str]:
    """A Ray cluster with one CPU; its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


def start(storage: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """``nas-ray`` in a process group of its own, its output in a file."""
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "log.txt").open("a") as log:
        return subprocess.Popen(
            command(*arguments), env=environment(), stdout=log, stderr=log, text=True, start_new_session=True,
            preexec_fn=_hear_sigint,
        )  # fmt: skip


def _hear_sigint() -> None:
    """A shell's background job, which these tests may be part of, ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], log: Path, timeout: float = 400) -> None:
    """Until ``condition`` holds; fails where the process ends before."""
    end = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def journal(storage: Path) -> list[dict[str, object]]:
    files = list(storage.glob("tiny-*/journal.jsonl"))
    return [json.loads(line) for line in files[0].read_text().splitlines()] if files else []


def assert_complete(run: Path) -> None:
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    done = [r["candidate_id"] for r in records if r["kind"] == "done"]
    kinds = {r["candidate_id"]: r["task"] for r in records if r["kind"] == "suggested"}
    assert len(done) == len(set(done)) == len(kinds)
    assert list(kinds.values()).count("candidate") == CANDIDATES
    found = json.loads(nas_ray("front", run, "--json").stdout)
    assert found["candidates"]


def kill_a_block_actor() -> None:
    """SIGKILL one block worker of the cluster that this process has started."""
    import psutil

    workers = [p for p in psutil.Process().children(recursive=True) if "ray::BlockWorker" in " ".join(p.cmdline())]
    assert workers, "no block actor is running"
    workers[-1].kill()


def killed_while_searching(process: subprocess.Popen[str], storage: Path) -> list[object]:
    """What had been suggested when the driver was killed, a candidate being done."""
    wait_for(lambda: any(r["kind"] == "done" for r in journal(storage)), process, storage / "log.txt")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert sum(r["kind"] == "done" for r in journal(storage)) < CANDIDATES, "the search is over, this proves nothing"
    return [r["candidate_id"] for r in journal(storage) if r["kind"] == "suggested"]


def assert_goes_on(storage: Path, suggested: list[object]) -> None:
    """``nas-ray resume`` ends the only run, with what had been ``suggested`` first."""
    run = run_folder(storage)
    result = nas_ray_process("resume", run)
    assert result.returncode == 0, result.stderr + result.stdout
    assert_complete(run)
    assert [r["candidate_id"] for r in journal(storage) if r["kind"] == "suggested"][: len(suggested)] == suggested


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_four_blocks_on_one_core_lose_an_actor_and_end_with_a_front(
    one_core: str, tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    storage = tmp_path / "runs"
    trial = write_trial(
        tmp_path / "trial",
        tiny_teacher_dir,
        tiny_text_file,
        cluster=RAY,
        supernet={"steps": 40},
        ranking={"paths": 3},
        tracking={"enabled": True},
    )
    (trial.parent / "space.yaml").write_text(yaml.safe_dump({**SPACE, "blocks": 4, "widths": [32, 64]}))
    process = start(storage, "search", trial, "--storage", storage, "--address", one_core)
    wait_for(lambda: any(storage.glob("tiny-*/supernet/block-3/step-*.json")), process, storage / "log.txt")
    kill_a_block_actor()
    assert process.wait(timeout=400) == 0, (storage / "log.txt").read_text()
    run = run_folder(storage)
    assert_complete(run)
    assert_mlflow(storage, run)
    columns, _ = read_parquet(run / "tables" / "ranking.parquet")
    assert sorted(columns["block"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    best = json.loads(nas_ray("front", run, "--json").stdout)["candidates"]
    ids = [word for row in (best[0], best[-1]) for word in ("--candidate", row["candidate_id"])]
    settings = ("--set", "steps=4", "--set", "judged=2", "--set", "sequences=2")
    retrained = nas_ray_process("retrain", run, *ids, *settings, "--address", one_core, "--json")
    assert retrained.returncode == 0, retrained.stderr
    assert all((Path(found["folder"]) / "model.safetensors").is_file() for found in json.loads(retrained.stdout))
    assert_retrained_in_mlflow(storage, {row["candidate_id"] for row in (best[0], best[-1])})


def assert_retrained_in_mlflow(storage: Path, ids: set[str]) -> None:
    """A run a student beside its candidate's, and a summary of their own, none RUNNING."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert all(r.info.status == "FINISHED" for r in runs)
    students = [r for r in runs if r.data.tags.get("nas_ray.stage") == "retrain"]
    assert {r.data.tags["nas_ray.candidate_id"] for r in students} == ids
    assert all(r.data.metrics["test_similarity"] <= 1 for r in students)
    assert [r.data.tags["nas_ray.kind"] for r in runs].count("summary") == 2


def assert_mlflow(storage: Path, run: Path) -> None:
    """One run a candidate and reference, one summary, none RUNNING; the tag shows the front."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert all(r.info.status == "FINISHED" for r in runs)
    kinds = [r.data.tags["nas_ray.kind"] for r in runs]
    assert kinds.count("candidate") == CANDIDATES
    assert kinds.count("reference") == 2  # uniform 32, teacher
    assert kinds.count("summary") == 1
    front = client.search_runs([experiment.experiment_id], "tags.pareto = 'true'")
    found = json.loads(nas_ray("front", run, "--json").stdout)["candidates"]
    assert {r.data.tags["nas_ray.candidate_id"] for r in front} == {row["candidate_id"] for row in found}


def test_killed_while_searching_it_goes_on(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    storage = tmp_path / "a folder with spaces"
    trial = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file, cluster=RAY, supernet={"steps": 4})
    suggested = killed_while_searching(start(storage, "search", trial, "--storage", storage), storage)
    assert_goes_on(storage, suggested)


@pytest.mark.proof
def test_killed_while_training_and_while_searching_then_interrupted(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    storage = tmp_path / "runs"
    trial = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file, cluster=RAY, supernet={"steps": 60})
    log = storage / "log.txt"
    process = start(storage, "search", trial, "--storage", storage)
    wait_for(lambda: any(storage.glob("tiny-*/supernet/block-1/step-*.json")), process, log)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run = run_folder(storage)
    assert json.loads(nas_ray("status", run, "--json").stdout)["stages"]["supernet"] is None

    suggested = killed_while_searching(start(storage, "resume", run), storage)
    before = sum(r["kind"] == "done" for r in journal(storage))
    process = start(storage, "resume", run)
    wait_for(lambda: sum(r["kind"] == "done" for r in journal(storage)) > before, process, log)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=200) == 130, log.read_text()
    assert "go on with: nas-ray resume" in log.read_text()
    assert_goes_on(storage, suggested)
