"""Students that predict hidden words, with a teacher's predictions or without; students of text by the document."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from nas_ray import api
from nas_ray.distill import StudentTraining, TeacherOutputs
from nas_ray.errors import SpecError, TeacherError, TextError
from tests.conftest import sample_documents
from tests.tiny_trial import write_extraction, write_trial

QUICK = ("steps=12", "judged=3", "sequences=4", "learning_rate=3e-3")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> Path:
    """The tiny teacher with a masked-LM head, as ``adapt-teacher`` would give it one."""
    folder = tmp_path_factory.mktemp("teacher") / "head"
    transformers.set_seed(3)
    model = transformers.BertForMaskedLM.from_pretrained(tiny_teacher_dir)
    for weight in model.cls.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    model.save_pretrained(folder)
    for file in tiny_teacher_dir.glob("*token*.json"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    trial = write_trial(folder, tiny_teacher_dir, tiny_text_file, search={"num_candidates": 4, "rungs": [1]})
    return api.search(str(trial), storage=folder / "runs").folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / searched.name))


@pytest.fixture
def trained(run: Path) -> Callable[..., dict[str, Any]]:
    """Retrains the largest of the front."""

    def retrained(*overrides: str) -> dict[str, Any]:
        largest = api.front(run)["candidates"][-1]["candidate_id"]
        (student,) = api.retrain(run, candidates=[largest], overrides=[*QUICK, *overrides])
        return student

    return retrained


def losses(student: dict[str, Any]) -> list[float]:
    journal = Path(student["folder"]).parents[1] / "journal.jsonl"
    records = map(json.loads, journal.read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "rung"]


def start_of(student: dict[str, Any]) -> Path:
    return Path(student["folder"]).parents[1] / "starts" / student["candidate_id"]


def test_nas_bert_learns_words_and_the_teachers_predictions_from_scratch(
    trained: Callable[..., dict[str, Any]], teacher: Path
) -> None:
    student = trained("preset=nas_bert", f"teacher={teacher}")
    assert student["weights"] == "scratch"
    assert student["loss_weights"] == {"masked_lm": 0.5, "logits": 0.5, "hidden": 0.0, "embedding": 0.0}
    found = losses(student)
    assert found[-1] < found[0] < 7
    metrics = student["metrics"]
    assert set(metrics) == {"select_weighted_loss", "test_masked_accuracy", "test_masked_lm", "test_divergence"}
    assert 0 <= metrics["test_masked_accuracy"] < 1
    whole, encoder = (kind.from_pretrained(student["folder"]) for kind in (AutoModelForMaskedLM, AutoModel))
    tokenizer = AutoTokenizer.from_pretrained(student["folder"])
    batch = tokenizer(["a teacher of words", "who hides"], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder(**batch).last_hidden_state
        assert torch.equal(whole(**batch).logits, whole.head(hidden))
    assert whole.head.decoder.weight is whole.encoder.embedding.words.weight


def test_without_distillation_the_teacher_is_not_asked(
    trained: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(self: TeacherOutputs, rows: Any) -> Any:
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(TeacherOutputs, "groups", asked)
    student = trained("preset=masked_lm")
    assert student["weights"] == "scratch"
    assert set(student["metrics"]) == {"select_weighted_loss", "test_masked_accuracy", "test_masked_lm"}
    assert losses(student)[-1] < losses(student)[0]


def test_bort_starts_with_the_teachers_head_and_resumes_to_the_bit(
    trained: Callable[..., dict[str, Any]], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = trained("preset=bort", f"teacher={teacher}")
    assert student["weights"] == "supernet"
    whole = load_file(Path(student["folder"]) / "model.safetensors")
    begun = load_file(start_of(student) / "model.safetensors")
    theirs = transformers.BertForMaskedLM.from_pretrained(teacher)
    assert torch.equal(begun["head.decoder.bias"], theirs.cls.predictions.bias)
    assert any(not torch.equal(begun[name], whole[name]) for name in whole)
    folder = Path(student["folder"]).parents[1]
    shutil.rmtree(folder)
    advance, calls = StudentTraining.advance, 0

    def stops(self: StudentTraining, to: int) -> None:
        nonlocal calls
        advance(self, to)
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", stops)
        with pytest.raises(KeyboardInterrupt):
            trained("preset=bort", f"teacher={teacher}")
    again = trained("preset=bort", f"teacher={teacher}")
    found = load_file(Path(again["folder"]) / "model.safetensors")
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_words_and_states_together(trained: Callable[..., dict[str, Any]], teacher: Path) -> None:
    more = ("losses.logits=1", "losses.masked_lm=0.5", "temperature=2", "accumulation=2")
    student = trained(*more, f"teacher={teacher}")
    assert {"test_loss", "test_similarity", "test_divergence"} < set(student["metrics"])
    assert losses(student)[-1] < losses(student)[0]


def test_a_plain_student_keeps_its_head_when_exported(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path, teacher: Path
) -> None:
    trial = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, extraction={"epsilon": 8})
    run = api.search(str(trial), storage=tmp_path / "runs").folder
    best = api.front(run)["candidates"][0]["candidate_id"]
    (student,) = api.retrain(run, candidates=[best], overrides=[*QUICK, "preset=bort", f"teacher={teacher}"])
    assert losses(student)[-1] < losses(student)[0]
    there = api.export(student["folder"], format="hf", to=tmp_path / "exported", sentence=False)
    whole = AutoModelForMaskedLM.from_pretrained(there.folder)
    assert type(whole).__name__ == "BertForMaskedLM"
    assert "`AutoModelForMaskedLM` loads it" in (there.folder / "README.md").read_text()
    both = (model.state_dict().values() for model in (whole, AutoModelForMaskedLM.from_pretrained(student["folder"])))
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_documents_by_themselves_from_other_text(trained: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    text = tmp_path / "short.csv"
    lines = [f"a short {word} about {thing}" for word in ("red", "green", "old", "new", "cold") for thing in range(70)]
    text.write_text("text\n" + "\n".join(lines) + "\n")
    settings = (f"text.sources=[{{source: 'dataset:{text}'}}]", "text.rows=documents", "steps=24")
    student = trained(*settings)
    assert student["data"] == ({"source": f"dataset:{text}", "share": 1.0},)
    assert student["tokens"] < 24 * 4 * 16  # by themselves they fill half a row
    assert losses(student)[-1] < losses(student)[0]
    kept, computed = trained(*settings, "cache_bytes=1000000"), trained(*settings, "cache_bytes=0")
    assert kept["metrics"]["test_loss"] == pytest.approx(computed["metrics"]["test_loss"], rel=1e-4)


def test_what_does_not_fit_is_told(
    trained: Callable[..., dict[str, Any]], run: Path, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"has no masked-LM head; accepted: .*adapt-teacher"):
        trained("preset=bort")
    with pytest.raises(SpecError, match=r"text\.inputs is plain"):
        trained("preset=masked_lm", "text.inputs=plain")
    with pytest.raises(SpecError, match="weights of all losses are 0"):
        trained("preset=masked_lm", "losses.masked_lm=0")
    other = Path(shutil.copytree(teacher, tmp_path / "other"))
    found = json.loads((other / "tokenizer.json").read_text())
    words = sorted(found["model"]["vocab"], key=found["model"]["vocab"].get)
    found["model"]["vocab"] = {word: i for i, word in enumerate([*words[:-2], words[-1], words[-2]])}
    (other / "tokenizer.json").write_text(json.dumps(found))
    with pytest.raises(TeacherError, match=r"the tokenizer of teacher .*other' is not that of the search's"):
        trained("preset=bort", f"teacher={other}")
    narrow = transformers.BertConfig.from_pretrained(teacher, hidden_size=32, num_attention_heads=2)
    transformers.BertForMaskedLM(narrow).save_pretrained(other)
    with pytest.raises(TeacherError, match=r"has hidden 32, that of the search"):
        trained("preset=bort", f"teacher={other}")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(TextError, match=r"empty\.txt: the text is empty"):
        trained(f"text.sources=[{{source: {empty}}}]")
    assert not list(run.glob("retrained/*"))


def test_other_text_and_another_teacher_under_the_same_names_make_another_student(
    trained: Callable[..., dict[str, Any]], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, there = tmp_path / "own.txt", tmp_path / "teacher"
    text.write_text("\n\n".join(sample_documents(60)))
    shutil.copytree(teacher, there)
    monkeypatch.chdir(tmp_path)
    settings = ("preset=bort", "teacher=./teacher", f"text.sources=[{{source: {text}}}]", "steps=4", "judged=1")
    first = trained(*settings)
    assert first["teacher"] == str(there)
    assert trained(*settings)["folder"] == first["folder"]
    text.write_text("\n\n".join(sample_documents(60, seed=1)))
    second = trained(*settings)
    weights = load_file(there / "model.safetensors")
    save_file({name: value / 2 for name, value in weights.items()}, there / "model.safetensors", {"format": "pt"})
    assert len({found["folder"] for found in (first, second, trained(*settings))}) == 3
