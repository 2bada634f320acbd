"""Two tiny students, and their exports in every form: made once, for they take seconds."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nas_ray import api
from nas_ray.export import Exported
from tests.tiny_student import write_student


@pytest.fixture(scope="session")
def students(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> dict[str, Path]:
    """A folder of each kind; that of kind paths has a teacher that says how it pools."""
    folder = tmp_path_factory.mktemp("students")
    return {kind: write_student(folder / kind, kind, tiny_teacher_dir) for kind in ("paths", "uniform")}


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
