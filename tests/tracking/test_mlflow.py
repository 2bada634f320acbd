"""Against sqlite and against a server that goes away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from nas_ray.errors import TrackingError
from nas_ray.space import UniformArchitecture, parse_architecture
from nas_ray.tracking import (
    CandidateRecord,
    MlflowTracker,
    architecture_params,
    local_artifact_dir,
    local_uri,
    ui_command,
    ui_environment,
)

Open = Callable[[str], MlflowTracker]


def record(i: int, **fields: object) -> CandidateRecord:
    architecture = parse_architecture(f"e128/128:M4-F4/{64 * (i + 1)}:F4", 32)
    return CandidateRecord(
        f"candidate-{i}",
        architecture.arch_id,
        "solver",
        params=architecture_params(architecture),
        **fields,  # type: ignore[arg-type]
    )


def tell(tracker: MlflowTracker, numbers: range) -> None:
    for i in numbers:
        tracker.candidate_started(record(i))
        tracker.candidate_rung(f"candidate-{i}", 8, 0.5 + i)
        tracker.candidate_rung(f"candidate-{i}", 32, 0.25 + i)
        status = "completed" if i % 2 else "stopped at rung 1"
        tracker.candidate_ended(f"candidate-{i}", status, {"select_loss": 0.25 + i, "test_loss": None})


def runs(uri: str, query: str = "") -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], query))


def by_id(uri: str) -> dict[str, Run]:
    return {run.data.tags.get("nas_ray.candidate_id", "summary"): run for run in runs(uri)}


def test_one_flat_run_each(uri: str, open_tracker: Open, tmp_path: Path, warned: list[str]) -> None:
    (tmp_path / "front.parquet").write_bytes(b"front")
    tracker = open_tracker(uri)
    tell(tracker, range(3))
    tracker.candidate_started(record(9, kind="reference", label="uniform 192"))
    tracker.candidate_ended("candidate-9", "failed: out of memory", {})
    tracker.mark_pareto(["candidate-1", "candidate-2"])
    tracker.mark_pareto(["candidate-0", "candidate-1"])
    tracker.summary({"seed": 3}, {"front_size": 2.0}, [tmp_path / "front.parquet"])
    assert tracker.close(120)
    found = by_id(uri)
    assert sorted(found) == ["candidate-0", "candidate-1", "candidate-2", "candidate-9", "summary"]
    assert len(runs(uri)) == 5
    one = found["candidate-1"]
    assert one.info.status == "FINISHED"
    assert one.data.params == {
        "embedding_size": "128",
        "widths": "128-128",
        "depths": "2-1",
        "depth": "3",
        "num_attention": "1",
        "num_feed_forward": "2",
        "num_separable_conv": "0",
        "block_0": "128:M4-F4",
        "block_1": "128:F4",
    }
    assert one.data.metrics == {"loss": 1.25, "select_loss": 1.25}
    assert one.data.tags["nas_ray.status"] == "completed"
    assert one.data.tags["nas_ray.run"] == "quickstart-1a2b3c4d"
    history = MlflowClient(uri).get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(8, 1.5), (32, 1.25)]
    assert found["candidate-9"].info.status == "FAILED"
    assert (found["candidate-9"].info.run_name, found["candidate-9"].data.tags["nas_ray.kind"]) == (
        "uniform 192",
        "reference",
    )
    assert found["summary"].info.status == "FINISHED"
    assert [a.path for a in MlflowClient(uri).list_artifacts(found["summary"].info.run_id)] == ["front.parquet"]
    front = runs(uri, "tags.pareto = 'true'")
    assert {run.data.tags["nas_ray.candidate_id"] for run in front} == {"candidate-0", "candidate-1"}
    assert warned == []
    assert not (tmp_path / "run" / "tracking.jsonl").exists()


def test_resume_continues_the_same_runs(uri: str, open_tracker: Open, warned: list[str]) -> None:
    first = open_tracker(uri)
    tell(first, range(2))
    first.candidate_started(record(2))
    first.candidate_rung("candidate-2", 8, 2.5)
    first.candidate_started(record(3))
    assert first.close(120)
    interrupted = by_id(uri)
    assert interrupted["candidate-2"].info.status == interrupted["summary"].info.status == "KILLED"
    again = open_tracker(uri)
    tell(again, range(3))
    again.summary({"seed": 3}, {})
    assert again.close(120)
    found = by_id(uri)
    assert len(runs(uri)) == len(found) == 5
    assert {name: run.info.run_id for name, run in found.items()} == {
        name: run.info.run_id for name, run in interrupted.items()
    }
    states = [found[name].info.status for name in ("candidate-0", "candidate-1", "candidate-2", "summary")]
    assert states == ["FINISHED"] * 4
    assert found["candidate-3"].info.status == "KILLED"
    history = MlflowClient(uri).get_metric_history(found["candidate-2"].info.run_id, "loss")
    assert [point.step for point in history] == [8, 32]
    assert warned == []


def test_what_a_killed_process_left_is_delivered(uri: str, open_tracker: Open, tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from typing import Any
from nas_ray.tracking import CandidateRecord, MlflowTracker
folder = Path({str(tmp_path)!r})
tracker = MlflowTracker("http://127.0.0.1:9", "quickstart", "quickstart", "quickstart-1a2b3c4d",
                        folder / "mlartifacts", folder / "run" / "tracking.jsonl")
tracker.candidate_started(CandidateRecord("left", "a", "solver"))
tracker.candidate_ended("left", "completed", {{"select_loss": 0.5}})
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 9
    with (tmp_path / "run" / "tracking.jsonl").open("a") as file:
        file.write('{"Change":{"run":"torn')
    tracker = open_tracker(uri)
    assert tracker.close(120)
    assert by_id(uri)["left"].data.metrics == {"select_loss": 0.5}
    assert by_id(uri)["left"].info.status == "FINISHED"


def test_a_run_that_was_deleted_stops_nothing(uri: str, open_tracker: Open, warned: list[str]) -> None:
    tracker = open_tracker(uri)
    tell(tracker, range(2))
    assert tracker.flush(120)
    MlflowClient(uri).delete_run(by_id(uri)["candidate-0"].info.run_id)
    tracker.candidate_ended("candidate-0", "completed", {"test_loss": 1.0})
    tracker.candidate_ended("candidate-1", "completed", {"test_loss": 2.0})
    assert tracker.close(120)
    assert by_id(uri)["candidate-1"].data.metrics["test_loss"] == 2.0
    assert len(warned) == 1
    assert "candidate-0" in warned[0]


def test_an_artifact_store_that_fails_costs_the_files_only(
    uri: str, open_tracker: Open, warned: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mlartifacts").write_text("in the way")
    tracker = open_tracker(uri)
    tell(tracker, range(2))
    tracker.candidate_ended("candidate-1", "completed", {"test_loss": 0.5}, {"rung": "1"}, {"candidate.json": "{}"})
    tracker.summary({"seed": 3}, {})
    assert tracker.close(120)
    (warning,) = warned
    assert "artifact store" in warning
    one = by_id(uri)["candidate-1"]
    assert (one.data.metrics["test_loss"], one.data.tags["nas_ray.rung"]) == (0.5, "1")
    (tmp_path / "mlartifacts").unlink()
    again = open_tracker(uri)
    for _ in range(2):
        again.candidate_ended("candidate-1", "completed", {"test_loss": 0.5}, {"rung": "1"}, {"candidate.json": "{}"})
    assert again.close(120)
    assert [file.path for file in MlflowClient(uri).list_artifacts(one.info.run_id)] == ["candidate.json"]


def test_two_runs_share_an_experiment(uri: str, tmp_path: Path) -> None:
    for run_id in ("a-1", "it's-2"):
        tracker = MlflowTracker(uri, "quickstart", run_id, run_id, tmp_path / "art", tmp_path / f"{run_id}.jsonl")
        tell(tracker, range(2))
        assert tracker.close(120)
    assert len(runs(uri)) == 6


def test_server_killed_and_restarted(server: Any, open_tracker: Open, warned: list[str], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>")
    server.start()
    tracker = open_tracker(server.uri)
    tell(tracker, range(3))
    assert tracker.flush(120)
    server.kill()
    started = time.monotonic()
    tell(tracker, range(3, 6))
    assert time.monotonic() - started < 10  # a blocked call would take the HTTP retries
    assert not tracker.flush(2)
    assert len(warned) == 1
    assert "tracking.jsonl" in warned[0]
    server.start()
    tracker.mark_pareto(["candidate-1", "candidate-4"])
    tracker.summary({}, {"front_size": 2}, [tmp_path / "report.html"])
    assert tracker.close(120)
    found = by_id(server.uri)
    assert len(runs(server.uri)) == len(found) == 7
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert len(warned) == 1
    client = MlflowClient(server.uri)
    assert [a.path for a in client.list_artifacts(found["summary"].info.run_id)] == ["report.html"]
    assert not [run for run in runs(server.uri) if run.info.status == "RUNNING"]


def test_close_is_bounded_without_a_server(open_tracker: Open, warned: list[str], tmp_path: Path) -> None:
    tracker = open_tracker("http://127.0.0.1:9")
    tell(tracker, range(50))
    started = time.monotonic()
    assert not tracker.close(1)
    assert time.monotonic() - started < 20
    assert len(warned) == 2
    assert (tmp_path / "run" / "tracking.jsonl").stat().st_size > 0


def test_no_disk_is_one_warning(uri: str, open_tracker: Open, warned: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    tracker = open_tracker(uri)
    tell(tracker, range(3))
    assert tracker.close(5)
    assert len(warned) == 1
    assert "lost" in warned[0]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("", "file store"),
        ("./mlruns", "file store"),
        ("file:///tmp/mlruns", "file store"),
        ("gopher://host", "unknown scheme 'gopher'"),
        ("http://", "names no host"),
        ("sqlite://", "names no file"),
        ("sqlite:////proc/nowhere/mlflow.db", "cannot be written"),
    ],
)
def test_unusable_uri(bad: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=says) as error:
        MlflowTracker(bad, "e", "r", "r-1", tmp_path, tmp_path / "spool.jsonl")
    assert "accepted: sqlite:" in str(error.value)
    assert not (tmp_path / "spool.jsonl").exists()


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is text, not a database")
    with pytest.raises(TrackingError, match="not a sqlite database"):
        MlflowTracker(f"sqlite:///{tmp_path}/mlflow.db", "e", "r", "r-1", tmp_path, tmp_path / "s")


def test_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(TrackingError) as error:
        MlflowTracker("gopher://me:secret@host/x", "e", "r", "r-1", tmp_path, tmp_path / "s")
    assert "secret" not in str(error.value)


def test_local_places_with_odd_names(template: Path, tmp_path: Path) -> None:
    storage = tmp_path / 'it\'s a 100% "odd" #1 folder'
    storage.mkdir()
    (storage / "mlflow.db").write_bytes(template.read_bytes())
    (tmp_path / "f.txt").write_text("x")
    uri = local_uri(storage)
    tracker = MlflowTracker(uri, "quickstart", "r", "r-1", local_artifact_dir(storage), storage / "s.jsonl")
    tracker.summary({}, {}, [tmp_path / "f.txt"])
    assert tracker.close(120)
    assert [path.name for path in local_artifact_dir(storage).rglob("*.txt")] == ["f.txt"]
    with pytest.raises(TrackingError, match="another --storage"):
        local_uri(tmp_path / "what?")


def test_ui_command(tmp_path: Path) -> None:
    command = ui_command(local_uri(tmp_path))
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--artifacts-destination") + 1] == (tmp_path / "mlartifacts").as_uri()
    assert ui_command("http://127.0.0.1:5000")[-1] == "http://127.0.0.1:5000"
    assert ui_command("https://me@host/mlflow/", path="/#/x")[-1] == "https://host/mlflow/#/x"
    secret = "postgresql://me:word@host/db"
    assert not any("word" in argument for argument in ui_command(secret))
    assert ui_environment(secret)["MLFLOW_BACKEND_STORE_URI"] == secret
    with pytest.raises(TrackingError):
        ui_command("./mlruns")


def test_uniform_params() -> None:
    assert architecture_params(UniformArchitecture(4, 8, 512, 1024)) == {
        "depth": 4,
        "heads": 8,
        "hidden": 512,
        "intermediate": 1024,
    }


def test_import_is_fast() -> None:
    code = "import sys, nas_ray.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
