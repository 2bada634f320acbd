"""Exports in the model registry: the candidate's run as the source, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from nas_ray import api
from nas_ray.errors import TrackingError
from nas_ray.stages import retraining_part, tracked_as
from nas_ray.tracking import MlflowTracker, find_source_run, register_export
from tests.tiny_student import write_student
from tests.tracking.test_mlflow import record

RUN = "quickstart-1a2b3c4d"


@pytest.fixture
def store(uri: str, open_tracker: Callable[[str], MlflowTracker]) -> str:
    """A store with one finished candidate."""
    tracker = open_tracker(uri)
    tracker.candidate_started(record(0))
    tracker.candidate_ended("candidate-0", "completed", {"select_loss": 0.5})
    assert tracker.close(60)
    return uri


def test_a_version_has_its_candidate_as_source(store: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    source = find_source_run(store, [RUN], "candidate-0")
    tags = {"nas_ray.format": "onnx"}
    assert register_export(source, "small model's", folder, "d1" * 32, tags) == "1"
    assert register_export(source, "small model's", folder, "d1" * 32, tags) == "1"
    assert register_export(source, "small model's", folder, "d2" * 32, tags) == "2"
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    found = client.get_model_version("small model's", "1")
    assert (found.run_id, found.tags["nas_ray.format"]) == (source.mlflow_id, "onnx")
    assert client.get_run(found.run_id).data.tags["nas_ray.candidate_id"] == "candidate-0"
    file = download_artifacts(artifact_uri=f"{found.source}/model.onnx", dst_path=str(tmp_path), tracking_uri=store)
    assert Path(file).read_bytes() == b"weights"


def test_what_cannot_be_registered_is_told(store: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=rf"no run of candidate c-9 of x or {RUN}; send it with `nas-ray sync`"):
        find_source_run(store, ["x", RUN], "c-9")
    source = find_source_run(store, [RUN], "candidate-0")
    with pytest.raises(TrackingError, match="cannot be used"):
        register_export(source, "a/b", tmp_path, "d", {})


def test_an_export_is_registered_once(store: str, tmp_path: Path, tiny_teacher_dir: Path) -> None:
    student = write_student(tmp_path / "s", "uniform", tiny_teacher_dir, run=RUN, candidate_id="candidate-0")
    for _ in range(2):
        api.export(student, format="hf", register="tiny", tracking_uri=store)
    [version] = MlflowClient(tracking_uri=store, registry_uri=store).search_model_versions("name = 'tiny'")
    assert version.tags["nas_ray.arch_id"] == "uniform:D2-A2-H32-I64"
    stored = {entry.path for entry in MlflowClient(store).list_artifacts(version.run_id, f"exports/{digest(version)}")}
    assert {Path(path).name for path in stored} >= {"model.safetensors", "README.md", "tokenizer.json"}


def test_a_retrained_student_has_its_retraining_as_source(store: str, tmp_path: Path, tiny_teacher_dir: Path) -> None:
    name = tracked_as(RUN, retraining_part("00ff00ff"))
    tracker = MlflowTracker(store, "quickstart", name, name, tmp_path / "art", tmp_path / "retraining.jsonl")
    tracker.candidate_started(record(0))
    tracker.candidate_ended("candidate-0", "completed", {"test_loss": 0.25})
    assert tracker.close(60)
    student = write_student(tmp_path / "s", "uniform", tiny_teacher_dir, run=RUN, candidate_id="candidate-0")
    api.export(student, format="hf", register="retrained", tracking_uri=store)
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    [version] = client.search_model_versions("name = 'retrained'")
    assert client.get_run(version.run_id).data.tags["nas_ray.run"] == name


def digest(version: object) -> str:
    return version.tags["nas_ray.digest"][:12]  # type: ignore[attr-defined,no-any-return]
