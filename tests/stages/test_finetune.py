"""Fine-tuning from end to end: what is kept, killed and resumed, taught, continued, searched, refused."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nas_ray import api
from nas_ray.cli._main import cli
from nas_ray.distill import StudentTraining
from nas_ray.errors import ModelError, SpecError, StageError, TaskError, TeacherError
from nas_ray.search import Journal
from nas_ray.stages import Silent, finetune_spec
from nas_ray.stages._plans import on_driver
from nas_ray.stages.search import run_local
from nas_ray.stages.tasks import _augmentation, _models
from nas_ray.stages.tasks import finetune as stage
from nas_ray.stages.tasks._models import TaskModel
from nas_ray.tracking import NullTracker
from tests.conftest import save_model, train_tokenizer
from tests.tiny_student import write_student
from tests.tiny_tasks import KEYS, write_task
from tests.tiny_trial import command, environment

FAST = ("executor=local", "tracking.enabled=false", "epochs=1", "judged=2", "learning_rate=3e-3", "seeds=2")
QUICK = (*FAST, "least_steps=20", "sequences=16")


class Heard(Silent):
    """A console that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> str:
    return str(write_student(tmp_path_factory.mktemp("student") / "tiny", "paths", tiny_teacher_dir))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_task(tmp_path_factory.mktemp("single"), "single"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, student: str, single: str) -> dict[str, Any]:
    """A fine-tuning without disturbance."""
    return api.finetune(student, single, overrides=QUICK, storage=tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, student: str, single: str) -> dict[str, Any]:
    """One that has learned its task."""
    return api.finetune(student, single, overrides=(*FAST, "least_steps=60"), storage=tmp_path_factory.mktemp("taught"))


def model_of(found: dict[str, Any], name: str | None = None) -> Path:
    return Path(found["folder"]) / "models" / (name or found["best"])


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results are equal to the bit, but for where they lie."""
    facts = ("key", "trainings", "select", "test", "best", "search", "tokens")
    weights = [[load_file(model_of(found, t["model"]) / "model.safetensors") for t in found["trainings"]]
               for found in (one, other)]  # fmt: skip
    equal = all(a[n].equal(b[n]) for a, b in zip(*weights, strict=True) for n in a)
    return equal and all(one[fact] == other[fact] for fact in facts)


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_what_the_saved_models_reach(learned: dict[str, Any], single: str) -> None:
    rows = [json.loads(line) for line in (Path(single).parent / "test.jsonl").read_text().splitlines()]
    reached = []
    for training in learned["trainings"]:
        folder = model_of(learned, training["model"])
        model, tokenizer = (
            AutoModelForSequenceClassification.from_pretrained(folder),
            AutoTokenizer.from_pretrained(folder),
        )
        found = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model.eval()(input_ids=found["input_ids"], attention_mask=found["attention_mask"]).logits
        said = [model.config.id2label[int(best)] for best in logits.argmax(1)]
        reached.append(float(np.mean([a == row["label"] for a, row in zip(said, rows, strict=True)])))
        assert training["test"] == {"accuracy": pytest.approx(reached[-1])}
        assert list(training["curve"].values())[-1] == training["select"]["accuracy"]
    assert learned["test"]["accuracy"]["mean"] == pytest.approx(np.mean(reached))
    assert learned["test"]["accuracy"]["deviation"] == pytest.approx(np.std(reached, ddof=1))
    assert np.mean(reached) > 0.9
    best = max(learned["trainings"], key=lambda t: t["select"]["accuracy"])
    assert learned["best"] == best["model"]
    assert [t["seed"] for t in learned["trainings"]] == [0, 1]
    assert learned["classes"] == list(KEYS)
    assert not (Path(learned["folder"]) / "checkpoints").exists()


def test_asked_again_it_is_only_told(
    whole: dict[str, Any], student: str, single: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "TaskTraining", None)
    storage = Path(whole["folder"]).parents[1]
    assert api.finetune(student, single, overrides=(*QUICK, "device=cpu"), storage=storage) == whole
    again = CliRunner().invoke(cli, [*command_words(whole), "--json"])
    assert json.loads(again.output) == whole


def command_words(found: dict[str, Any]) -> list[str]:
    return shlex.split(found["command"])[1:]


def test_what_was_damaged_or_moved_since(student: str, single: str, tmp_path: Path) -> None:
    few = (*QUICK, "seeds=2", "executor=local")
    whole = api.finetune(student, single, overrides=few, storage=tmp_path)
    folder = Path(whole["folder"])
    moved = shutil.copytree(student, tmp_path / "elsewhere" / Path(student).name)
    assert api.finetune(str(moved), single, overrides=few, storage=tmp_path) == whole  # the same model
    (folder / "finetuned.json").write_text("{")
    assert api.finetune(student, single, overrides=few, storage=tmp_path) == whole
    file = folder / "models" / "seed-1" / "model.safetensors"
    before = file.read_bytes()
    file.write_bytes(before[:100])
    again = api.finetune(student, single, overrides=few, storage=tmp_path)
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}
    assert file.read_bytes() == before
    shutil.rmtree(folder / "models" / whole["best"])
    with pytest.raises(ModelError, match="missing or damaged; the command of the fine-tuning, given again"):
        api.finetune(student, single, overrides=few, storage=tmp_path, teacher=str(folder))


def test_predictions_for_the_server_are_those_of_the_best(student: str, tmp_path: Path) -> None:
    task = write_task(tmp_path / "t", "single", {"train": 64, "select": 20, "test": 20, "server": 6})
    found = api.finetune(student, str(task), overrides=QUICK, storage=tmp_path)
    (name,) = found["predictions"]
    lines = (Path(found["folder"]) / "predictions" / name).read_text().splitlines()
    assert len(lines) == 7
    assert {line.split("\t")[1] for line in lines[1:]} <= set(KEYS)


@pytest.mark.parametrize(("kind", "chance"), [("choice", 0.42), ("span", 0.16)])
def test_options_and_spans_are_learned_far_above_chance(kind: str, chance: float, student: str, tmp_path: Path) -> None:
    """Two or three options; an answer among 4 to 9 words."""
    found = api.finetune(
        student, str(write_task(tmp_path / "t", kind)), overrides=(*FAST, "least_steps=60"), storage=tmp_path
    )
    assert found["steps"] == 60  # two options of one example count once
    (reached,) = found["test"].values()
    error = (chance * (1 - chance) / found["sizes"]["test"]) ** 0.5
    assert reached["mean"] - chance > max(0.3, 5 * error)


def test_texts_that_are_cut_are_told_of_and_spans_are_read_in_windows(student: str, tmp_path: Path) -> None:
    heard = Heard()
    single, span = (
        write_task(tmp_path / kind, kind, {"train": 30, "select": 10, "test": 10}) for kind in ("single", "span")
    )
    short = (*FAST, "seeds=1", "least_steps=2", "max_length=16")
    api.finetune(student, str(single), overrides=short, storage=tmp_path, console=heard)
    assert any("of train are longer than 16 tokens and were cut off" in line for line in heard.lines)
    heard.lines.clear()
    api.finetune(student, str(span), overrides=short, storage=tmp_path, console=heard)
    assert not any("cut off" in line for line in heard.lines)


# -- interrupted ------------------------------------------------------------------------------------------------------


def test_interrupted_at_every_judgement_it_ends_as_if_undisturbed(
    whole: dict[str, Any], student: str, single: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, calls = StudentTraining.advance, 0

    def stops(self: StudentTraining, to: int) -> None:
        nonlocal calls
        advance(self, to)
        calls += 1
        if calls % 2 == 0:  # its checkpoint is ahead of the journal
            raise KeyboardInterrupt

    interruptions = 0
    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", stops)
        while True:
            try:
                found = api.finetune(student, single, overrides=QUICK, storage=tmp_path)
                break
            except KeyboardInterrupt:
                interruptions += 1
    assert interruptions >= 3
    assert same(found, whole)


def test_without_a_last_checkpoint_what_is_missing_is_trained_again_and_told(
    whole: dict[str, Any], student: str, single: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudentTraining, "_save", lambda _: None)  # as if no disk could take it
    heard = Heard()
    found = api.finetune(student, single, overrides=QUICK, storage=tmp_path, console=heard)
    steps = found["steps"]
    again = [line for line in heard.lines if f"its last checkpoint is of step 0 of {steps}; what is missing" in line]
    assert len(again) == len(found["trainings"])
    assert same(found, whole)


def test_killed_in_another_process_it_goes_on_here_as_if_undisturbed(
    whole: dict[str, Any], student: str, single: str, tmp_path: Path
) -> None:
    words = command_words(whole)
    words[words.index("--storage") + 1] = str(tmp_path)
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(command(*words), env=environment(), stdout=out, stderr=out) as process:
        journal = tmp_path / "finetuned" / Path(whole["folder"]).name / "journal.jsonl"
        while process.poll() is None and not (journal.is_file() and b'"rung"' in journal.read_bytes()):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL, log.read_text()
    assert same(api.finetune(student, single, overrides=QUICK, storage=tmp_path), whole)


# -- other models -----------------------------------------------------------------------------------------------------


def test_a_teacher_is_asked_once_and_changes_what_is_learned(
    whole: dict[str, Any], learned: dict[str, Any], student: str, single: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = 0
    scores = _models.task_scores

    def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return scores(*arguments)

    monkeypatch.setattr(_models, "task_scores", counted)
    options: dict[str, Any] = {"teacher": learned["folder"], "overrides": QUICK, "storage": tmp_path}
    found = api.finetune(student, single, **options)
    kept = load_file(Path(found["folder"]) / "teacher.safetensors")["scores"]
    model = AutoModelForSequenceClassification.from_pretrained(model_of(learned)).eval()
    row = json.loads((Path(single).parent / "train.jsonl").read_text().splitlines()[0])
    read = AutoTokenizer.from_pretrained(model_of(learned))(row["text"], return_tensors="pt")
    with torch.no_grad():
        said = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).logits[0]
    torch.testing.assert_close(kept[0], said)
    assert found["key"] != whole["key"]
    assert not same({**found, "key": whole["key"]}, whole)
    (Path(found["folder"]) / "finetuned.json").unlink()  # killed just before its end
    shutil.rmtree(Path(found["folder"]) / "models")
    assert same(api.finetune(student, single, **options), found)
    assert asked == 1


def test_a_teacher_that_may_have_learned_what_is_reported_is_told_of(
    learned: dict[str, Any], student: str, single: str, tmp_path: Path
) -> None:
    files = {part: Path(single).parent / f"{part}.jsonl" for part in ("train", "select", "test")}
    few = (*FAST, "seeds=1", "least_steps=2")
    for swapped in (False, True):
        task = write_task(tmp_path / f"swapped-{swapped}", "single")
        for part, file in files.items():
            source = files["select" if part == "test" else "test"] if swapped and part != "train" else file
            shutil.copy(source, task.parent / f"{part}.jsonl")
        heard = Heard()
        api.finetune(student, str(task), teacher=learned["folder"], overrides=few, storage=tmp_path, console=heard)
        assert any("were kept from this teacher" in line for line in heard.lines) is swapped


def test_a_teacher_with_other_tokens_reads_for_itself_but_scores_no_tokens_for_others(
    student: str, tmp_path: Path
) -> None:
    from transformers import BertConfig, BertModel

    tokenizer, folder = train_tokenizer(), tmp_path / "bert"
    tokenizer.add_tokens(["harbour"])
    tokenizer.save_pretrained(folder)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=64)  # fmt: skip
    save_model(BertModel, config, folder)
    few, sizes = (*FAST, "seeds=1", "least_steps=2"), {"train": 40, "select": 10, "test": 10}
    for kind in ("single", "token"):
        task = str(write_task(tmp_path / kind, kind, sizes))
        teacher = api.finetune(str(folder), task, overrides=few, storage=tmp_path)["folder"]
        if kind == "single":
            api.finetune(student, task, overrides=few, storage=tmp_path, teacher=teacher)
        else:
            with pytest.raises(ModelError, match=r"has other tokens than .*accepted as --teacher"):
                api.finetune(student, task, overrides=few, storage=tmp_path, teacher=teacher)


def test_it_goes_on_from_another_tasks_model(
    learned: dict[str, Any], student: str, single: str, tmp_path: Path
) -> None:
    pair = str(write_task(tmp_path / "pair", "pair", {"train": 40, "select": 10, "test": 10}))
    few = (*FAST, "seeds=1", "least_steps=1", "learning_rate=1e-9")
    found = api.finetune(student, pair, overrides=few, storage=tmp_path, start=learned["folder"])
    theirs, mine = (load_file(model_of(one) / "model.safetensors") for one in (learned, found))
    encoder = [name for name in theirs if name.startswith("encoder.")]
    assert all(torch.allclose(theirs[name], mine[name], atol=1e-6) for name in encoder)
    assert mine["classifier.weight"].shape == (2, 64)
    again = api.finetune(student, single, overrides=few, storage=tmp_path, start=model_of(learned, "seed-1"))
    assert again["test"]["accuracy"]["mean"] == learned["trainings"][1]["test"]["accuracy"]  # the head came along


# -- searched ---------------------------------------------------------------------------------------------------------

SEARCH = (*QUICK, "search={trials: 4}", "search.learning_rate={low: 1.0e-4, high: 1.0e-2}", "search.sequences=[8, 16]")


def test_a_search_reports_both_sets_over_all_seeds_and_is_the_same_when_interrupted(
    student: str, single: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = api.finetune(student, single, overrides=SEARCH, storage=tmp_path / "a")
    search = found["search"]
    records = [json.loads(x) for x in (Path(found["folder"]) / "journal-search.jsonl").read_text().splitlines()]
    tried = [record["hyperparameters"] for record in records if record["kind"] == "suggested"]
    assert len(tried) == search["trials"] == 4
    assert tried[0] | {"learning_rate": 3e-3, "sequences": 16, "weight_decay": 0.01} == tried[0]
    assert search["hyperparameters"] in tried
    assert all(search["hyperparameters"].items() <= t["hyperparameters"].items() for t in found["trainings"])
    means = [found["test"]["accuracy"]["mean"], search["settings"]["test"]["accuracy"]["mean"]]
    assert search["gain"]["accuracy"]["mean"] == pytest.approx(means[0] - means[1])
    assert search["gain"]["accuracy"]["verdict"] in ("better", "worse", "open")

    append, calls = Journal.append, 0

    def stops(self: Any, record: dict[str, Any]) -> None:
        nonlocal calls
        append(self, record)
        calls += 1
        if calls in (4, 9):
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "append", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            api.finetune(student, single, overrides=SEARCH, storage=tmp_path / "b")
    assert same(api.finetune(student, single, overrides=SEARCH, storage=tmp_path / "b"), found)


def test_steps_of_half_the_examples_are_twice_as_many_and_half_as_long(
    student: str, single: str, tmp_path: Path
) -> None:
    class Progress(Silent):
        far: tuple[float, float] = (0, 0)

        def progress(self, done: float, total: float, unit: str, note: str = "") -> None:
            self.far = (done, total)

    console = Progress()
    halves = (*QUICK, "seeds=1", "search={trials: 2}", "search.sequences=[8]")
    found = api.finetune(student, single, overrides=halves, storage=tmp_path, console=console)
    assert found["steps"] == 40
    assert console.far == (40, 40)  # 20 of the settings, and the best set's as many of theirs


# -- on Ray, in MLflow, at the command line ----------------------------------------------------------------------------


def test_on_ray_it_is_the_same_and_every_trial_is_a_run(
    whole: dict[str, Any], student: str, single: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    words = ["finetune", student, "--task", single, "--storage", str(tmp_path), "--seeds", "2"]
    settings = [word for pair in QUICK[2:] for word in ("--set", pair)]
    done = CliRunner().invoke(cli, [*words, *settings], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"{tmp_path}/finetuned/tiny-single-{whole['key']}/models/{whole['best']}" in done.output.replace("\n", "")
    found = stage.read_finetuned(tmp_path / "finetuned" / Path(whole["folder"]).name)
    assert same(found, whole)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("finetuned")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"settings, seed 0", "settings, seed 1", Path(found["folder"]).name}
    for training in found["trainings"]:
        run = runs[f"settings, seed {training['seed']}"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["nas_ray.task"] == "single"
        assert run.data.metrics["test_accuracy"] == pytest.approx(training["test"]["accuracy"])
        history = client.get_metric_history(run.info.run_id, "select_accuracy")
        assert [point.value for point in history][:2] == pytest.approx(list(training["curve"].values()))


def test_a_driver_needs_no_gpu_of_its_own(
    whole: dict[str, Any], student: str, single: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, trained = [], StudentTraining.advance

    def trained_elsewhere(session: Any, config: Any, arrays: Any, *_: Any, progress: Any, **__: Any) -> None:
        wanted.append(config)
        run_local(session, on_driver(config).build(arrays), progress)
        monkeypatch.setattr(StudentTraining, "advance", not_here)

    def not_here(self: StudentTraining, to: int) -> None:
        assert self.step == to, "a driver reads what its workers have trained"

    monkeypatch.setattr("nas_ray.stages._checks._has_gpu", lambda: False)

    for name, fake in {
        "connect": lambda *_: False,
        "check_storage": lambda _: None,
        "put": lambda value: value,
        "run_search": trained_elsewhere,
    }.items():
        monkeypatch.setattr(f"nas_ray.cluster.{name}", fake)
    overrides = (*QUICK, "executor=ray", "device=cuda")
    found = api.finetune(student, single, overrides=overrides, storage=tmp_path, address="somewhere:6379")
    monkeypatch.setattr(StudentTraining, "advance", trained)
    assert [config.device for config in wanted] == ["cuda"]
    assert wanted[0].plan.key == on_driver(wanted[0]).plan.key  # the driver goes on from what a GPU has trained
    assert same(found, whole)
    with pytest.raises(SpecError, match="device: found cuda, torch finds no GPU here; accepted: cpu"):
        api.finetune(student, single, overrides=(*QUICK, "device=cuda"), storage=tmp_path, address="somewhere:6379")


def test_what_mlflow_has_not_heard_is_told_when_asked_again(
    whole: dict[str, Any], student: str, single: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(NullTracker):
        def summary(self, params: Any, metrics: Any, *_: Any, **__: Any) -> None:
            told.append((params, metrics))

    told: list[Any] = []
    monkeypatch.setattr(stage, "task_tracker", lambda *_: Told())
    spool, storage = Path(whole["folder"]) / "tracking.jsonl", Path(whole["folder"]).parents[1]
    spool.write_text("")
    try:
        assert api.finetune(student, single, overrides=QUICK, storage=storage) == whole
    finally:
        spool.unlink()
    ((params, metrics),) = told
    assert params["task"] == "single"
    assert metrics == {"test_accuracy": whole["test"]["accuracy"]["mean"]}
    assert api.finetune(student, single, overrides=QUICK, storage=storage) == whole
    assert len(told) == 1


# -- refused ----------------------------------------------------------------------------------------------------------


def test_errors_say_what_is_accepted(learned: dict[str, Any], student: str, single: str, tmp_path: Path) -> None:
    def tune(model: str = student, task: str = single, *overrides: str, **more: Any) -> Any:
        return api.finetune(model, task, overrides=(*FAST, *overrides), storage=tmp_path, **more)

    with pytest.raises(TaskError, match=r"unknown task 'movie_sentimant'.*Did you mean 'movie_sentiment'"):
        tune(task="movie_sentimant")
    with pytest.raises(SpecError, match=r"unknown key 'epoch'.*Did you mean 'epochs'"):
        tune(student, single, "epoch=3")
    nothing = [f"search.{name}=null" for name in ("learning_rate", "sequences", "warmup", "weight_decay")]
    with pytest.raises(SpecError, match="nothing is searched"):
        tune(student, single, *nothing)
    with pytest.raises(TeacherError, match="no such folder"):
        tune("./nothing/here")
    with pytest.raises(ModelError, match=r"holds neither finetuned\.json nor task\.json"):
        tune(teacher=student)
    pair = str(write_task(tmp_path / "pair", "pair"))
    with pytest.raises(ModelError, match=r"was fine-tuned on task 'single' with classes .*as --teacher.*'pair'"):
        tune(student, pair, teacher=learned["folder"])
    other = shutil.copytree(student, tmp_path / "other")
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    with pytest.raises(ModelError, match=r"was made of .*accepted as --start: a model that was fine-tuned from"):
        tune(str(other), pair, start=learned["folder"])
    fewer = tmp_path / "fewer" / "single.yaml"
    write_task(fewer.parent, "single", classes=["calm", "loud"])
    with pytest.raises(TaskError, match="cold"):
        tune(student, str(fewer))
    with pytest.raises(TaskError, match=r"has no part 'test'"):
        tune(student, str(write_task(tmp_path / "part", "single", {"train": 10, "select": 5})))
    with pytest.raises(StageError, match="the loss of step"):
        tune(student, single, "learning_rate=1e30", "least_steps=4")


def test_a_model_that_has_learned_nothing_is_told_of(student: str, single: str, tmp_path: Path) -> None:
    heard = Heard()
    few = (*FAST, "seeds=1", "least_steps=2", "learning_rate=1e-9")
    found = api.finetune(student, single, overrides=few, storage=tmp_path, console=heard)
    select = [json.loads(line)["label"] for line in (Path(single).parent / "select.jsonl").read_text().splitlines()]
    share = found["trainings"][0]["select"]["accuracy"]
    assert share in {select.count(name) / len(select) for name in select}
    assert any("seed-0: one class for every example of select" in line for line in heard.lines)


# -- augmented --------------------------------------------------------------------------------------------------------


def test_other_words_are_more_examples_made_once(student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = str(write_task(tmp_path / "t", "single", {"train": 24, "select": 10, "test": 10}))
    few = (*FAST, "seeds=1", "least_steps=2", "augment={copies: 2, seed: 5}")
    found = api.finetune(student, task, overrides=few, storage=tmp_path)
    rows = [json.loads(line) for line in (Path(found["folder"]) / "augmented.jsonl").read_text().splitlines()]
    lines = (tmp_path / "t" / "train.jsonl").read_text().splitlines()
    own = {row["text"]: row["label"] for row in map(json.loads, lines)}
    assert len(rows) == 48
    new = [row for row in rows if row["texts"][0] not in own]
    assert found["sizes"]["train"] == 24 + len(new)
    targets = {row["id"].split("+")[0]: row["target"] for row in rows}
    assert all(targets[row["id"].split("+")[0]] == row["target"] for row in rows)
    assert all(word not in found["command"] for word in ("candidates", "ratio"))
    assert "augment.copies=2" in found["command"]
    (Path(found["folder"]) / "finetuned.json").unlink()
    monkeypatch.setattr(_augmentation, "replacer", None)
    assert same(api.finetune(student, task, overrides=few, storage=tmp_path), found)
    span = str(write_task(tmp_path / "span", "span"))
    with pytest.raises(SpecError, match=r"augment: task 'span' is of kind span.*accepted: single, pair, regression"):
        api.finetune(student, span, overrides=few, storage=tmp_path)


def test_settings_and_the_space_of_a_search_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 5\nsearch: {trials: 7, learning_rate: {low: 1.0e-5, high: 1.0e-3}, warmup: null}\n")
    found = finetune_spec(["epochs=6"], file)
    assert (found.epochs, found.sequences) == (6, 32)
    assert found.search is not None
    assert set(found.search.searched) == {"learning_rate", "sequences", "weight_decay"}
    assert finetune_spec(found.overrides) == found
    file.write_text("epoch: 5")
    with pytest.raises(SpecError, match=r"mine\.yaml: epoch: unknown key 'epoch'.*Did you mean 'epochs'"):
        finetune_spec((), file)


# -- asked ------------------------------------------------------------------------------------------------------------


def test_a_model_is_asked_of_another_task_with_its_classes(
    learned: dict[str, Any], single: str, tmp_path: Path
) -> None:
    asked = write_task(tmp_path / "asked", "single", {"test": 30, "server": 5}, trained_on="single")
    found = api.predict(learned["folder"], str(asked), out=tmp_path / "said")
    assert found["scores"]["accuracy"] > 0.8
    (file,) = found["files"]
    assert len(Path(file).read_text().splitlines()) == 6
    again = api.predict(model_of(learned), single)
    assert again["scores"] == next(t["test"] for t in learned["trainings"] if t["model"] == learned["best"])
    shown = CliRunner().invoke(cli, ["predict", learned["folder"], "--task", str(asked)], catch_exceptions=False)
    assert f"{learned['folder']}/predictions" in shown.output
    with pytest.raises(TaskError, match=r"has nothing to train on; accepted: fine-tune on 'single'.*nas-ray predict"):
        api.finetune(learned["model"], str(asked), overrides=FAST, storage=tmp_path)
    pair = write_task(tmp_path / "pair", "pair", {"train": 10, "test": 10})
    with pytest.raises(ModelError, match=r"with classes calm, loud, cold; accepted for 'pair': kind pair, other, same"):
        api.predict(learned["folder"], str(pair))


def test_models_of_a_hub_are_known_by_their_names(tmp_path: Path) -> None:
    of_hub = TaskModel(tmp_path, {"model": "bert-base-uncased", "model_content": ""})
    of_hub.check_continues("bert-base-uncased", "")
    for model, content in (("roberta-base", ""), ("bert-base-uncased", "a local folder's")):
        with pytest.raises(ModelError, match=r"was made of bert-base-uncased .*accepted as --start"):
            of_hub.check_continues(model, content)
