"""Hyperparameters of a retraining: searched by TPE, halved, interrupted, logged; the best set is the student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from safetensors.torch import load_file

from nas_ray import api
from nas_ray.errors import SpecError
from nas_ray.search import SearchSession
from nas_ray.stages import retrain_spec
from tests.tiny_trial import write_trial

QUICK = ("steps=18", "sequences=4", "search.trials=9", "search.sequences=[2, 4]")


def test_its_command_says_what_is_not_searched() -> None:
    spec = retrain_spec(["search={}", "search.warmup=null", "search.sequences=null", "teacher=minilm"])
    assert spec.search is not None
    assert spec.search.searched.keys() == {"learning_rate", "balance"}
    assert retrain_spec(spec.overrides) == spec


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    trial = write_trial(
        folder, tiny_teacher_dir, tiny_text_file, search={"num_candidates": 4, "rungs": [1]}, tracking={"enabled": True}
    )
    return api.search(str(trial), storage=folder / "runs").folder


def records(run: Path) -> list[dict[str, Any]]:
    (journal,) = run.glob("retrained/*/journal-*.jsonl")
    return [json.loads(line) for line in journal.read_text().splitlines()]


def retrained(run: Path, *overrides: str) -> dict[str, Any]:
    best = api.front(run)["candidates"][-1]["candidate_id"]
    (student,) = api.retrain(run, candidates=[best], overrides=[*QUICK, *overrides])
    return student


def test_the_best_of_all_sets_is_the_student_however_often_it_is_interrupted(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(searched, tmp_path / searched.name))
    student = retrained(run)
    told = records(run)
    losses = {r["candidate_id"]: r["loss"] for r in told if r["kind"] == "rung" and r["rung"] == 2}
    ends = {r["candidate_id"]: r["status"] for r in told if r["kind"] == "done"}
    assert len(ends) == 9
    assert set(ends.values()) == {"completed", "stopped"}
    assert student["trial"] == min(losses, key=lambda name: losses[name])
    assert student["metrics"]["select_weighted_loss"] == min(losses.values())
    assert set(student["hyperparameters"]) == {"learning_rate", "sequences", "warmup", "balance"}
    (first, *_) = (r for r in told if r["kind"] == "suggested")
    assert first["hyperparameters"] == {"learning_rate": 5e-4, "sequences": 4, "warmup": 0.06, "balance": 1.0}
    whole = load_file(Path(student["folder"]) / "model.safetensors")

    shutil.rmtree(run / "retrained")
    report, calls, interruptions = SearchSession.report, 0, 0

    def stops(self: SearchSession, *arguments: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise KeyboardInterrupt
        return report(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SearchSession, "report", stops)
        while True:
            try:
                again = retrained(run)
                break
            except KeyboardInterrupt:
                interruptions += 1
    assert interruptions > 2
    assert again["hyperparameters"] == student["hyperparameters"]
    found = load_file(Path(again["folder"]) / "model.safetensors")
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_every_set_is_a_run_of_mlflow_and_the_student_is_that_of_its_trial(searched: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(searched, searched.parent / "other"))
    student = retrained(run, "search.balance=null", "search.trials=4")
    client = mlflow.MlflowClient(f"sqlite:///{searched.parent}/mlflow.db")
    experiments = [entry.experiment_id for entry in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`nas_ray.run` LIKE '%retrain-{student['spec_hash']}'")
    trials = {r.data.tags["nas_ray.candidate_id"]: r for r in found if "nas_ray.candidate_id" in r.data.tags}
    assert len(trials) == 4
    best = trials[student["trial"]]
    assert best.info.status == "FINISHED"
    assert best.data.metrics["test_loss"] == pytest.approx(student["metrics"]["test_loss"])
    assert float(best.data.params["learning_rate"]) == student["hyperparameters"]["learning_rate"]


def test_wrong_spaces_are_told(searched: Path) -> None:
    nothing = [f"search.{name}=null" for name in ("learning_rate", "sequences", "warmup", "balance")]
    for settings, expected in (
        (nothing, "nothing is searched"),
        (["search.warmup={low: 0.1, high: 1.5}"], r"warmup rises to 1\.5"),
        (["search.sequences=[3, 4]", "accumulation=2"], r"accumulation x workers is 2, sequences are \[3, 4\]"),
        (["search.trial=3"], "unknown key 'trial'; known: .*Did you mean 'trials'"),
    ):
        with pytest.raises(SpecError, match=expected):
            retrained(searched, *settings)
