"""A teacher that gets a masked-LM head: what it learns, killed and resumed to the bit, cached, used, refused."""

from __future__ import annotations

import errno
import json
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM

from nas_ray import api
from nas_ray._lock import FileLock, Held
from nas_ray.cli._main import cli
from nas_ray.distill import Checkpoints, Predictions, StudentTraining, Trainer, TrainingText, WordFrequencies
from nas_ray.errors import NasRayError, RunError, SpecError, StageError, TeacherError, TextError
from nas_ray.spec import Adapt, TrialSpec
from nas_ray.stages import Context, Run, Silent, _checks, adapt, adapt_spec, check_run, load_run_specs
from nas_ray.stages import _adaptation as training
from nas_ray.teacher import FAMILIES, TeacherSource, has_masked_lm_head, load_masked_lm, load_tokenizer
from tests.conftest import sample_documents, save_model, train_tokenizer
from tests.tiny_trial import command, environment, write_extraction, write_trial

SIZES = ("text.sequence_length=32", "sequences=8", "select_sequences=16", "test_sequences=32")
QUICK = (*SIZES, "steps=12", "judged=3")
GENTLE = ("learning_rate=1e-5", "head_learning_rate=1e-5")
LONG = ("judged=3", "learning_rate=2e-3", "head_learning_rate=5e-3")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("NAS_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def text(tiny_text_file: Path) -> str:
    return f"text.sources=[{{source: '{tiny_text_file}'}}]"


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text that can be learned in seconds: every document says one word again and again."""
    words = sorted({word for document in sample_documents(40) for word in document.lower().strip(".").split()})
    file = tmp_path_factory.mktemp("echoes") / "echoes.txt"
    file.write_text(
        "\n\n".join(" ".join([word] * (400 + i)) for word in words[:90] for i in range(4)), encoding="utf-8"
    )
    return f"text.sources=[{{source: '{file}'}}]"


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, echoes: str) -> dict[str, Any]:
    """The tiny teacher with a head that has learned something, without disturbance."""
    out = tmp_path_factory.mktemp("learned") / "adapted"
    return api.adapt_teacher(str(tiny_teacher_dir), overrides=(echoes, *SIZES, *LONG, "steps=120"), out=out)


def weights(found: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(Path(found["folder"]) / "model.safetensors")


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results are equal to the bit, but for where they lie."""
    left, right = weights(one), weights(other)
    facts = ("key", "figures", "curve", "settings", "tokens")
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left) and all(
        one[fact] == other[fact] for fact in facts
    )  # fmt: skip


# -- what it learns ---------------------------------------------------------------------------------------------------


def test_it_predicts_hidden_words_better_than_their_frequencies_and_stays_the_teacher(learned: dict[str, Any]) -> None:
    figures = learned["figures"]
    assert figures["test_masked_accuracy"] > figures["test_unigram_accuracy"] + 0.1
    assert figures["test_masked_loss"] < figures["test_unigram_loss"] - 1
    assert figures["test_similarity"] > 0.9
    losses = [learned["curve"][step]["loss"] for step in ("40", "80", "120")]
    assert losses == sorted(losses, reverse=True)
    assert learned["tokens"] == 120 * 8 * 32


def test_figures_are_those_of_the_model_in_the_folder(learned: dict[str, Any]) -> None:
    folder = Path(learned["folder"])
    spec = Adapt.model_validate(learned["settings"])
    made = training.HeadTraining(TeacherSource(str(folder)), spec, "", folder, Silent())
    text = made._part("test")
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids, labels = torch.from_numpy(text.ids).long(), torch.from_numpy(text.labels).long()
    with torch.no_grad():
        logits = model(input_ids=ids).logits[labels >= 0]
    words = labels[labels >= 0]
    assert learned["figures"]["test_hidden_words"] == len(words)
    assert learned["figures"]["test_masked_accuracy"] == pytest.approx(
        float((logits.argmax(-1) == words).float().mean())
    )
    loss = float(torch.nn.functional.cross_entropy(logits, words))
    assert learned["figures"]["test_masked_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_test_text_of_a_trial_trains_nothing() -> None:
    assert Adapt().text.splits == TrialSpec(name="any", space="minilm_small").text.splits
    assert Adapt().seed == TrialSpec(name="any", space="minilm_small").seed


def test_frequencies_are_those_of_words() -> None:
    ids, labels = np.array([[1, 9, 5, 2], [1, 5, 7, 2]], np.int32), np.full((2, 4), -100, np.int32)
    labels[0, 1] = 6  # 9 stands in its place
    text = TrainingText(ids, None, labels)
    found = WordFrequencies.of([text], special=[1, 2, 9], vocab_size=10)
    assert np.exp(found.logs[[5, 6, 7, 0]]) == pytest.approx(np.array([3, 2, 2, 1]) / 11)
    assert np.exp(found.logs[[1, 2, 9]]) == pytest.approx(0, abs=1e-9)
    assert found.predictions(text) == Predictions(pytest.approx(np.log(11 / 2)), 0.0, 1)


def test_without_the_keeping_the_embeddings_go(
    learned: dict[str, Any], tiny_teacher_dir: Path, echoes: str, cache: Path
) -> None:
    forgotten = api.adapt_teacher(str(tiny_teacher_dir), overrides=(echoes, *SIZES, *LONG, "steps=40", "keep=0"))
    assert forgotten["figures"]["test_similarity"] < learned["figures"]["test_similarity"] - 0.02


def test_the_head_alone_leaves_the_encoder_to_the_bit(tiny_teacher_dir: Path, text: str, cache: Path) -> None:
    found = api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK, "train=head"))
    assert found["figures"]["test_similarity"] == pytest.approx(1.0)
    before = dict(AutoModel.from_pretrained(tiny_teacher_dir, add_pooling_layer=False).named_parameters())
    after = dict(AutoModel.from_pretrained(found["folder"], add_pooling_layer=False).named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert found["figures"]["test_masked_loss"] < found["figures"]["test_unigram_loss"] + 1


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
CLASSES = {
    "bert": ("Bert", {}),
    "camembert": ("Camembert", {"pad_token_id": 0}),
    "distilbert": ("DistilBert", None),
    "electra": ("Electra", {"embedding_size": 8}),
    "roberta": ("Roberta", {"pad_token_id": 0, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRoberta", {"pad_token_id": 0}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, tmp_path: Path, text: str, cache: Path) -> None:
    name, changes = CLASSES[family]
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40}
    tokenizer, folder = train_tokenizer(), tmp_path / "teacher"
    tokenizer.save_pretrained(folder)
    settings: dict[str, Any] = sizes if changes is None else {**SMALL, **changes}
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), **settings)
    save_model(getattr(transformers, f"{name}Model"), config, folder)
    found = api.adapt_teacher(str(folder), overrides=(text, *SIZES, "steps=4", "judged=2"))
    source = TeacherSource(found["folder"])
    assert source.config.architectures == [f"{name}ForMaskedLM"]
    assert has_masked_lm_head(source.config)
    masked_lm = load_masked_lm(source)  # nothing is missing
    assert torch.equal(masked_lm.weight, masked_lm.model.get_input_embeddings().weight)
    assert (
        load_tokenizer(source).backend_tokenizer.to_str()
        == load_tokenizer(TeacherSource(str(folder))).backend_tokenizer.to_str()
    )
    before = AutoModel.from_pretrained(folder).get_input_embeddings().weight
    assert not torch.equal(before, masked_lm.weight)


# -- kept and found again ---------------------------------------------------------------------------------------------


def test_asked_again_it_is_answered_at_once(
    tiny_teacher_dir: Path, text: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK))
    folder = Path(first["folder"])
    assert folder.parent == cache / "adapted"
    assert not (cache / "adapted" / "training" / folder.name).exists()
    with monkeypatch.context() as patch:
        patch.setattr(training, "HeadTraining", None)
        assert api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK)) == first
        copied = api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK), out=folder.parent / "mine")
        assert same(copied, first)
        assert copied["folder"] == str(folder.parent / "mine")
        assert api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK), out=copied["folder"]) == copied


def test_settings_teacher_and_text_are_part_of_its_name(tiny_teacher_dir: Path, tmp_path: Path, cache: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("\n\n".join(sample_documents(60)))
    teacher = Path(shutil.copytree(tiny_teacher_dir, tmp_path / "teacher"))

    def key(*overrides: str) -> str:
        spec = adapt_spec((f"text.sources=[{{source: '{words}'}}]", *overrides))
        return adapt.Adapting(str(teacher), spec, None, Silent()).key

    first = key()
    assert key() == key("device=cuda") == first
    assert key("steps=7") != first
    words.write_text(words.read_text() + "\n\nOne more document.")
    second = key()
    assert second != first
    (teacher / "config.json").write_text((teacher / "config.json").read_text() + "\n")
    assert key() != second


def test_interrupted_after_every_checkpoint_it_ends_as_if_undisturbed(
    tiny_teacher_dir: Path, text: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK))
    monkeypatch.setenv("NAS_RAY_CACHE", str(tmp_path / "other"))
    advance, interruptions = StudentTraining.advance, 0

    def stops(self: StudentTraining, to: int) -> None:
        if to > self.step:
            advance(self, to)
            raise KeyboardInterrupt  # before it is judged

    monkeypatch.setattr(StudentTraining, "advance", stops)
    while True:
        try:
            found = api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK))
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == 3
    assert same(found, whole)


def test_killed_in_the_middle_it_loses_the_steps_since_the_last_checkpoint(
    tiny_teacher_dir: Path, text: str, tmp_path: Path, cache: Path
) -> None:
    many = (text, *SIZES, "steps=60", "judged=6")
    settings = [word for pair in many for word in ("--set", pair)]
    words = command("adapt-teacher", tiny_teacher_dir, *settings)
    log = tmp_path / "log"
    with log.open("w") as output, subprocess.Popen(
        words, env=environment(NAS_RAY_CACHE=str(cache)), stdout=output, stderr=output
    ) as process:  # fmt: skip
        while process.poll() is None and not list(cache.glob("adapted/training/*/teacher/step-*20.json")):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL, log.read_text()
    assert not list(cache.glob("adapted/tiny-bert-*"))
    ended = api.adapt_teacher(str(tiny_teacher_dir), overrides=many)
    whole = api.adapt_teacher(str(tiny_teacher_dir), overrides=many, out=tmp_path / "whole")
    assert same(ended, whole)


def test_of_a_damaged_checkpoint_the_one_before_stands_in(
    tiny_teacher_dir: Path, text: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.HeadTraining, "measure", stops)
        with pytest.raises(KeyboardInterrupt):
            api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK))
    newest = max(cache.glob("adapted/training/*/teacher/step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:1000])
    found = api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK))
    assert same(found, api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK), out=tmp_path / "whole"))


# -- used -------------------------------------------------------------------------------------------------------------


def test_it_is_a_teacher_of_any_trial(learned: dict[str, Any], tmp_path: Path, tiny_text_file: Path) -> None:
    trial = write_trial(tmp_path, Path(learned["folder"]), tiny_text_file)
    run = Run.create(tmp_path / "runs", *load_run_specs(str(trial)))
    check_run(run)
    context = Context(run)
    assert context.texts.is_masked
    assert context.shape.hidden == 64


def test_predictions_of_plain_encoders_are_compared_with_its_own(
    learned: dict[str, Any], tmp_path: Path, tiny_text_file: Path
) -> None:
    extraction = {"error": "cross_entropy", "epsilon": 8}
    trial = write_extraction(tmp_path, Path(learned["folder"]), tiny_text_file, extraction=extraction)
    run = api.search(str(trial), storage=tmp_path / "runs")
    assert all(0 < row["test_loss"] < 10 for row in api.front(run.folder)["candidates"])


def test_its_notes_are_no_part_of_the_teacher(learned: dict[str, Any]) -> None:
    assert (Path(learned["folder"]) / "adapted.json").is_file()
    assert learned["command"].startswith("nas-ray adapt-teacher ")


def test_the_command(tiny_teacher_dir: Path, text: str, tmp_path: Path, cache: Path) -> None:
    settings = [word for pair in (text, *QUICK) for word in ("--set", pair)]
    words = ["adapt-teacher", str(tiny_teacher_dir), "--out", str(tmp_path / "out"), *settings]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 0, found.output
    assert "tokens to train on" in found.stdout
    assert "select: loss" in found.stdout
    assert "the most frequent word" in found.stdout
    assert str(tmp_path / "out") in found.stdout
    again = CliRunner().invoke(cli, [*words, "--json"])
    assert json.loads(again.stdout)["folder"] == str(tmp_path / "out")
    made = shlex.split(json.loads(again.stdout)["command"])[1:]
    assert json.loads(CliRunner().invoke(cli, [*made, "--json"]).stdout) == json.loads(again.stdout)


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tiny_teacher_dir: Path, text: str, cache: Path, tmp_path: Path) -> Callable[..., str]:
    def run(
        match: str, *overrides: str, teacher: Path = tiny_teacher_dir, error: type[NasRayError], **more: Any
    ) -> str:
        with pytest.raises(error, match=match) as caught:
            api.adapt_teacher(str(teacher), overrides=(text, *QUICK, *overrides), **more)
        assert "\n" not in str(caught.value)
        assert not list(cache.glob("adapted/*-*"))
        assert caught.value.exit_code == (1 if error is StageError else 2)
        return str(caught.value)

    return run


Refused = Callable[..., str]


def test_a_head_that_is_there_is_not_replaced(refused: Refused, learned: dict[str, Any], echoes: str) -> None:
    teacher = Path(learned["folder"])
    refused("has a masked-LM head already; use it as it is, or .* --set head=own", teacher=teacher, error=TeacherError)
    refused("no masked-LM head of its own to train", "head=own", error=TeacherError)
    found = api.adapt_teacher(str(teacher), overrides=(echoes, *QUICK, *GENTLE, "head=own"))
    assert found["figures"]["test_masked_loss"] < learned["figures"]["test_masked_loss"] + 0.01
    assert found["figures"]["test_similarity"] > 0.95


def test_a_tokenizer_that_cannot_hide(refused: Refused, tiny_teacher_dir: Path, tmp_path: Path) -> None:
    teacher = Path(shutil.copytree(tiny_teacher_dir, tmp_path / "teacher"))
    for file in (teacher / "tokenizer_config.json", teacher / "special_tokens_map.json"):
        if file.is_file():
            kept = {key: value for key, value in json.loads(file.read_text()).items() if key != "mask_token"}
            file.write_text(json.dumps(kept))
    refused("has no mask token, which stands for hidden words", teacher=teacher, error=TeacherError)


def test_a_tokenizer_of_another_model(refused: Refused, tiny_teacher_dir: Path, tmp_path: Path) -> None:
    teacher = Path(shutil.copytree(tiny_teacher_dir, tmp_path / "teacher"))
    config = json.loads((teacher / "config.json").read_text())
    (teacher / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    refused("has 400 tokens, the model 100; accepted", teacher=teacher, error=TeacherError)


def test_text_that_is_none_or_too_short(refused: Refused, tmp_path: Path, cache: Path) -> None:
    empty, short = tmp_path / "empty.txt", tmp_path / "short.txt"
    empty.write_text(" \n\n")
    short.write_text("\n\n".join(sample_documents(12)))
    refused("the text is empty", f"text.sources=[{{source: '{empty}'}}]", error=TextError)
    assert not list(cache.glob("adapted/training/*"))
    refused("no such file or folder", "text.sources=[{source: ./nowhere}]", error=TextError)
    short_text = f"text.sources=[{{source: '{short}'}}]"
    even = "text.splits={train: 0.4, calibrate: 0.2, select: 0.2, test: 0.2}"
    refused(
        "sequences of 32 tokens to train on, a step reads 5000; accepted: more text",
        short_text, even, "sequences=5000", error=TextError,
    )  # fmt: skip


def test_settings_that_cannot_be(refused: Refused) -> None:
    refused("unknown key 'step'; known: .*Did you mean 'steps'", "step=3", error=SpecError)
    refused("found 500; accepted: at most 128", "text.sequence_length=500", error=SpecError)
    refused("unknown value 'bert'; known: all, head", "train=bert", error=SpecError)
    if not torch.cuda.is_available():
        refused("found cuda, torch finds no GPU here", "device=cuda", error=SpecError)


def test_a_place_that_holds_something_else(
    refused: Refused, tmp_path: Path, learned: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    refused("not a folder; choose another --out", out=out, error=RunError)
    out.unlink()
    out.mkdir()
    (out / "notes").write_text("mine")
    refused("exists and is not empty; choose another --out", out=out, error=RunError)
    refused("adapted with other settings", out=learned["folder"], error=RunError)
    assert (out / "notes").read_text() == "mine"

    class Full:
        free = 1000

    with monkeypatch.context() as patch:
        patch.setattr(_checks.shutil, "disk_usage", lambda _: Full)
        refused(r"0 MB of the disk are free, 1 are needed; choose another --out", out=tmp_path / "new", error=RunError)


def test_another_process_is_at_it(refused: Refused, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: adapt.Adapting) -> None:
        held = FileLock(self._work / "lock")
        with pytest.raises(Held):
            held.acquire()
        refused("another process trains this teacher .process", error=RunError)
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt.Adapting, "_make", busy)
    with pytest.raises(KeyboardInterrupt):
        refused("interrupted", error=RunError)


@pytest.mark.parametrize("what", ["loss", "weight"])
def test_a_number_that_is_none_leaves_the_last_good_checkpoint(
    what: str, refused: Refused, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def fails(self: Trainer, at: int, losses: Any) -> list[float]:
        found = step(self, at, losses)
        if at == 7 and what == "weight":
            next(iter(self.names.values())).data.fill_(float("inf"))
        return [float("nan")] if at == 7 and what == "loss" else found

    monkeypatch.setattr(Trainer, "step", fails)
    refused(f"{what} of step 7 is n.*; try a lower learning_rate", error=StageError)
    assert [file.stem for file in cache.glob("adapted/training/*/teacher/*.json")] == ["step-00000004"]


def test_a_full_disk_leaves_no_half_teacher(
    refused: Refused, tiny_teacher_dir: Path, text: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        patch.setattr(adapt, "quiet", full)
        refused("No space left on device", error=StageError)
        assert not list(cache.glob("adapted/.*"))
    assert api.adapt_teacher(str(tiny_teacher_dir), overrides=(text, *QUICK))["curve"].keys() == {"4", "8", "12"}
