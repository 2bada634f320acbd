"""Two tiny students, and their exports in every form: made once, for they take seconds."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from nas_ray import api
from nas_ray.export import Exported
from tests.tiny_student import write_student


@pytest.fixture(scope="session")
def students(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> dict[str, Path]:
    """A folder of each kind; the teacher of the first normalises its sentences, that of the second is gone."""
    folder = tmp_path_factory.mktemp("students")
    teacher, gone = shutil.copytree(tiny_teacher_dir, folder / "teacher"), str(folder / "gone")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")]
    (teacher / "modules.json").write_text(json.dumps(modules))
    return {
        "paths": write_student(folder / "paths", "paths", teacher),
        "uniform": write_student(folder / "uniform", "uniform", tiny_teacher_dir, teacher=gone),
    }


@pytest.fixture(scope="session")
def exports(students: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Path students as both; the plain one as hf, and without sentences and quantisation as onnx."""
    folder = tmp_path_factory.mktemp("exports")
    disabled = logging.root.manager.disable
    found = {
        "paths-hf": api.export(students["paths"], format="hf", to=folder / "a/paths-hf"),
        "uniform-hf": api.export(students["uniform"], format="hf", to=folder / "uniform-hf"),
        "paths-onnx": api.export(students["paths"], format="onnx", to=folder / "paths-onnx", quantize="int8"),
        "uniform-onnx": api.export(students["uniform"], format="onnx", to=folder / "uniform-onnx", sentence=False),
    }
    assert logging.root.manager.disable == disabled
    return found
