"""What an export holds and says: shapes, sizes, times, warnings, its card; int8; sentences; the command; and that it
loads where nas_ray is not installed. One file, for its exports take seconds to make."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from nas_ray import api
from nas_ray.cli import main
from nas_ray.export import Exported, content_digest, default_target
from nas_ray.export._check import LIMIT, probes, torch_runner
from nas_ray.export._sentence import Encoder, Sentences, sentences_of
from nas_ray.modeling import mean_pooled
from nas_ray.student import read_student
from nas_ray.teacher import TeacherSource
from tests.tiny_student import ENCODER_PARAMS, write_student

ELSEWHERE = Path(__file__).with_name("elsewhere.py")
TEXTS = ["the old captain found a lantern", "bread", "a cold wind near the harbour and the quiet island again"]


@pytest.fixture(scope="module")
def loaded(exports: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], str]:
    """What the exports give elsewhere, and what that process said of them."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    folders = json.dumps({name: str(found.folder) for name, found in exports.items()})
    done = subprocess.run(
        [sys.executable, str(ELSEWHERE), folders, json.dumps(TEXTS), str(folder / "found.npz")],
        env=environment, capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "found.npz") as found:
        return dict(found), done.stdout


@pytest.mark.parametrize("kind", ["paths", "uniform"])
@torch.no_grad()
def test_elsewhere_the_numbers_are_the_student_s(
    kind: str, students: dict[str, Path], loaded: tuple[dict[str, np.ndarray], str]
) -> None:
    found, _ = loaded
    student = read_student(students[kind])
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert np.array_equal(found[f"{kind}-ids"], inputs.input_ids.numpy())
    hidden = student.model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).last_hidden_state
    vectors = mean_pooled(hidden, inputs.attention_mask)
    vectors = F.normalize(vectors) if kind == "paths" else vectors
    text = inputs.attention_mask.numpy().astype(bool)
    assert np.abs(found[f"{kind}-hf"] - hidden.numpy())[text].max() < 1e-6
    assert np.abs(found[f"{kind}-onnx-last_hidden_state"] - hidden.numpy())[text].max() < 1e-4
    assert np.abs(found[f"{kind}-sentences"] - vectors.numpy()).max() < 1e-4
    if kind == "paths":
        assert np.abs(found["paths-onnx-sentence_embedding"] - vectors.numpy()).max() < 1e-4
    else:  # exported without sentences
        assert "uniform-onnx-sentence_embedding" not in found
    assert float(F.cosine_similarity(vectors[0], vectors[1], dim=0)) < 0.999  # the comparison says something


def test_elsewhere_the_code_is_the_export_s(loaded: tuple[dict[str, np.ndarray], str]) -> None:
    _, said = loaded
    lines = said.splitlines()
    assert lines[0] == "paths NasRayModel transformers_modules ['Transformer', 'Pooling', 'Normalize']"
    assert lines[1] == "uniform BertModel transformers ['Transformer', 'Pooling']"
    heads = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")
    assert lines[2:] == [f"NasRayFor{head} True" for head in heads]


@pytest.mark.parametrize("name", ["paths-hf", "uniform-hf", "paths-onnx", "uniform-onnx"])
def test_sizes_are_counted_and_all_is_timed(name: str, exports: dict[str, Exported]) -> None:
    found, kind = exports[name], name.partition("-")[0]
    assert found.encoder_params == ENCODER_PARAMS[kind]
    assert found.params > found.encoder_params
    assert found.difference < LIMIT
    files = {"paths-onnx": ["model.onnx", "model_int8.onnx"], "uniform-onnx": ["model.onnx"]}.get(name, ["export"])
    assert list(found.timings) == [*files, *(["teacher"] if kind == "paths" else [])]
    assert all(timing.milliseconds > 0 for timing in found.timings.values())
    assert (found.key.threads, found.key.sequence_length, found.key.batch_size) == (1, 16, 2)
    assert found.estimate_ms == 1.5


def told(found: Exported) -> list[str]:
    """Warnings, but for those of a busy machine."""
    return [warning for warning in found.warnings if "on an idle machine" not in warning]


def test_an_estimate_of_something_else_is_told(exports: dict[str, Exported]) -> None:
    [warning] = told(exports["paths-onnx"])
    assert "runtime eager in the table, onnxruntime here" in warning
    assert "processor Zuse Z3 in the table" in warning
    [warning] = told(exports["paths-hf"])
    assert "runtime" not in warning


@pytest.mark.parametrize("name", ["paths-onnx", "uniform-onnx"])
def test_onnx_takes_any_batch_and_length(name: str, exports: dict[str, Exported], students: dict[str, Path]) -> None:
    student = read_student(students[name.partition("-")[0]])
    session = onnxruntime.InferenceSession(str(exports[name].folder / "model.onnx"))
    run = torch_runner(Encoder(student.model, exports[name].sentences))
    vocab_size = student.model.config.vocab_size
    rng = np.random.default_rng(1)
    more = [(rng.integers(vocab_size, size=shape), np.ones(shape, np.int64)) for shape in ((1, 1), (4, 33))]
    for ids, mask in probes(vocab_size, 128) + more:
        expected = run(ids, mask)
        found = session.run(None, {"input_ids": ids, "attention_mask": mask})
        text = mask.astype(bool)
        assert np.abs(found[0] - expected[0])[text].max() < 1e-4
        for x, y in zip(found[1:], expected[1:], strict=True):
            assert np.abs(x - y).max() < 1e-4
    shapes = {(ids.shape, bool(mask.all())) for ids, mask in probes(vocab_size, 128)}
    assert shapes == {((1, 5), True), ((1, 128), True), ((3, 5), False), ((3, 128), False)}


def test_int8_is_small_and_near(exports: dict[str, Exported]) -> None:
    found = exports["paths-onnx"]
    assert found.int8 is not None
    assert 1e-4 < found.int8.largest < 0.5
    assert 0.98 < found.int8.least_cosine <= found.int8.mean_cosine < 1
    whole = (found.folder / "model.onnx").stat().st_size
    assert found.size_bytes == (found.folder / "model_int8.onnx").stat().st_size < 0.7 * whole
    ids = np.arange(20).reshape(2, 10)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    a, b = (
        onnxruntime.InferenceSession(str(found.folder / name)).run(None, feed)[0]
        for name in ("model.onnx", "model_int8.onnx")
    )
    assert 0 < np.abs(a - b).max() < 0.5


def test_the_card_says_what_it_is(exports: dict[str, Exported]) -> None:
    text = (exports["paths-onnx"].folder / "README.md").read_text()
    found = exports["paths-onnx"]
    for part in (
        "| 2 | attention | width 48, 3 heads of 16 | 9,504 |",
        f"| params: all weights | {found.params:,} | 1,000,000 |",
        f"{found.timings['model_int8.onnx'].milliseconds:.2f} ±",
        "| the run's latency table | 1.50 (estimate) |",
        "processor Zuse Z3",
        f"largest absolute difference {found.difference:.1e}",
        "1 x hidden, 0.5 x embedding",
        "gutenberg (75%), snippets (25%)",
        "| select_loss | 0.5 |",
        "sha256 `00ff00ff`",
        "`nas-ray retrain runs/tiny-1a2b3c4d --candidate c0ffee`",
        "model_int8.onnx",
    ):
        assert part in text
    paths = (exports["paths-hf"].folder / "README.md").read_text()
    assert paths.count(".from_pretrained") == paths.count('from_pretrained("FOLDER", trust_remote_code=True)')
    assert "- sentence-transformers" in paths
    assert "- sentence-transformers" not in text
    assert "trust_remote_code" not in (exports["uniform-hf"].folder / "README.md").read_text()


def test_the_card_s_code_takes_a_text_as_it_is(students: dict[str, Path], tmp_path: Path) -> None:
    student = shutil.copytree(students["paths"], tmp_path / "student")
    tokenizer = Tokenizer.from_file(str(student / "tokenizer.json"))
    tokenizer.enable_padding(length=32)  # as all-MiniLM-L6-v2 comes
    tokenizer.enable_truncation(8)
    tokenizer.save(str(student / "tokenizer.json"))
    folder = api.export(student, format="onnx").folder
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace("FOLDER", str(folder)).replace("A text.", "the old captain found a lantern" * 3), names)
    tokens = names["found"][0].shape[1]
    assert tokens == sum(names["text"].attention_mask) > 8


def test_an_onnx_export_of_an_export_names_no_code(exports: dict[str, Exported], tmp_path: Path) -> None:
    found = api.export(exports["paths-hf"].folder, format="onnx", to=tmp_path / "onnx", sentence=False)
    assert "auto_map" not in json.loads((found.folder / "config.json").read_text())
    assert "auto_map" in json.loads((exports["paths-hf"].folder / "config.json").read_text())


def test_no_path_of_this_machine_is_in_a_graph(exports: dict[str, Exported]) -> None:
    for name in ("paths-onnx", "uniform-onnx"):
        for file in exports[name].folder.glob("*.onnx"):
            assert b".py" not in file.read_bytes()


def test_only_what_belongs_to_it_is_in_it(exports: dict[str, Exported]) -> None:
    common = {"README.md", "config.json", "export.json", "student.json", "tokenizer.json", "tokenizer_config.json"}
    sentence = {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling"}
    code = {f"{name}_nas_ray.py" for name in ("configuration", "modeling", "operations")}
    for name, more in {
        "paths-hf": {"model.safetensors", "2_Normalize", *sentence, *code},
        "uniform-hf": {"model.safetensors", *sentence},
        "paths-onnx": {"model.onnx", "model_int8.onnx"},
        "uniform-onnx": {"model.onnx"},
    }.items():
        assert {path.name for path in exports[name].folder.iterdir()} == common | more


def test_sentences_are_normalised_where_the_teacher_s_are(students: dict[str, Path], tmp_path: Path) -> None:
    student = read_student(students["paths"])
    tokenizer = student.tokenizer
    card = replace(student.card, teacher="x", normalised=None)
    assert sentences_of(replace(card, normalised=True), None, 100, tokenizer).normalise  # as it was when retrained
    assert sentences_of(replace(card, teacher="minilm"), TeacherSource("x"), 100, tokenizer).normalise
    assert sentences_of(card, None, 100, tokenizer) == Sentences(False, 100, "its teacher is not here to be asked")
    modules = [{"type": "sentence_transformers.models.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    source = TeacherSource(str(tmp_path))
    assert not sentences_of(card, source, 512, tokenizer).normalise
    (tmp_path / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.models.Normalize"}]))
    assert sentences_of(card, source, 512, tokenizer) == Sentences(True, 128, "as its teacher's modules say")
    (tmp_path / "modules.json").unlink()
    assert sentences_of(card, source, 512, tokenizer).why == "its teacher names no sentence modules"
    (tmp_path / "adapted.json").write_text(json.dumps({"normalised": True}))  # adapted from one that has modules
    assert sentences_of(card, source, 512, tokenizer).normalise


def test_a_teacher_that_is_gone_is_told(exports: dict[str, Exported]) -> None:
    for name in ("uniform-hf", "uniform-onnx"):
        warning = told(exports[name])[0]
        assert "the teacher was not timed" in warning
        assert "gone: no such folder" in warning


def test_a_student_over_its_promise_is_told(tmp_path: Path, tiny_teacher_dir: Path) -> None:
    costs = {"params": 10.0, "encoder_params": 1e9}
    student = write_student(tmp_path / "s", "paths", tiny_teacher_dir, costs=costs)
    found = api.export(student, format="hf")
    assert found.folder == default_target(student, "hf") == tmp_path / "s-hf"
    [over] = told(found)
    assert over.startswith(f"params are {found.params:,}, the run's tables said 10: ")
    assert found.estimate_ms is None


def test_the_command_shows_what_was_measured(
    students: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nas-ray", "export", str(students["paths"]), "--format", "hf", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert not ended.value.code, err
        return out

    out = run("--to", str(target))
    for part in ("largest absolute difference", "teacher", "1.50", "warning: the estimate", f"written to {target}"):
        assert part in out
    first = content_digest(target)
    found = json.loads(run("--to", str(target), "--json"))  # replaces the first: equal, but for its card
    assert found["encoder_params"] == ENCODER_PARAMS["paths"]
    assert set(found["timings"]) == {"export", "teacher"}
    assert content_digest(target) == first


def test_an_export_is_exported_again(exports: dict[str, Exported], tmp_path: Path) -> None:
    again = api.export(exports["paths-hf"].folder, format="hf", to=tmp_path / "again")
    assert content_digest(again.folder) == content_digest(exports["paths-hf"].folder)
