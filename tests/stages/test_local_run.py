"""A whole run in one process: files, front, report; killed and resumed; what comes back is what was there."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas_ray import api
from nas_ray.errors import InfeasibleError, RunError, SpecError
from nas_ray.report._text import interval
from nas_ray.search import TableProblem, non_dominated
from nas_ray.space import parse_architecture
from nas_ray.stages import PATH_STAGES, Run, Silent
from nas_ray.stages.test import paired_interval
from nas_ray.tables import Costs, QualityTable, read_parquet
from tests.tiny_trial import candidates_of, environment, nas_ray, run_folder, write_trial


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("local")
    trial = write_trial(folder / "a trial's folder", tiny_teacher_dir, tiny_text_file)
    return api.search(str(trial), storage=folder / "runs").folder


def test_every_candidate_and_reference_is_there(finished: Path) -> None:
    rows = candidates_of(finished)
    kinds = [row["kind"] for row in rows]
    assert kinds.count("candidate") == 10
    assert sorted(str(row["label"]) for row in rows if row["kind"] == "reference") == [
        "teacher",
        "uniform 32",
        "uniform 64",
    ]
    assert len({row["arch_id"] for row in rows}) == len(rows)
    teacher = next(row for row in rows if row["label"] == "teacher")
    assert teacher["select_loss"] == pytest.approx(0, abs=1e-8)
    assert teacher["test_loss"] == pytest.approx(0, abs=1e-8)


def test_the_front_is_the_non_dominated_set_by_the_select_split(finished: Path) -> None:
    rows = [r for r in candidates_of(finished) if r["kind"] == "candidate" and r["status"] == "completed"]
    mask = non_dominated(np.array([[r["select_loss"], r["encoder_params"]] for r in rows], dtype=float))
    assert [r["pareto"] for r in rows] == mask.tolist()
    found = api.front(finished)
    assert {r["candidate_id"] for r in found["candidates"]} == {r["candidate_id"] for r in rows if r["pareto"]}
    assert all(r["test_loss"] is not None for r in found["candidates"])
    assert "exact" in found["guarantee"]


def test_front_within_bounds(finished: Path) -> None:
    whole = api.front(finished)["candidates"]
    middle = whole[len(whole) // 2]["encoder_params"]
    within = api.front(finished, bounds={"encoder_params": middle})["candidates"]
    assert 0 < len(within) < len(whole) or len(whole) == 1
    assert all(row["encoder_params"] <= middle for row in within)
    with pytest.raises(InfeasibleError, match="smallest encoder_params"):
        api.front(finished, bounds={"encoder_params": 1})
    assert len(api.front(finished, top=1)["candidates"]) == 1


def test_front_json_and_status_from_the_command_line(finished: Path) -> None:
    found = json.loads(nas_ray("front", finished, "--json").stdout)
    assert found["candidates"]
    assert found["guarantee"]
    table = nas_ray("front", finished).stdout
    assert found["candidates"][0]["candidate_id"] in table
    assert nas_ray("front", finished, "--max-encoder-params", "1").returncode == 3
    status = json.loads(nas_ray("status", finished, "--json").stdout)
    assert all(seconds is not None for seconds in status["stages"].values())
    assert not status["running"]


def test_files_of_the_report(finished: Path) -> None:
    assert (finished / "front.png").read_bytes()[:4] == b"\x89PNG"
    html = (finished / "report.html").read_text(encoding="utf-8")
    assert "uniform 32" in html
    assert 'src="http' not in html
    comparisons = api.load_report(finished).comparisons
    assert {c.width for c in comparisons} <= {32, 64}
    assert comparisons
    for c in comparisons:
        assert c.chosen_params <= c.uniform_params
        assert c.low <= c.difference <= c.high


def test_every_row_has_its_floor_and_the_tables_are_compared_with_parameter_count(finished: Path) -> None:
    report = api.load_report(finished)
    floors = json.loads((finished / "supernet" / "blocks.json").read_text())[-1]["floors"]
    for row in report.rows:
        last = row.arch_id.rpartition("/")[2].partition(":")[0]
        assert row.floor == (0.0 if last == "64" else floors[last])
    assert {row.floor for row in report.rows} == {0.0, floors["32"]}
    judged = [row for row in report.rows if row.kind == "candidate" and row.status == "completed"]
    expected = kendalltau([-row.encoder_params for row in judged], [row.select_loss for row in judged]).statistic
    assert report.table_check is not None
    assert report.table_check.params_kendall_tau == pytest.approx(expected)


def test_a_finished_search_is_not_solved_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = json.loads((finished / "tables" / "proposals.json").read_text())
    proposed = {row["arch_id"] for row in candidates_of(finished) if row["origin"] == "front"}
    assert proposed <= set(kept["arch_ids"])
    monkeypatch.setattr(TableProblem, "front", None)
    assert api.load_report(finished).guarantee.endswith(kept["guarantee"])


def test_the_quality_table_covers_the_space_and_the_teachers_path_is_free(finished: Path) -> None:
    table = QualityTable.read(finished / "tables" / "quality.parquet")
    assert len(table.losses) == 3
    assert set(table.losses[0]) == {"e32", "e64"}
    assert all(len(losses) == 2 * (4 + 16) + 1 for losses in table.losses[1:])  # and the teacher's own path
    assert table.losses[0]["e64"] == 0
    assert 0 < table.losses[0]["e32"] < 1
    assert table.metadata["guarantee"] == "exact over the whole space"


def test_a_finished_run_is_not_run_again(finished: Path) -> None:
    before = (finished / "manifest.json").read_text()
    api.resume(finished)
    assert (finished / "manifest.json").read_text() == before


def test_damaged_output_makes_its_stage_run_again(finished: Path) -> None:
    (finished / "front.png").write_bytes(b"")
    assert not Run.open(finished).is_done("report")
    api.resume(finished)
    assert (finished / "front.png").stat().st_size > 1000


def test_writing_the_report_again_leaves_the_run_finished(finished: Path) -> None:
    api.report(finished)
    assert all(Run.open(finished).is_done(stage) for stage in PATH_STAGES)


def test_a_stage_that_ran_again_makes_the_later_ones_run_again(tmp_path: Path, finished: Path) -> None:
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    (copy / "tables" / "quality.parquet").write_bytes(b"")
    run = Run.open(copy)
    assert not run.is_done("tabulate")
    run.mark_done("tabulate", 1.0, [], list(PATH_STAGES))
    assert [stage for stage in PATH_STAGES if run.is_done(stage)] == ["profile", "supernet", "tabulate"]


def test_a_second_driver_is_refused(finished: Path) -> None:
    run = Run.open(finished)
    run.lock()
    try:
        with pytest.raises(RunError, match="another process drives this run"):
            Run.open(finished).lock()
    finally:
        run.unlock()


@pytest.mark.parametrize("stage", ["supernet", "tabulate", "search", "test"])
def test_interrupted_in_any_stage_the_outcome_is_the_same(
    stage: str,
    finished: Path,
    tmp_path: Path,
    tiny_teacher_dir: Path,
    tiny_text_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped half-way through a stage, then resumed: same weights, tables and candidates as undisturbed."""
    from nas_ray.stages import Context

    table = finished / "tables" / "latency.parquet"  # latencies are measured, so take the same ones
    trial = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file, latency={"table": str(table)})
    whole = _cached_run(trial, finished, tmp_path)
    with monkeypatch.context() as patch:
        _interrupt(patch, stage, Context)
        with pytest.raises(KeyboardInterrupt):
            api.search(str(trial), storage=tmp_path / "runs")
    run = run_folder(tmp_path / "runs")
    assert set(Run.open(run).stage_seconds()) == set(list(PATH_STAGES)[: list(PATH_STAGES).index(stage)])
    api.resume(run)
    drop = ("latency_ms",)
    strip = [{k: v for k, v in row.items() if k not in drop} for row in candidates_of(run)]
    assert strip == [{k: v for k, v in row.items() if k not in drop} for row in candidates_of(whole)]


def _cached_run(trial: Path, finished: Path, tmp_path: Path) -> Path:
    """The undisturbed run of the same spec, made once."""
    storage = finished.parent.parent / "undisturbed"
    if not storage.exists():
        api.search(str(trial), storage=storage)
    return run_folder(storage)


def _interrupt(patch: pytest.MonkeyPatch, stage: str, context: type) -> None:
    """Raise KeyboardInterrupt in the middle of ``stage``."""
    from nas_ray.distill import LocalBlocks
    from nas_ray.measure import CandidateEvaluator
    from nas_ray.search import SearchSession

    calls = {"n": 0}

    def after(count: int, function):  # type: ignore[no-untyped-def]
        def wrapped(*arguments, **keywords):  # type: ignore[no-untyped-def]
            calls["n"] += 1
            if calls["n"] > count:
                raise KeyboardInterrupt
            return function(*arguments, **keywords)

        return wrapped

    targets = {
        "supernet": (LocalBlocks, "train", 5),
        "tabulate": (LocalBlocks, "score_each", 3),
        "search": (SearchSession, "report", 9),
        "test": (CandidateEvaluator, "document_errors", 2),
    }
    owner, name, count = targets[stage]
    patch.setattr(owner, name, after(count, getattr(owner, name)))


def test_wrong_bounds_on_a_front(finished: Path) -> None:
    for bounds in ({"encoder_param": 5e6}, {"loss": 0.5}, {"label": 1.0}):
        with pytest.raises(SpecError, match="unknown bound"):
            api.front(finished, bounds=bounds)
    with pytest.raises(SpecError, match="top is 0; accepted: 1 or more"):
        api.front(finished, top=0)
    found = api.front(finished, top=1)
    assert (len(found["candidates"]), found["of"]) == (1, len(api.front(finished)["candidates"]))


def test_few_documents_have_no_interval() -> None:
    difference, low, high = paired_interval({0: (50.0, 100)}, {0: (51.0, 100)}, 0)
    assert difference == pytest.approx(-0.01)
    assert math.isnan(low)
    assert math.isnan(high)
    assert interval(low, high) == "too few documents"


def test_ranking_is_checked_by_standalone_training_and_a_kill_loses_one_path(tmp_path: Path, finished: Path) -> None:
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    told = []

    class Stops(Silent):
        def progress(self, done: float, total: float, unit: str, note: str = "") -> None:
            if unit == "stand-alone trainings":
                told.append(done)
                if done == 4:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.rank(copy, paths=5, console=Stops())
    with (copy / "ranking.jsonl").open("a") as file:
        file.write('{"torn')
    api.rank(copy, paths=5)
    columns, metadata = read_parquet(copy / "tables" / "ranking.parquet")
    assert len(columns["path_id"]) == len(set(zip(columns["block"], columns["path_id"], strict=True))) == 10
    rows = [line for line in (copy / "ranking.jsonl").read_text().splitlines() if line.startswith('{"tokens"')]
    assert len(rows) == 10  # none was trained twice
    assert metadata["start"] == "inherit"
    assert all(loss > 0 for loss in columns["standalone_loss"])
    assert all(Run.open(copy).is_done(stage) for stage in PATH_STAGES)
    html = (copy / "report.html").read_text(encoding="utf-8")
    assert "How truly the tables rank" in html
    assert "more parameters" in html
    assert "loss alone" in html
    largest = {
        block: max(p for b, p in zip(columns["block"], columns["params"], strict=True) if b == block)
        for block in (0, 1)
    }
    for block, size, loss, score in zip(*(columns[n] for n in ("block", "params", "table_loss", "score")), strict=True):
        assert score > loss if size < largest[block] else score >= loss


def test_the_exact_best_by_the_tables_whatever_was_judged(finished: Path) -> None:
    run = Run.open(finished)
    quality = QualityTable.read(finished / "tables" / "quality.parquet")
    costs = Costs.read(finished / "tables", run.space, "inherit")  # type: ignore[arg-type]
    slots = [list(slot) for slot in quality.scores]
    every = []
    for names in product(*slots):
        architecture = parse_architecture("/".join(names), 16)
        score = sum(slot[name] for slot, name in zip(quality.scores, names, strict=True))
        every.append((score, costs.of(architecture)["params"], costs.of(architecture)["encoder_params"]))
    bound = sorted(params for _, params, _ in every)[len(every) // 2]
    found = api.front(finished, bounds={"params": bound}, top=7, tables=True)
    expected = sorted(score for score, params, _ in every if params <= bound)[:7]
    np.testing.assert_allclose([row["score"] for row in found["candidates"]], expected)
    assert all(row["params"] <= bound for row in found["candidates"])
    assert "exact" in found["guarantee"]
    assert "rank correlation" in found["guarantee"]

    front = api.front(finished, tables=True)["candidates"]
    values = np.array([(score, encoder) for score, _, encoder in every])
    assert len(front) == len(np.unique(values[non_dominated(values)], axis=0))
    measured = {row["arch_id"]: row["select_loss"] for row in candidates_of(finished)}
    assert any(row["select_loss"] is not None for row in front)
    assert all(row["select_loss"] == measured.get(row["arch_id"]) for row in front)
    with pytest.raises(InfeasibleError, match="smallest reachable"):
        api.front(finished, bounds={"params": 10}, tables=True)


def test_tables_answer_from_the_command_line_without_torch(finished: Path) -> None:
    shown = nas_ray("front", finished, "--tables", "--top", "3", "--max-params", "1M")
    assert shown.returncode == 0, shown.stderr
    assert "3 architectures by the tables" in shown.stdout
    found = json.loads(nas_ray("front", finished, "--tables", "--top", "3", "--json").stdout)
    assert len(found["candidates"]) == 3
    assert nas_ray("front", finished, "--tables", "--max-params", "1").returncode == 3
    check = f"from nas_ray import api; api.front({str(finished)!r}, top=2, tables=True); import sys; "
    check += "assert not {'torch', 'ray', 'mlflow'} & set(sys.modules), 'loaded'"
    done = subprocess.run([sys.executable, "-c", check], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_tables_answer_is_judged_to_the_end_by_the_search_of_the_run(tmp_path: Path, finished: Path) -> None:
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    before = (copy / "journal.jsonl").read_bytes()
    with pytest.raises(InfeasibleError):
        api.evaluate(copy, bounds={"params": 10}, top=6)
    found = api.evaluate(copy, top=6)
    assert found["verdict"]["asked"] == found["verdict"]["judged"] == len(found["candidates"]) == 6
    losses = {row["candidate_id"]: row["select_loss"] for row in found["candidates"]}
    assert found["verdict"]["best"] == min(losses, key=lambda name: losses[name])
    rows = found["candidates"]
    tau = kendalltau([row["score"] for row in rows], [row["select_loss"] for row in rows]).statistic
    assert found["verdict"]["kendall_tau"] == pytest.approx(tau)
    assert json.loads((copy / "tables" / "solved.json").read_text()) == found["verdict"]
    assert (copy / "journal.jsonl").read_bytes().startswith(before), "the search went on"
    candidates = [row for row in candidates_of(copy) if row["kind"] == "candidate"]
    assert len(candidates) == len({row["arch_id"] for row in candidates}) > 10
    again = api.evaluate(copy, top=6)
    assert again == found
    assert len(candidates_of(copy)) == len(candidates) + 3
