"""Runs that end oddly and go on all the same: a disk that fills up, Ctrl-C twice, another machine."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest

from nas_ray import api
from nas_ray.errors import RunError
from nas_ray.stages import Run, Silent
from nas_ray.tables import PartTable, read_parquet
from tests.cluster.test_ray_run import start, wait_for
from tests.stages.test_kill import before_the_search
from tests.tiny_trial import nas_ray, run_folder, write_trial


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    trial = write_trial(folder / "trial", tiny_teacher_dir, tiny_text_file)
    return api.search(str(trial), storage=folder / "runs").folder


class Heard(Silent):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_records", [3, 12, 20])
def test_a_disk_that_is_full_in_mid_search_loses_nothing(
    num_records: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = before_the_search(whole, tmp_path)
    write, left = os.write, [num_records]

    def until_full(handle: int, data: bytes) -> int:
        left[0] -= 1
        if left[0] == 0:
            return write(handle, data[: len(data) // 2])
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    monkeypatch.setattr("nas_ray.search._journal.os.write", until_full)
    with pytest.raises(RunError, match=r"journal\.jsonl: cannot be written: No space left .* Free space.* resume"):
        api.resume(run)
    monkeypatch.undo()
    assert not Run.open(run).is_done("search")
    api.resume(run)
    assert (run / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()
    assert read_parquet(run / "front.parquet") == read_parquet(whole / "front.parquet")


# -- Ctrl-C, twice -----------------------------------------------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.parametrize("pause", [0.3, 1.5])
def test_an_impatient_ctrl_c_leaves_a_run_that_goes_on(
    pause: float, tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    storage = tmp_path / "runs"
    trial = write_trial(
        tmp_path / "trial",
        tiny_teacher_dir,
        tiny_text_file,
        cluster={"executor": "ray"},
        search={"num_candidates": 100},
        tracking={"enabled": True},
    )
    process = start(storage, "search", trial, "--storage", storage)
    try:
        wait_for(lambda: ended(storage) >= 2, process, storage / "log.txt")
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130, (storage / "log.txt").read_text()
    finally:
        process.kill()
    log = (storage / "log.txt").read_text()
    assert "interrupted; go on with: nas-ray resume" in log
    assert "Traceback" not in log
    run = run_folder(storage)
    assert 2 <= ended(storage) < 100
    assert not Run.open(run).is_locked
    done = nas_ray("resume", run)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    ends = [r["candidate_id"] for r in found if r["kind"] == "done"]
    assert len(ends) == len(set(ends)) == sum(r["kind"] == "suggested" for r in found)
    assert statuses(storage) == {"FINISHED"}


def ended(storage: Path) -> int:
    files = list(storage.glob("tiny-*/journal.jsonl"))
    return files[0].read_text().count('"done"') if files else 0


def statuses(storage: Path) -> set[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    place = client.get_experiment_by_name("tiny")
    assert place is not None
    return {run.info.status for run in client.search_runs([place.experiment_id], max_results=1000)}


# -- another machine ---------------------------------------------------------------------------------------------------


def test_on_another_machine_the_latency_table_stays_and_that_is_said(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = before_the_search(whole, tmp_path)
    table = (run / "tables" / "latency.parquet").read_bytes()
    here = PartTable.read(run / "tables" / "latency.parquet").metadata["key"]["processor"]
    monkeypatch.setattr("nas_ray.stages._checks.processor", lambda: "another processor")
    heard = Heard()
    api.resume(run, console=heard)
    (said,) = [line for line in heard.lines if "latency was measured" in line]
    assert f"measured on {here}, 1 threads; this is another processor, 1 threads. The table stays" in said
    assert "--from profile` measures it here" in said
    assert (run / "tables" / "latency.parquet").read_bytes() == table
    assert (run / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()


def test_on_the_same_machine_nothing_is_said(whole: Path, tmp_path: Path) -> None:
    heard = Heard()
    api.resume(before_the_search(whole, tmp_path), console=heard)
    assert not [line for line in heard.lines if "latency was measured" in line]
