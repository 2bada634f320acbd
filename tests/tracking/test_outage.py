"""A server that dies, hangs and comes back in the middle of a search, and the run that is sent again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from nas_ray import api
from nas_ray.errors import RunError, TrackingError
from nas_ray.stages import Run as RunFolder
from nas_ray.tracking import MlflowTracker
from tests.tiny_trial import nas_ray, run_folder, write_trial
from tests.tracking.conftest import open_door
from tests.tracking.test_mlflow import tell

Open = Callable[[str], MlflowTracker]


def runs(uri: str, experiment: str = "quickstart") -> list[Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], max_results=1000))


def assert_one_each(uri: str, count: int) -> None:
    """``count`` candidates and the summary, one run each, all of them finished with all their metrics."""
    found = runs(uri)
    names = Counter(run.data.tags.get("nas_ray.candidate_id", "summary") for run in found)
    assert names == {"summary": 1, **{f"candidate-{i}": 1 for i in range(count)}}
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        if "nas_ray.candidate_id" in run.data.tags:
            number = int(run.data.tags["nas_ray.candidate_id"].partition("-")[2])
            assert run.data.metrics["select_loss"] == 0.25 + number
            assert run.data.params["embedding_size"] == "128"
            steps = [p.step for p in MlflowClient(uri).get_metric_history(run.info.run_id, "loss")]
            assert steps == [8, 32]


def test_stopped_in_a_search_that_is_resumed(server: Any, open_tracker: Open, tmp_path: Path) -> None:
    server.start()
    first = open_tracker(server.uri)
    tell(first, range(8))
    assert first.flush(120)
    server.kill()
    tell(first, range(8, 16))
    began = time.monotonic()
    assert not first.close(60)
    assert time.monotonic() - began < 20  # it does not wait for a server that refuses at once
    assert (tmp_path / "run" / "tracking.jsonl").stat().st_size > 0
    again = open_tracker(server.uri)  # a resumed search tells everything again
    tell(again, range(20))
    server.start()
    tell(again, range(20, 24))
    again.summary({}, {})
    assert again.close(120)
    assert_one_each(server.uri, 24)
    assert not (tmp_path / "run" / "tracking.jsonl").exists()


def test_what_a_hanging_server_does_late_leaves_no_second_run(
    server: Any, open_tracker: Open, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server.start()
    tracker = open_tracker(server.uri)
    tell(tracker, range(4))
    assert tracker.flush(120)
    server.freeze()
    began = time.monotonic()
    tell(tracker, range(4, 8))
    assert time.monotonic() - began < 1
    assert not tracker.flush(30)
    assert "cannot be used now" in warned[0]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    server.thaw()
    tracker.summary({}, {})
    assert tracker.close(120)
    assert_one_each(server.uri, 8)


def test_a_request_that_is_served_late_leaves_no_second_run(
    server: Any, open_tracker: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    server.start()
    late: list[str] = []

    def delay(request: BaseHTTPRequestHandler) -> bool:
        if request.path.endswith("/runs/create") and not late and told.is_set():
            late.append(request.path)
            served.wait(120)
        return True

    told, served = threading.Event(), threading.Event()
    door = open_door(server.port, delay)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    try:
        tracker = open_tracker(f"http://127.0.0.1:{door.server_address[1]}")
        assert tracker.flush(120)
        told.set()
        tell(tracker, range(2))
        assert tracker.flush(120)
        assert late
        before = len(runs(server.uri))
        served.set()
        deadline = time.monotonic() + 60
        while len(runs(server.uri)) == before:  # the second run of candidate-0, which nobody waits for
            assert time.monotonic() < deadline
            time.sleep(0.1)
        tracker.summary({}, {})
        assert tracker.close(120)
    finally:
        served.set()
        door.shutdown()
        door.server_close()
    assert_one_each(server.uri, 2)


def test_a_call_costs_a_line_on_disk(server: Any, open_tracker: Open) -> None:
    server.start()
    tracker = open_tracker(server.uri)
    assert tracker.flush(120)
    seconds = {}
    for state, change in {"answers": lambda: None, "hangs": server.freeze, "dead": server.kill}.items():
        change()
        began = time.monotonic()
        tell(tracker, range(100))
        seconds[state] = time.monotonic() - began
        print(f"{state}: {10 * seconds[state]:.1f} ms a candidate")
    assert max(seconds.values()) < 5


def test_of_two_runs_of_one_candidate_the_fuller_stays(uri: str, open_tracker: Open) -> None:
    tracker = open_tracker(uri)
    tell(tracker, range(2))
    tracker.summary({}, {})
    assert tracker.close(120)
    client, whole = MlflowClient(uri), {run.info.run_id for run in runs(uri)}
    for run in runs(uri):
        tags = {k: v for k, v in run.data.tags.items() if k.startswith("nas_ray.") and k != "nas_ray.status"}
        client.create_run(run.info.experiment_id, tags=tags)
    assert len(runs(uri)) == 6
    again = open_tracker(uri)
    again.summary({}, {})
    assert again.close(120)
    assert {run.info.run_id for run in runs(uri)} == whole
    assert_one_each(uri, 2)


def test_a_full_disk_tears_one_line_only(open_tracker: Open, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    import os

    tracker = open_tracker(uri)
    assert tracker.flush(120)
    write = os.write
    monkeypatch.setattr("nas_ray.tracking._spool.os.write", lambda handle, data: write(handle, data[:20]))
    tell(tracker, range(1))
    monkeypatch.undo()
    tell(tracker, range(1, 2))
    tracker.summary({}, {})
    assert tracker.close(120)
    names = {run.data.tags.get("nas_ray.candidate_id", "summary") for run in runs(uri)}
    assert names == {"candidate-1", "summary"}


def test_sync_sends_a_whole_run_any_number_of_times(
    server: Any, tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    trial = write_trial(
        tmp_path / "trial", tiny_teacher_dir, tiny_text_file, tracking={"enabled": True, "uri": server.uri}
    )
    done = nas_ray("search", trial, "--storage", tmp_path)
    assert done.returncode == 0, done.stderr
    run = run_folder(tmp_path)
    assert f"nas-ray sync {run}" in done.stdout
    away = nas_ray("sync", run)
    assert away.returncode == 2
    assert "records wait on disk" in away.stderr
    server.start()
    (run / "tracking.jsonl").unlink()  # lost with a full disk, say: the journal has it all
    ids: set[str] = set()
    for _ in range(3):
        api.sync(run)
        found = runs(server.uri, "tiny")
        kinds = Counter(one.data.tags["nas_ray.kind"] for one in found)
        assert kinds == {"candidate": 10, "reference": api.status(run)["candidates_done"] - 10, "summary": 1}
        assert {one.info.status for one in found} == {"FINISHED"}
        ids |= {one.info.run_id for one in found}
    assert len(ids) == len(found)
    front = {row["candidate_id"] for row in api.front(run)["candidates"]}
    assert {r.data.tags["nas_ray.candidate_id"] for r in found if r.data.tags.get("pareto") == "true"} == front
    assert all("select_loss" in one.data.metrics for one in found if one.data.tags["nas_ray.kind"] != "summary")
    assert_whole(MlflowClient(server.uri), found, RunFolder.open(run))


def assert_whole(client: MlflowClient, found: list[Run], run: RunFolder) -> None:
    """Each candidate with its file, stage and rung; the summary with tables, figures, spec and what was read."""
    for one in found:
        files = {file.path for file in client.list_artifacts(one.info.run_id)}
        if one.data.tags["nas_ray.kind"] == "summary":
            assert files >= {"spec.yaml", "front.parquet", "front.png", "report.html", "blocks.json", "quality.parquet"}
            read = {given.dataset.name: given.dataset.digest for given in one.inputs.dataset_inputs}
            assert read == run.inputs
            assert any(name.startswith("the text ") for name in read)
        else:
            assert files == {"candidate.json"}
            assert one.data.tags["nas_ray.stage"] in ("search", "test")
            assert one.data.tags["nas_ray.rung"] == f"{one.data.metrics['rung']:.0f}"
            assert {"widths", "depths", "num_attention"} <= one.data.params.keys()


def test_sync_refuses_a_run_that_is_driven_or_not_tracked(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    from nas_ray.stages import load_run_specs

    trial = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file)
    run = RunFolder.create(tmp_path, *load_run_specs(str(trial), []))
    with pytest.raises(TrackingError, match="enabled is false"):
        api.sync(run.folder)
    run.lock()
    with pytest.raises(RunError, match="another process"):
        api.sync(run.folder)
    run.unlock()
