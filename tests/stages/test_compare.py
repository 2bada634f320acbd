"""Models side by side: one protocol, what is finished is used again, sizes and scores as they are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nas_ray import api
from nas_ray.cli._main import cli
from nas_ray.errors import SpecError, TaskError, TeacherError
from nas_ray.stages.tasks.finetune import Finetuning
from tests.tiny_student import ENCODER_PARAMS, write_student
from tests.tiny_tasks import write_task

FEW = ("executor=local", "tracking.enabled=false", "least_steps=6", "epochs=1", "judged=1", "seeds=2", "sequences=16")
SIZES = {"train": 48, "select": 16, "test": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [str(write_student(folder / kind, kind, tiny_teacher_dir)) for kind in ("paths", "uniform")]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tasks")
    return [str(write_task(folder / kind, kind, SIZES)) for kind in ("single", "choice")]


def test_every_model_on_every_task_and_again_at_once(
    models: list[str], tasks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = api.finetune(models[0], tasks[1], overrides=FEW, storage=tmp_path)
    words = ["compare", *models, "--tasks", ",".join(tasks), "--storage", str(tmp_path)]
    words += [word for pair in FEW for word in ("--set", pair)]
    shown = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert "done before" in shown.output
    assert "speed-up" in shown.output

    monkeypatch.setattr(Finetuning, "_make", None)
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False).output)
    assert [row["label"] for row in found["models"]] == ["paths", "uniform"]
    assert found["tasks"] == {"single": "accuracy", "choice": "accuracy"}
    for row in found["models"]:
        assert row["encoder_params"] == ENCODER_PARAMS[row["label"]]
        records = [json.loads((Path(row["tasks"][t]["folder"]) / "finetuned.json").read_text()) for t in found["tasks"]]
        scores = np.array([[t["test"]["accuracy"] for t in record["trainings"]] for record in records])
        assert row["tasks"]["single"]["mean"] == pytest.approx(scores[0].mean())
        assert row["average"]["mean"] == pytest.approx(scores.mean())
        assert row["average"]["deviation"] == pytest.approx(scores.mean(0).std(ddof=1))
        assert row["latency_ms"] > 0
    assert found["models"][0]["tasks"]["choice"]["mean"] == before["test"]["accuracy"]["mean"]
    largest = max(found["models"], key=lambda row: row["encoder_params"])
    assert largest["speedup"] == 1
    assert found["latency"]["reference"] == largest["label"]
    folder = Path(found["folder"])
    assert (folder / "comparison.png").stat().st_size > 1000
    lines = (folder / "comparison.md").read_text().splitlines()
    assert lines[0].split(" | ")[-3:] == ["single", "choice", "average |"]
    assert len([line for line in lines if line.startswith("| ")]) == 3


def test_flops_are_those_of_the_products(models: list[str], tasks: list[str], tmp_path: Path) -> None:
    found = api.compare(models[1:], tasks[:1], overrides=(*FEW, "seeds=1"), storage=tmp_path)
    tokens, hidden, inner, layers = 128, 32, 64, 2
    products = 4 * hidden * hidden + 2 * hidden * inner + 2 * tokens * hidden
    assert found["models"][0]["flops"] == 2 * tokens * products * layers
    assert found["models"][0]["average"]["deviation"] is None


def test_a_teacher_is_fine_tuned_first_and_teaches_on_each_task(
    models: list[str], tasks: list[str], tmp_path: Path
) -> None:
    few = (*FEW, "seeds=1")
    found = api.compare(models[:1], tasks[:1], teacher=models[1], overrides=few, storage=tmp_path)
    (row,) = found["models"]
    record: dict[str, Any] = json.loads((Path(row["tasks"]["single"]["folder"]) / "finetuned.json").read_text())
    assert Path(record["teacher"]).parents[1].name.startswith("uniform-single-")
    assert "taught by" in (Path(found["folder"]) / "comparison.md").read_text()
    both = api.compare(models, tasks[:1], teacher=models[1], overrides=few, storage=tmp_path)
    assert both["models"][0]["tasks"] == row["tasks"]


def test_a_mistake_is_told_before_anything_is_trained(models: list[str], tasks: list[str], tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="nowhere"):
        api.compare([models[0], "./nowhere"], tasks, overrides=FEW, storage=tmp_path)
    with pytest.raises(TaskError, match="task 'ax' has nothing to train on"):
        api.compare(models, [*tasks, "ax"], overrides=FEW, storage=tmp_path)
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_named_twice(models: list[str], tasks: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"model .* is named twice; accepted: each once"):
        api.compare([models[0], models[0]], tasks, overrides=FEW, storage=tmp_path)
