"""Every task of GLUE, SuperGLUE, SQuAD and RACE from its own files: a few steps, scores, and what the server takes."""

from __future__ import annotations

import json
import shutil
import zipfile
from math import isfinite
from pathlib import Path
from typing import Any

import pytest

from nas_ray import api
from nas_ray.errors import ModelError, TaskError
from nas_ray.modeling import NasRayForSequenceClassification
from nas_ray.tasks import catalogue
from tests.tasks.benchmark_files import data_of, write_all
from tests.tiny_student import write_student

FEW = ("executor=local", "tracking.enabled=false", "epochs=0.01", "least_steps=1", "judged=1", "seeds=1", "sequences=4")
TASKS = [name for name, task in catalogue().items() if task.embedded is None]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> str:
    return str(write_student(tmp_path_factory.mktemp("student") / "tiny", "paths", tiny_teacher_dir))


@pytest.fixture(scope="module")
def tuned(root: Path, student: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    storage, known = tmp_path_factory.mktemp("storage"), dict[str, Any]()

    def tune(name: str) -> Any:
        if name not in known:
            known[name] = api.finetune(student, name, data=data_of(root, name), overrides=FEW, storage=storage)
        return known[name]

    return tune


@pytest.mark.parametrize("name", TASKS)
def test_it_is_trained_scored_and_predicted(name: str, root: Path, tuned: Any) -> None:
    task = catalogue()[name]
    if task.trained_on is not None:
        found = api.predict(tuned(task.trained_on)["folder"], name, data=data_of(root, name))
        files, scores = found["files"], found["scores"]
        assert bool(scores) == ("server" not in task.files)
    else:
        record = tuned(name)
        scores = {metric: value["mean"] for metric, value in record["test"].items()}
        files = [f"{record['folder']}/predictions/{file}" for file in record["predictions"]]
        assert set(scores) == set(task.metrics)
    assert all(isfinite(value) and -1 <= value <= 1 for value in scores.values())
    if "server" in task.files or task.trained_on is not None:
        assert task.predictions is not None
        assert [Path(file).name for file in files] == [task.predictions.file]
        assert Path(files[0]).stat().st_size > 0


def test_whoever_always_answers_is_not_asked_whether_there_is_an_answer(root: Path, tuned: Any) -> None:
    with pytest.raises(ModelError, match=r"'squad', where every question has an answer; accepted for 'squad_v2'"):
        api.predict(tuned("squad")["folder"], "squad_v2", data=data_of(root, "squad_v2"))


def test_cola_has_a_layer_more_and_span_tasks_a_threshold(tuned: Any) -> None:
    folder = Path(tuned("cola")["folder"]) / "models" / "seed-0"
    assert NasRayForSequenceClassification.from_pretrained(folder).dense is not None
    folder = Path(tuned("rte")["folder"]) / "models" / "seed-0"
    assert NasRayForSequenceClassification.from_pretrained(folder).dense is None
    assert tuned("squad")["trainings"][0]["threshold"] == 0
    assert tuned("squad_v2")["trainings"][0]["threshold"] != 0


def test_predictions_of_several_tasks_are_collected_in_an_archive(root: Path, tuned: Any, tmp_path: Path) -> None:
    archive = tmp_path / "new" / "glue.ZIP"
    for name, model in (("mnli_mismatched", "mnli"), ("ax", "mnli")):
        found = api.predict(tuned(model)["folder"], name, data=data_of(root, name), out=archive)
        assert found["files"] == [str(archive)]
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["AX.tsv", "MNLI-mm.tsv"]
    text, folder = tmp_path / "text.zip", tmp_path / "folder.zip"
    text.write_text("none")
    folder.mkdir()
    for other, what in ((text, "File is not a zip file"), (folder, "a folder")):
        with pytest.raises(TaskError, match=rf"{other}: is no zip file \({what}\); accepted: one, or a name that is"):
            api.predict(tuned("mnli")["folder"], "ax", data=data_of(root, "ax"), out=other)


def test_an_archive_for_the_server_takes_nothing_else(root: Path, tuned: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_of(root, "cola"), tmp_path / "GLUE"))
    (folder / "CoLA" / "test.tsv").unlink()
    assert api.predict(tuned("cola")["folder"], "cola", data=folder, out=tmp_path / "said")["part"] == "test"
    with pytest.raises(TaskError, match=r"the data lack .*test.*, which the benchmark's server scores; accepted for"):
        api.predict(tuned("cola")["folder"], "cola", data=folder, out=tmp_path / "glue.zip")


def test_with_the_answers_goes_how_likely_there_is_none(root: Path, tuned: Any, tmp_path: Path) -> None:
    found = api.predict(tuned("squad_v2")["folder"], "squad_v2", data=data_of(root, "squad_v2"), out=tmp_path)
    said, odds = (json.loads(Path(file).read_text()) for file in found["files"])
    assert Path(found["files"][1]).name == "na_prob.json"
    assert said.keys() == odds.keys()
    assert all(0 <= value <= 1 for value in odds.values())
