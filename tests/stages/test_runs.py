"""What a run refuses, remembers and counts; which folder it has; how to go on with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas_ray import api
from nas_ray.data import absolute_source
from nas_ray.errors import InfeasibleError, RunError, StageError, TrackingError
from nas_ray.stages import PATH_STAGES, Run, Silent, _inputs, _order, load_run_specs, resume_command
from tests.tiny_trial import nas_ray, run_folder, write_trial

Stage = Callable[..., list[Path]]


@pytest.fixture
def trial(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    """A spec whose text may be changed."""
    text = tmp_path / "my text"
    text.mkdir()
    (text / "a.txt").write_text(tiny_text_file.read_text())
    return write_trial(tmp_path / "trial", tiny_teacher_dir, text)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> dict[str, Stage]:
    """Stages that do nothing, unless a test puts another in."""
    stages: dict[str, Stage] = {name: lambda context, **options: [] for name in PATH_STAGES}

    def import_module(name: str) -> SimpleNamespace:
        return SimpleNamespace(run=stages[name.rpartition(".")[2]])

    monkeypatch.setattr(_order, "import_module", import_module)
    return stages


def search(trial: Path, *overrides: str) -> Run:
    return api.search(str(trial), storage=trial.parent.parent / "runs", overrides=overrides)


# -- what is refused before anything is trained -----------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["latency_ms", "flops"])
def test_bounds_that_nothing_meets_are_refused_before_training(
    metric: str, trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_ray.distill.train", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(InfeasibleError, match=f"{metric}.*smallest reachable value"):
        search(trial, f"search.constraints.{metric}=0.00001")
    assert not (run_folder(trial.parent.parent / "runs") / "supernet").exists()


def test_a_tracking_uri_that_cannot_work_is_refused_before_any_stage(trial: Path, fake: dict[str, Stage]) -> None:
    fake["profile"] = lambda context: pytest.fail("began")
    with pytest.raises(TrackingError, match="unknown scheme 'htp'"):
        search(trial, "tracking.enabled=true", "tracking.uri=htp://server")


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_changed_text_is_refused_and_restored_text_is_not(trial: Path, fake: dict[str, Stage]) -> None:
    run = search(trial)
    file = trial.parent.parent / "my text" / "a.txt"
    before = file.read_text()
    file.write_text(before.replace("harbour", "station"))
    with pytest.raises(RunError, match=r"the text .*my text changed\. Restore"):
        search(trial)
    for again in (
        lambda: api.resume(run.folder),
        lambda: api.report(run.folder),
        lambda: api.rank(run.folder, paths=3),
    ):
        with pytest.raises(RunError, match=r"the text .*my text changed"):
            again()
    file.write_text(before)  # at another time: content counts
    search(trial)
    (file.parent / "b.txt").write_text("one more file")
    with pytest.raises(RunError, match=r"my text changed"):
        search(trial)
    assert search(trial, "name=another").folder != run.folder


def test_an_interrupted_run_does_not_mix_texts(trial: Path, fake: dict[str, Stage]) -> None:
    def interrupted(context: Any) -> list[Path]:
        raise KeyboardInterrupt

    fake["profile"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        search(trial)
    (trial.parent.parent / "my text" / "a.txt").write_text("other words\n\n" * 5000)
    with pytest.raises(RunError, match="changed"):
        search(trial)


def test_teacher_and_latency_table_count_too(trial: Path, fake: dict[str, Stage], tiny_teacher_dir: Path) -> None:
    import shutil

    folder = trial.parent.parent
    teacher, table = folder / "teacher", folder / "latency.parquet"
    shutil.copytree(tiny_teacher_dir, teacher)
    table.write_bytes(b"a")
    chosen = (f"teacher={teacher}", f"latency.table={table}")
    search(trial, *chosen)
    (teacher / "notes.md").write_text("nobody reads this")
    search(trial, *chosen)
    table.write_bytes(b"b")
    weights = teacher / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match=r"the teacher .* and the latency table .* changed"):
        search(trial, *chosen)


def test_what_is_large_is_known_by_size_and_time(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_run_specs(str(trial))[0]
    monkeypatch.setattr(_inputs, "_MOST_HASHED", 10)
    monkeypatch.setattr(_inputs, "_sha256", lambda file: pytest.fail("hashed"))
    before = _inputs.fingerprints(spec)
    os.utime(trial.parent.parent / "my text" / "a.txt", ns=(0, 1))
    after = _inputs.fingerprints(spec)
    assert [name for name in before if before[name] != after[name]] == [f"the text {trial.parent.parent / 'my text'}"]


def test_catalogue_and_hub(trial: Path) -> None:
    names = ["gutenberg", "dataset:nobody/no-such-data"]
    sources = json.dumps([{"source": name} for name in names])
    found = _inputs.fingerprints(load_run_specs(str(trial), ["teacher=minilm", f"text.sources={sources}"])[0])
    assert set(found) == {"the teacher minilm", "the text gutenberg"}
    assert not _inputs.fingerprints(
        load_run_specs(str(trial), ["teacher=some/model", f"text.sources=[{{source: {names[1]}}}]"])[0]
    )


# -- which folder -----------------------------------------------------------------------------------------------------


def test_the_plan_names_the_folder_that_the_search_makes(
    trial: Path, fake: dict[str, Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trial.parent.parent)
    override = "text.sources=[{source: ./my text}]"
    line = api.plan(str(trial), overrides=[override], storage="runs").lines[0]
    folder = search(trial, override).folder
    assert line.split(maxsplit=1)[1] == str(folder)
    again = api.plan(str(trial), overrides=[override], storage="runs").lines[0]
    assert again.endswith(f"{folder} (exists: would go on)")


def test_local_sources_are_kept_by_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}')
    (tmp_path / "folder").mkdir()
    assert (
        absolute_source("dataset:rows.jsonl")
        == absolute_source("dataset:~/rows.jsonl")
        == f"dataset:{tmp_path}/rows.jsonl"
    )
    assert absolute_source("dataset:folder") == f"dataset:{tmp_path}/folder"
    assert absolute_source("dataset:part-*.parquet") == f"dataset:{tmp_path}/part-*.parquet"
    assert absolute_source("folder") == f"{tmp_path}/folder"
    for name in ("gutenberg", "dataset:imdb", "dataset:owner/name", "dataset:https://host/rows.jsonl"):
        assert absolute_source(name) == name


# -- stages -----------------------------------------------------------------------------------------------------------


def test_an_old_journal_is_set_aside_before_its_tables_count_as_done(
    trial: Path, fake: dict[str, Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tabulate(context: Any) -> list[Path]:
        context.path("journal.jsonl").write_text("judged by older tables")
        return []

    def killed(self: Run, stage: str, *rest: Any) -> None:
        if stage == "tabulate":
            raise KeyboardInterrupt
        mark_done(self, stage, *rest)

    fake["tabulate"], mark_done = tabulate, Run.mark_done
    with monkeypatch.context() as patch:
        patch.setattr(Run, "mark_done", killed)
        with pytest.raises(KeyboardInterrupt):
            search(trial)
    folder = run_folder(trial.parent.parent / "runs")
    assert not (folder / "journal.jsonl").exists()
    assert len(list(folder.glob("journal-*.jsonl"))) == 1


def test_seconds_of_an_interrupted_session_count_and_a_second_report_adds_none(
    trial: Path, fake: dict[str, Stage]
) -> None:
    def slow(context: Any, **options: Any) -> list[Path]:
        time.sleep(0.2)
        return []

    def interrupted(context: Any) -> list[Path]:
        slow(context)
        raise KeyboardInterrupt

    fake["supernet"], fake["report"] = interrupted, slow
    with pytest.raises(KeyboardInterrupt):
        search(trial)
    folder = run_folder(trial.parent.parent / "runs")
    assert "supernet" not in Run.open(folder).stage_seconds()
    fake["supernet"] = slow
    run = search(trial)
    assert 0.4 <= run.stage_seconds()["supernet"] < 2
    once = run.stage_seconds()["report"]
    for _ in range(3):
        api.report(folder)
    assert abs(Run.open(folder).stage_seconds()["report"] - once) < 0.19
    assert json.loads((folder / "manifest.json").read_text())["interrupted"] == {}


def test_steps_kept_are_those_of_the_block_that_is_least_far(trial: Path, fake: dict[str, Stage]) -> None:
    run = search(trial)
    for block, step in ((0, 6), (0, 8), (1, 4)):
        file = run.folder / f"supernet/block-{block}/step-{step:08d}.json"
        assert api.status(run.folder)["steps"] == 0
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    assert api.status(run.folder)["steps"] == 4


@pytest.mark.parametrize(("command", "options"), [("rank", {"paths": 5}), ("report", {})])
def test_stray_errors_of_one_stage_are_its_own_and_say_how_to_go_on(
    command: str, options: dict[str, int], trial: Path, fake: dict[str, Stage]
) -> None:
    run = search(trial)
    words = "".join(f" --{name} {value}" for name, value in options.items())

    def fails(context: Any, **options: Any) -> list[Path]:
        raise ZeroDivisionError("by zero\nmore")

    fake[command] = fails
    with pytest.raises(StageError, match=f"stage {command}: ZeroDivisionError: by zero"):
        getattr(api, command)(run.folder, **options)
    assert resume_command() == f"nas-ray {command} {run.folder}{words}"
    assert not run.is_locked


def test_an_unfinished_run_is_neither_ranked_nor_reported(trial: Path) -> None:
    spec, space = load_run_specs(str(trial))
    run = Run.create(trial.parent.parent / "runs", spec, space)
    for ask in (lambda: api.report(run.folder), lambda: api.rank(run.folder, paths=3)):
        with pytest.raises(RunError, match="not finished; go on with `nas-ray resume"):
            ask()


def test_an_interrupted_search_says_how_to_resume_once(trial: Path, fake: dict[str, Stage]) -> None:
    said: list[str] = []

    class Speaks(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    run = api.search(str(trial), storage=trial.parent.parent / "runs", console=Speaks(), address="auto")
    assert resume_command() == f"nas-ray resume '{run.folder}' --address auto" or " " not in str(run.folder)
    assert said[0] == f"run {run.folder}"
    assert said[1:] == [f"[{n}/7] {stage}: {title}" for n, (stage, title) in enumerate(PATH_STAGES.items(), start=1)]
    said.clear()
    api.resume(run.folder, console=Speaks())
    assert said[1:] == [f"[{n}/7] {stage}: done" for n, stage in enumerate(PATH_STAGES, start=1)]


def test_trials_are_aligned_by_the_longest_name() -> None:
    lines = nas_ray("trials").stdout.splitlines()
    width = max(len(line.split()[0]) for line in lines)
    assert all(line[width] == " " != line[width + 1] for line in lines)
