"""Agora: rounds until nothing is left, what feeds the loop and what it never sees, interrupted and resumed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from nas_ray import api
from nas_ray.cli._main import cli
from nas_ray.distill import StudentTraining
from nas_ray.errors import ModelError, SpecError
from nas_ray.search import rooted_common
from nas_ray.stages.tasks import agora as stage
from tests.tiny_student import write_student
from tests.tiny_tasks import KEYS, write_task

FAST = ("executor=local", "tracking.enabled=false", "epochs=1", "judged=1")
LOOP = (
    *(f"training.{setting}" for setting in (*FAST, "least_steps=8")),
    "learning_rates=[1.0e-3, 3.0e-3]", "sequences=[8, 16]", "warmups=[0.1]", "dev_share=0.3", "transform.copies=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_task(tmp_path_factory.mktemp("task"), "single", {"train": 120, "select": 30, "test": 30}))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> str:
    return str(write_student(tmp_path_factory.mktemp("student") / "tiny", "paths", tiny_teacher_dir))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, student: str, task: str) -> str:
    storage = tmp_path_factory.mktemp("teacher")
    settings = (*FAST, "seeds=1", "least_steps=100", "learning_rate=3e-3")
    found = api.finetune(student, task, overrides=settings, storage=storage)
    assert found["test"]["accuracy"]["mean"] > 0.8
    return str(found["folder"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, student: str, task: str, teacher: str) -> dict[str, Any]:
    """A loop without disturbance."""
    return api.agora(student, task, teacher=teacher, overrides=LOOP, storage=tmp_path_factory.mktemp("whole"))


def texts(file: Path, name: str = "text") -> list[str]:
    return [json.loads(line)[name] for line in file.read_text().splitlines()]


def test_sets_go_by_the_ordering_rule_until_none_is_left(whole: dict[str, Any], task: str) -> None:
    rounds = whole["rounds"]
    assert rounds[0]["sets"] == 4
    assert rounds[0]["left"] == rounds[0]["order"]  # there is no order before the first
    for before, now in pairwise(rounds):
        orders = [[json.dumps(one, sort_keys=True) for one in found["order"]] for found in (before, now)]
        gone = rooted_common(*orders)
        assert [json.dumps(one, sort_keys=True) for one in now["left"]] == [o for o in orders[1] if o not in gone]
        assert now["sets"] == len(before["left"])
        assert now["train"] == before["train"] + before["generated"]
    assert rounds[-1]["left"] == []
    assert 2 <= len(rounds) <= 5
    best = max(rounds, key=lambda one: one["select"]["accuracy"])
    assert whole["best"]["round"] == best["round"]
    kept = f"{whole['folder']}/models/{best['model']}"
    assert api.predict(kept, task, out=Path(whole["folder"]) / "said")["scores"] == best["test"]
    assert whole["plain"]["trainings"] == whole["trainings"] == sum(one["sets"] for one in rounds)
    gain = whole["gain"]
    assert gain["difference"] == best["test"]["accuracy"] - whole["plain"]["test"]["accuracy"]
    assert -1 <= gain["low"] <= gain["difference"] <= gain["high"] <= 1


def test_new_examples_are_changed_mistakes_that_the_teacher_labels_and_no_part_has(
    whole: dict[str, Any], task: str
) -> None:
    folder, parts = Path(whole["folder"]), Path(task).parent
    known = {text for part in ("train", "select", "test") for text in texts(parts / f"{part}.jsonl")}
    sizes = whole["sizes"]
    assert sizes["train"] + sizes["dev"] == 120
    assert not (folder / f"generated-{len(whole['rounds'])}.jsonl").exists()  # nothing is left that it would train
    assert whole["rounds"][0]["train"] == sizes["train"]
    assert whole["plain"]["train"] == 120
    made = [json.loads(line) for n in whole["rounds"] if n["generated"] for line in
            (folder / f"generated-{n['round']}.jsonl").read_text().splitlines()]  # fmt: skip
    assert len(made) == sum(one["generated"] for one in whole["rounds"]) > 0
    assert not known & {row["texts"][0] for row in made}
    words = {word: at for at, word in enumerate(KEYS.values())}
    sure = [row for row in made if len(words.keys() & set(row["texts"][0].lower().split())) == 1]
    right = [row["target"] == words[next(w for w in row["texts"][0].lower().split() if w in words)] for row in sure]
    assert sum(right) > 0.6 * len(right)


def test_interrupted_within_and_between_rounds_it_ends_as_if_undisturbed(
    whole: dict[str, Any], student: str, task: str, teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, calls, interruptions = StudentTraining.advance, 0, 0

    def stops(self: StudentTraining, to: int) -> None:
        nonlocal calls
        before = self.step
        advance(self, to)
        calls += before < to
        if before < to and calls % 3 == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", stops)
        while True:
            try:
                found = api.agora(student, task, teacher=teacher, overrides=LOOP, storage=tmp_path)
                break
            except KeyboardInterrupt:
                interruptions += 1
    assert interruptions >= 3
    assert all(found[name] == whole[name] for name in ("rounds", "plain", "best", "gain", "sizes"))
    name = f"models/{whole['best']['model']}/model.safetensors"
    one, other = (load_file(Path(result["folder"]) / name) for result in (found, whole))
    assert all(one[weight].equal(other[weight]) for weight in one)
    assert not (Path(found["folder"]) / "checkpoints").exists()


def test_the_command_prints_rounds_and_says_what_leaks(
    whole: dict[str, Any], student: str, task: str, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "Rounds", None)
    words = ["agora", student, "--task", task, "--teacher", teacher, "--storage", str(Path(whole["folder"]).parents[1])]
    words += [word for pair in LOOP for word in ("--set", pair)]
    shown = " ".join(CliRunner().invoke(cli, words, catch_exceptions=False).output.split())
    assert "feeds the loop" in shown
    assert "new examples" in shown
    assert json.loads(CliRunner().invoke(cli, [*words, "--json"]).output) == whole
    assert (Path(whole["folder"]) / "agora.md").read_text().count("\n| ") == len(whole["rounds"]) + 1


def test_errors(student: str, task: str, teacher: str, tmp_path: Path) -> None:
    for settings, expected in (
        (["seed=[1]"], r"unknown key 'seed'.*Did you mean 'seeds'"),
        (["training.search={}"], r"training\.search or training\.augment"),
        (["learning_rates=[0.001]", "sequences=[8]", "warmups=[0.1]"], "there is one set"),
    ):
        with pytest.raises(SpecError, match=expected):
            api.agora(student, task, teacher=teacher, overrides=settings, storage=tmp_path)
    with pytest.raises(ModelError, match=r"holds neither finetuned\.json"):
        api.agora(student, task, teacher=student, overrides=LOOP, storage=tmp_path)
    rated = str(write_task(tmp_path / "rated", "regression"))
    with pytest.raises(SpecError, match="kind regression; accepted: classes of texts or pairs"):
        api.agora(student, rated, teacher=teacher, overrides=LOOP, storage=tmp_path)


def test_a_set_that_learns_nothing_but_infinity_stands_last_and_goes(
    student: str, task: str, teacher: str, tmp_path: Path
) -> None:
    settings = (*LOOP, "learning_rates=[1.0e+30, 3.0e-3]", "sequences=[16]", "most_rounds=3")
    found = api.agora(student, task, teacher=teacher, overrides=settings, storage=tmp_path)
    assert found["rounds"][0]["failed"] == 1
    assert [one["learning_rate"] for one in found["rounds"][0]["order"]] == [3e-3, 1e30]
    assert found["plain"]["hyperparameters"]["learning_rate"] == 3e-3
