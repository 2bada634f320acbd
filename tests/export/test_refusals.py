"""Whatever is wrong is told in one line, and what stood before an export still stands after one that failed."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nas_ray import api
from nas_ray._files import replace_folder
from nas_ray.errors import ExportError, ModelError, SpecError
from nas_ray.export import _check, _export, _hf, _onnx
from nas_ray.student import read_student
from tests.tiny_student import write_student


@pytest.fixture
def student(students: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that may be damaged; its teacher is the original's."""
    return shutil.copytree(students["paths"], tmp_path / "student")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["layers.1.qkv.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def change(file: str, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | values))

    return apply


def add_a_token(folder: Path) -> None:
    found = json.loads((folder / "tokenizer.json").read_text())
    found["model"]["vocab"]["##strange"] = len(found["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "student: no such folder; accepted: the folder of a student"),
        (lambda folder: (folder / "student.json").unlink(), r"holds no student\.json"),
        (lambda folder: (folder / "config.json").unlink(), r"holds no config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: cannot be read as JSON"),
        (change("config.json", model_type="gpt2"), r"config\.json: a 'gpt2' model; accepted: nas_ray, bert"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"holds no model\.safetensors"),
        (truncate, r"model\.safetensors: damaged: .*; retrain the student"),
        (drop_a_tensor, r"lacks 1 tensors of the model in config\.json, the first 'layers\.1\.qkv\.weight'"),
        (
            change("config.json", max_position_embeddings=64),
            r"config\.json and model\.safetensors cannot be loaded together: ",
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"holds no tokenizer\.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "the tokenizer cannot be loaded"),
        (add_a_token, "the tokenizer has a token of id [0-9]+, the model has [0-9]+ word vectors"),
    ],
)
def test_a_damaged_student_is_told(student: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(student)
    with pytest.raises(ModelError, match=message) as raised:
        api.export(student, format="hf")
    assert "\n" not in str(raised.value)
    assert not student.with_name("student-hf").exists()


def test_a_file_is_no_student(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ModelError, match="x: a file; accepted: the folder of a student"):
        api.export(tmp_path / "x", format="hf")


def test_a_missing_package_is_named(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    expected = r"--format onnx needs onnxruntime, onnxscript, .* pip install 'nas_ray\[export\]'"
    with pytest.raises(SpecError, match=expected):
        api.export(student, format="onnx")


def test_wrong_arguments_are_told(student: Path) -> None:
    with pytest.raises(SpecError, match="unknown format 'tflite'; known: hf, onnx"):
        api.export(student, format="tflite")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="--quantize goes with --format onnx"):
        api.export(student, format="hf", quantize="int8")
    with pytest.raises(SpecError, match="the model itself; choose another --to"):
        api.export(student, format="hf", to=student)
    with pytest.raises(SpecError, match="lies in no run folder tiny-1a2b3c4d; name MLflow's with --tracking-uri"):
        api.export(student, format="hf", register="tiny")


def test_foreign_files_are_never_replaced(student: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    with pytest.raises(SpecError, match="target: not a folder"):
        api.export(student, format="hf", to=target)
    target.unlink()
    target.mkdir()  # an empty one is taken
    api.export(student, format="hf", to=target)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(SpecError, match=r"target: holds notes\.txt, which no export wrote"):
        api.export(student, format="hf", to=target)
    (target / "notes.txt").unlink()
    (target / "README.md").write_text("mine")
    with pytest.raises(SpecError, match=r"target: README\.md changed since the export"):
        api.export(student, format="hf", to=target)
    (target / "export.json").unlink()
    with pytest.raises(SpecError, match="target: exists and is no earlier export"):
        api.export(student, format="hf", to=target)
    assert (target / "README.md").read_text() == "mine"


def test_an_export_that_differs_is_refused(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = _export.load_student

    def bend(folder: Path) -> Any:
        model = load(folder)
        model.embedding.words.weight.data += 1e-2 * torch.randn_like(model.embedding.words.weight)
        return model

    monkeypatch.setattr(_export, "load_student", bend)
    with pytest.raises(ExportError, match=r"the export differs from its source by .*; accepted: at most 0\.0001"):
        api.export(student, format="hf")
    assert sorted(path.name for path in student.parent.iterdir()) == ["student"]


def test_numbers_that_are_not_finite_differ() -> None:
    def run(value: float) -> _check.Runner:
        return lambda ids, mask: [np.full((*ids.shape, 2), value)]

    inputs = _check.probes(10, 4)
    assert _check.largest_difference(run(1.0), run(1.5), inputs) == 0.5
    assert _check.largest_difference(run(1.0), run(np.nan), inputs) == np.inf


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_earlier_export(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = api.export(student, format="hf").folder
    before = contents(target)
    with small_disk(100_000), pytest.raises(ExportError, match=r"cannot be written: .*; the export that was there is"):
        api.export(student, format="hf")
    assert contents(target) == before

    def full(*_: object, **_facts: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_export, "write_manifest", full)  # the last step
    with pytest.raises(ExportError, match="No space left on device; the export that was there is as it was"):
        api.export(student, format="hf")
    assert contents(target) == before
    shutil.rmtree(target)
    with pytest.raises(ExportError, match="nothing was left behind"):
        api.export(student, format="hf")
    assert sorted(path.name for path in student.parent.iterdir()) == ["student"]


@pytest.mark.parametrize("step", ["write_hf", "copy_tokenizer"])
def test_an_interrupt_leaves_the_earlier_export(student: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = api.export(student, format="hf").folder
    before = contents(target)
    write = getattr(_hf, step)

    def interrupted(*arguments: Any) -> None:
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(_hf, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        api.export(student, format="hf")
    assert contents(target) == before
    assert sorted(path.name for path in student.parent.iterdir()) == ["student", "student-hf"]


def test_an_exporter_that_fails_leaves_nothing(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(_onnx, "write_onnx", fail)
    with pytest.raises(ExportError, match="cannot be written: no such operator; nothing was left behind"):
        api.export(student, format="onnx")
    assert sorted(path.name for path in student.parent.iterdir()) == ["student"]


def test_a_folder_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    for text in ("old", "new"):
        with replace_folder(target) as new:
            (new / "file").write_text(text)
    assert contents(target) == {"file": b"new"}

    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:  # the second of the two renames
        if self.suffix == ".new":
            raise OSError(errno.EIO, "broken")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="broken"), replace_folder(target) as new:
        (new / "file").write_text("newer")
    assert contents(tmp_path) == {"x/file": b"new"}


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    target = tmp_path / "x"
    for name, text in ((f".x.{gone.pid}.old", "old"), (f".x.{gone.pid}.new", "half"), (f".x.{os.getppid()}.new", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text)
    with pytest.raises(KeyboardInterrupt), replace_folder(target):
        raise KeyboardInterrupt  # killed between two renames before: the old one is back
    assert contents(tmp_path) == {"x/file": b"old", f".x.{os.getppid()}.new/file": b"b"}


def test_a_process_may_have_the_number_of_the_killed_one(tmp_path: Path) -> None:
    target, old = tmp_path / "x", tmp_path / f".x.{os.getpid()}.old"
    for folder in (target, old):
        folder.mkdir()
        (folder / "file").write_text("before")
    with replace_folder(target) as new:
        (new / "file").write_text("new")
    assert contents(tmp_path) == {"x/file": b"new"}


def test_a_short_student_is_quantised_on_short_texts(student: Path) -> None:
    def runner(ids: Any, _mask: Any) -> list[Any]:
        assert ids.shape[1] == 6
        return [np.ones((*ids.shape, 2), np.float32)]

    assert _check.int8_difference(runner, runner, read_student(student).tokenizer, 6).largest == 0


def test_a_place_that_cannot_be_written_is_told(student: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        api.export(student, format="hf", to=tmp_path / "file/below")


def test_a_folder_with_an_odd_name(tmp_path: Path, tiny_teacher_dir: Path) -> None:
    here = write_student(tmp_path / "runs/a student's folder", "uniform", tiny_teacher_dir)
    assert api.export(here, format="hf").folder == tmp_path / "runs/a student's folder-hf"
