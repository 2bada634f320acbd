"""Extractions from the spec to the report: exhaustive at epsilon 1, killed and resumed to the byte, early errors."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import transformers

from nas_ray import api
from nas_ray.errors import InfeasibleError, RunError, SpecError, TeacherError
from nas_ray.report._text import digits
from nas_ray.search import w_coefficient
from nas_ray.space import parse_uniform
from nas_ray.spec import load_trial
from nas_ray.stages import Context, Run
from nas_ray.stages.uniform._surrogates import maximum, trained
from nas_ray.tables import read_rows
from tests.conftest import train_tokenizer
from tests.tiny_trial import candidates_of, nas_ray, search_interrupted, write_extraction, write_trial


def winner_of(folder: Path) -> str:
    return api.load_report(folder).by_w[0].arch_id


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("extraction")
    latency = {"repeats": 3, "check_models": 4, "threads": 1, "sequence_length": 16}  # measured, this once
    file = write_extraction(folder, tiny_teacher_dir, tiny_text_file, latency=latency)
    return api.search(str(file), storage=folder / "runs").folder


def test_every_second_architecture_is_trained_and_the_largest_w_wins(finished: Path) -> None:
    order, rows = read_rows(finished / "tables/order.parquet")[0], candidates_of(finished)
    assert len(order) == 16
    assert [row["chosen"] for row in order] == [True, False] * 8
    assert [row["params"] for row in order] == sorted(row["params"] for row in order)
    assert {row["arch_id"] for row in rows} == {row["arch_id"] for row in order if row["chosen"]}
    assert all(row["status"] == "completed" and 0 < row["select_loss"] < 1.2 for row in rows)
    context = Context(Run.open(finished))
    for row in rows:
        found = trained(context, parse_uniform(row["arch_id"]), row["select_loss"])
        assert row["w"] == pytest.approx(w_coefficient(found, maximum(context), 1e-3))
    report = api.load_report(finished)
    assert report.extraction is not None
    best = max(rows, key=lambda row: row["w"])
    assert report.extraction.winner_id == best["candidate_id"]
    assert math.isfinite(best["test_loss"])
    assert report.extraction.maximum.arch_id == "uniform:D4-A4-H64-I256"


def test_the_page_says_what_was_done(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    for part in ("8 of 16 architectures", "every 2nd", "|1 - epsilon| = 1", "No transformer meets", "maximum point"):
        assert part in page, part
    assert (finished / "front.png").stat().st_size > 20_000


def test_the_commands_know_it(finished: Path) -> None:
    found = api.status(finished)
    assert (found["num_candidates"], found["candidates_done"], found["num_steps"]) == (8, 8, 0)
    front = api.front(finished)
    assert all(row["w"] is not None for row in front["candidates"])
    shown = nas_ray("front", finished).stdout
    assert "the error, on the test split" in shown
    assert "floor" not in shown
    with pytest.raises(RunError, match="kind uniform and has no tables"):
        api.front(finished, tables=True)
    with pytest.raises(RunError, match="has no stage rank"):
        api.rank(finished, paths=3)
    with pytest.raises(SpecError, match="supernet"):
        api.resume(finished, start="supernet")
    before = (finished / "journal.jsonl").read_bytes()
    again = api.resume(finished, overrides=["extraction.latency=measured"], start="test")
    assert (finished / "journal.jsonl").read_bytes() == before
    extraction = api.load_report(again.folder).extraction
    assert extraction is not None
    assert extraction.speed.startswith("ms")
    assert extraction.maximum.speed < 1000
    assert f"speed {digits(extraction.maximum.speed)}" in " ".join(nas_ray("report", again.folder).stdout.split())
    with pytest.raises(SpecError, match=r"extraction\.epsilon says which architectures are trained"):
        api.plan(str(finished.parent.parent / "trial.yaml"), warm_start=finished)


def test_epsilon_1_is_exhaustion(tmp_path: Path, finished: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    """Trainings are a function of the architecture alone: what epsilon 2 found stands among all."""
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, extraction={"epsilon": 1})
    whole = candidates_of(api.search(str(file), storage=tmp_path / "runs").folder)
    assert len(whole) == 16
    losses = {row["arch_id"]: row["select_loss"] for row in whole}
    for row in candidates_of(finished):
        assert losses[row["arch_id"]] == row["select_loss"]


def test_a_finer_epsilon_goes_on_from_what_was_trained(
    tmp_path: Path, finished: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, extraction={"epsilon": 4})
    run = api.search(str(file), storage=tmp_path / "runs")
    before = (run.folder / "journal.jsonl").read_bytes()
    with pytest.raises(SpecError, match="epsilon changed from 4 to 3"):
        api.resume(run.folder, overrides=["extraction.epsilon=3"])
    finer = api.resume(run.folder, overrides=["extraction.epsilon=2"]).folder
    assert (finer / "journal.jsonl").read_bytes().startswith(before)

    def losses(folder: Path) -> dict[str, float]:
        return {row["arch_id"]: row["select_loss"] for row in candidates_of(folder)}

    assert losses(finer) == losses(finished)
    again = (finer / "journal.jsonl").read_bytes()
    api.resume(finer)
    assert (finer / "journal.jsonl").read_bytes() == again


def test_its_winner_is_retrained_into_a_plain_model(finished: Path, tmp_path: Path) -> None:
    run, winner = Path(shutil.copytree(finished, tmp_path / finished.name)), winner_of(finished)
    settings = ["steps=12", "judged=2", "sequences=4", "learning_rate=1e-3"]
    (student,) = api.retrain(run, candidates=[winner], overrides=settings)
    model = transformers.BertModel.from_pretrained(student["folder"], add_pooling_layer=False)
    assert sum(p.numel() for p in model.parameters()) == student["costs"]["params"]
    assert (student["kind"], student["weights"], student["start"]) == ("uniform", "teacher", "scratch")
    (plain,) = api.retrain(run, candidates=[winner], overrides=[*settings, "weights=scratch"])
    assert student["metrics"]["test_loss"] < plain["metrics"]["test_loss"]
    with pytest.raises(
        SpecError, match="weights: supernet, in a run of kind uniform; accepted: auto, teacher, scratch"
    ):
        api.retrain(run, candidates=[winner], overrides=["weights=supernet"])


@pytest.mark.parametrize("extraction", [{"hyperparameter_sets": [{"learning_rate": 1e-3}, {"sequences": 2}]}, {}])
def test_killed_at_any_report_it_ends_as_if_undisturbed(
    tmp_path: Path,
    tiny_teacher_dir: Path,
    tiny_text_file: Path,
    extraction: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = {} if extraction else {"learning_rate": {"low": 1e-4, "high": 1e-2}}
    file = write_extraction(
        tmp_path / "trial",
        tiny_teacher_dir,
        tiny_text_file,
        extraction={"epsilon": 4, **(extraction or {"draws": 3})},
        search={"distill": {"steps": [3, 6], "sequences": 4, **searched}},
    )
    whole = api.search(str(file), storage=tmp_path / "whole").folder
    killed, interruptions = search_interrupted(file, tmp_path / "killed", 5, monkeypatch)
    assert interruptions >= 2
    assert (killed / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()
    a, b = candidates_of(whole), candidates_of(killed)
    for row in (*a, *b):
        row.pop("latency_ms")  # measured once a run
    assert a == b
    trainings = Counter(row["arch_id"] for row in b)
    assert set(trainings.values()) == ({2} if extraction else {3})
    assert all(row["hyperparameters"] for row in b)


@pytest.fixture(scope="module")
def teacher_with_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head") / "tiny-mlm"
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(folder)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=130, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    transformers.set_seed(0)
    transformers.RobertaForMaskedLM(config).save_pretrained(folder)
    return folder


def test_a_teacher_with_a_head_is_met_by_its_predictions(
    tmp_path: Path, teacher_with_head: Path, tiny_text_file: Path
) -> None:
    file = write_extraction(tmp_path, teacher_with_head, tiny_text_file, extraction={"epsilon": 4})
    folder = api.search(str(file), storage=tmp_path / "runs").folder
    report = api.load_report(folder)
    assert report.extraction is not None
    assert "cross-entropy" in report.extraction.error
    vocabulary = report.vocab_size
    assert all(0 < (row.select_loss or 0) < 1.2 * math.log(vocabulary) for row in report.by_w)
    assert all(math.isfinite(row.test_loss) for row in report.by_w if row.test_loss is not None)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"extraction": {"epsilon": 17}}, SpecError, r"extraction.epsilon: found 17; accepted: 1 to 16"),
        ({"extraction": {"error": "cross_entropy"}}, TeacherError, "no masked-LM head"),
        ({"search": {"distill": None}}, SpecError, "search.distill: is missing"),
        ({"search": {"num_candidates": 5}}, SpecError, "search.num_candidates: has no effect .* extraction.epsilon"),
        ({"search": {"rungs": [2]}}, SpecError, "search.rungs: has no effect"),
        (
            {"search": {"distill": {"steps": [2]}, "scheduler": {"eta": 3}}},
            SpecError,
            "unless extraction.early_stopping",
        ),
        (
            {"search": {"distill": {"steps": [2]}}, "extraction": {"draws": 3}},
            SpecError,
            "extraction.draws: has no effect",
        ),
        ({"search": {"constraints": {"latency_ms": 1e-9}}}, InfeasibleError, "latency_ms: found the bound 1e-09"),
        ({"search": {"constraints": {"params": 10}}}, InfeasibleError, "params: found the bound 10, the smallest is"),
        (
            {"search": {"constraints": {"encoder_params": 10_000}}, "extraction": {"epsilon": 16}},
            SpecError,
            "found 16; accepted: 1 to .* that meet the constraints",
        ),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    tiny_teacher_dir: Path,
    tiny_text_file: Path,
    changes: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, **changes)
    with pytest.raises(error, match=words):
        api.search(str(file), storage=tmp_path / "runs")
    if "latency_ms" not in words:  # that waits for its table
        with pytest.raises(error, match=words):
            api.plan(str(file), storage=tmp_path / "runs")
        assert not list(tmp_path.glob("runs/*/tables/latency.parquet"))


@pytest.mark.parametrize("key", ["supernet.steps=5", "tabulate.max_paths=3", "ranking.paths=3"])
def test_keys_of_the_other_kind_of_space_are_refused(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path, key: str
) -> None:
    uniform = write_extraction(tmp_path / "uniform", tiny_teacher_dir, tiny_text_file)
    with pytest.raises(SpecError, match=f"{key.partition('=')[0]}: has no effect in a space of kind uniform"):
        api.plan(str(uniform), overrides=[key])
    paths = write_trial(tmp_path / "paths", tiny_teacher_dir, tiny_text_file)
    with pytest.raises(SpecError, match=r"extraction\.epsilon: has no effect in a space of kind paths"):
        api.plan(str(paths), overrides=["extraction.epsilon=3"])


def test_a_space_above_the_teacher_is_refused_by_the_plan_too(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file)
    space = {"hiddens": [96], "intermediates": [384], "depths": [4], "heads": [4]}
    (tmp_path / "large.yaml").write_text(json.dumps({"name": "large", "kind": "uniform", **space}))
    for begin in (api.plan, api.search):
        with pytest.raises(SpecError, match="has no architecture smaller than the teacher"):
            begin(str(file), overrides=["space=large.yaml", "extraction.epsilon=1"], storage=tmp_path / "runs")


def test_bounds_leave_a_shorter_order(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    bound = {"constraints": {"encoder_params": 10_000}}
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, search=bound, extraction={"epsilon": 1})
    folder = api.search(str(file), storage=tmp_path / "runs").folder
    order = read_rows(folder / "tables/order.parquet")[0]
    assert 0 < len(order) < 16
    assert max(row["encoder_params"] for row in order) <= 10_000


def test_sets_and_ranges_exclude_each_other(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    search = {"distill": {"steps": [3], "learning_rate": {"low": 1e-4, "high": 1e-2}}}
    sets = {"hyperparameter_sets": [{"sequences": 2}]}
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, search=search, extraction=sets)
    with pytest.raises(SpecError, match=r"beside ranges in search\.distill"):
        load_trial(str(file))


def test_no_more_sets_are_drawn_than_there_are(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    search = {"distill": {"steps": [2], "sequences": [2, 4]}}
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file, search=search, extraction={"epsilon": 8})
    folder = api.search(str(file), storage=tmp_path / "runs").folder
    found = api.status(folder)
    assert found["candidates_done"] == found["num_candidates"] == 4
    extraction = api.load_report(folder).extraction
    assert extraction is not None
    assert "hyperparameter sets: 2," in extraction.statement
    assert "hyperparameter sets: 2," in api.check(str(file))


def test_the_plan_starts_nothing(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    file = write_extraction(tmp_path, tiny_teacher_dir, tiny_text_file)
    plan = api.plan(str(file), storage=tmp_path / "runs")
    assert any("8 trainings of 8 architectures" in line for line in plan.lines)
    assert plan.seconds is not None
    assert not (tmp_path / "runs").exists()
    assert "every 2nd of" in api.check(str(file))
    assert json.dumps(plan.seconds)
