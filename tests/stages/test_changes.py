"""A run whose spec is changed: what must run again, what is kept, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from nas_ray import api
from nas_ray.errors import RunError, SpecError
from nas_ray.spec import TrialSpec
from nas_ray.stages import PATH_STAGES, Run, _order
from nas_ray.stages._order import COURSES, Course
from nas_ray.tables import read_parquet
from tests.tiny_trial import nas_ray, run_folder, write_trial

Stage = Callable[..., list[Path]]


@pytest.fixture
def trial(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.txt").write_text(tiny_text_file.read_text())
    return write_trial(tmp_path / "trial", tiny_teacher_dir, text)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that ran, in their order; they write a file each and do nothing else."""
    names: list[str] = []

    def stage(name: str) -> Stage:
        def run(context: Any, **options: Any) -> list[Path]:
            names.append(name)
            file: Path = context.path({"supernet": "supernet/blocks.json", "search": "journal.jsonl"}.get(name, name))
            file.parent.mkdir(exist_ok=True)
            file.write_text(file.read_text() + "again" if file.is_file() else "first")
            return [file]

        return run

    stages = {name: SimpleNamespace(run=stage(name)) for name in PATH_STAGES}
    monkeypatch.setattr(_order, "import_module", lambda name: stages[name.rpartition(".")[2]])
    return names


@pytest.fixture
def run(trial: Path, ran: list[str]) -> Run:
    """A finished run of such stages."""
    found = api.search(str(trial), storage=trial.parent.parent / "runs")
    ran.clear()
    return found


def from_stage(stage: str) -> list[str]:
    return list(PATH_STAGES)[list(PATH_STAGES).index(stage) :]


@pytest.mark.parametrize(
    ("override", "stage"),
    [
        ("latency.repeats=4", "profile"),
        ("teacher=./", "profile"),
        ("seed=1", "profile"),
        ("text.sequence_length=16", "supernet"),
        ("supernet.steps=9", "supernet"),
        ("tabulate.size_exponent=0.1", "tabulate"),
        ("search.searcher.name=random", "search"),
        ("search.num_candidates=9", "search"),
        ("search.constraints.encoder_params=1e9", "search"),
        ("text.test_batches=2", "test"),
        ("ranking.paths=3", "rank"),
    ],
)
def test_a_changed_spec_names_the_first_stage_that_must_run_again(
    override: str, stage: str, run: Run, ran: list[str], tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    if override.startswith("teacher"):
        (tmp_path / "other").symlink_to(tiny_teacher_dir)
        override = f"teacher={tmp_path / 'other'}"
    before = (run.folder / "spec.yaml").read_text()
    with pytest.raises(SpecError, match=rf"{override.partition('=')[0]} changed from .* `--from {stage}`"):
        api.resume(run.folder, overrides=[override])
    assert (run.folder / "spec.yaml").read_text() == before
    later = from_stage(stage)[1:]
    if later:
        with pytest.raises(SpecError, match=rf"--from: {later[0]} is too late: .* accepted: .*{stage}\."):
            api.resume(run.folder, overrides=[override], start=later[0])
    assert ran == []
    again = api.resume(run.folder, overrides=[override], start=stage)
    assert ran == from_stage(stage)
    assert again.folder == run.folder
    assert api.resume(run.folder).spec == again.spec != run.spec
    assert ran == from_stage(stage)


@pytest.mark.parametrize(
    "override", ["tracking.experiment=other", "search.max_concurrent=1", "description=x", "supernet.checkpoint_every=3"]
)
def test_what_feeds_no_stage_may_change(override: str, run: Run, ran: list[str]) -> None:
    assert api.resume(run.folder, overrides=[override]).spec != run.spec
    assert ran == []


def test_a_spec_edited_by_hand_is_seen_too(run: Run, trial: Path, ran: list[str]) -> None:
    file = run.folder / "spec.yaml"
    spec = yaml.safe_load(file.read_text())
    spec["tabulate"]["size_exponent"] = 0.5
    file.write_text(yaml.safe_dump(spec))
    for ask in (lambda: api.resume(run.folder), lambda: api.report(run.folder)):
        with pytest.raises(SpecError, match=r"size_exponent changed from 0\.2 to 0\.5 since stage tabulate"):
            ask()
    with pytest.raises(RunError, match="spec was changed since it was made; go on with `nas-ray resume"):
        api.search(str(trial), storage=run.storage)
    api.resume(run.folder, start="tabulate")
    assert ran == from_stage("tabulate")


def test_a_stage_that_was_begun_counts_as_one_that_was_finished(run: Run, ran: list[str]) -> None:
    run.forget_stages(from_stage("search"))
    run.begin("search")
    with pytest.raises(SpecError, match="--from search"):
        api.resume(run.folder, overrides=["search.searcher.name=random"])
    api.resume(run.folder, overrides=["ranking.paths=3"])  # not begun yet
    assert ran == from_stage("search")


def test_a_run_of_an_older_version_is_taken_to_be_made_with_its_own_spec(run: Run, ran: list[str]) -> None:
    manifest = run.manifest
    del manifest["begun"], manifest["specs"]
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    assert api.resume(run.folder).spec == run.spec
    with pytest.raises(SpecError, match="--from supernet"):
        api.resume(run.folder, overrides=["supernet.steps=9"])


def test_an_unchanged_spec_may_run_again_from_any_stage(run: Run, ran: list[str]) -> None:
    with pytest.raises(SpecError, match=r"unknown stage 'tabluate'.*Did you mean 'tabulate'"):
        api.resume(run.folder, start="tabluate")
    for stage in PATH_STAGES:
        ran.clear()
        api.resume(run.folder, start=stage)
        assert ran == from_stage(stage)


def test_what_a_stage_would_go_on_from_is_set_aside(run: Run, ran: list[str]) -> None:
    (run.folder / "ranking.jsonl").write_text("trained alone")
    api.resume(run.folder, start="test")
    assert not list(run.folder.glob("journal-*"))
    (run.folder / "retrained" / "0a1b2c3d").mkdir(parents=True)
    api.resume(run.folder, start="search")
    assert not list(run.folder.glob("retrained-*"))  # students are of the supernets and the tables
    for file in run.folder.glob("journal-*"):
        file.unlink()
    api.resume(run.folder, start="tabulate")
    assert not (run.folder / "retrained").exists()
    assert len(list(run.folder.glob("retrained-*/0a1b2c3d"))) == 1
    (old,) = run.folder.glob("journal-*.jsonl")
    assert old.read_text() == "first"
    assert (run.folder / "journal.jsonl").read_text() == "first"
    api.resume(run.folder, start="profile", overrides=["latency.repeats=4"])
    assert (run.folder / "supernet" / "blocks.json").read_text() == "firstagain"  # training does not read latency
    assert not list(run.folder.glob("ranking-*"))
    api.resume(run.folder, start="supernet")
    assert (run.folder / "supernet" / "blocks.json").read_text() == "first"
    assert len(list(run.folder.glob("ranking-*"))) == 1


def test_shrinking_trains_anew_with_another_latency_or_score(trial: Path, ran: list[str]) -> None:
    storage = trial.parent.parent / "runs"
    run = api.search(str(trial), storage=storage, overrides=["supernet.shrink={}"])
    with pytest.raises(SpecError, match="--from supernet"):
        api.resume(run.folder, overrides=["tabulate.size_exponent=0.5"])


def test_changed_text_may_be_trained_on_anew(run: Run, trial: Path, ran: list[str]) -> None:
    (trial.parent.parent / "text" / "b.txt").write_text("one more file")
    for start in (None, "tabulate"):
        with pytest.raises(RunError, match=r"text changed\. Restore it .* --from supernet"):
            api.resume(run.folder, start=start)
    assert (run.folder / "journal.jsonl").is_file()
    api.resume(run.folder, start="supernet")
    assert ran == from_stage("supernet")
    api.resume(run.folder)


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
def test_every_section_of_the_spec_is_in_the_table(course: Course) -> None:
    assert {key.partition(".")[0] for key in course.feeds} == set(TrialSpec.model_fields)
    assert {stage for stages in course.feeds.values() for stage in stages} <= set(course.stages)


# -- real stages -------------------------------------------------------------------------------------------------------


def journal(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def test_on_the_command_line_more_candidates_search_on_and_other_text_is_scored_anew(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    trial = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file)
    assert nas_ray("search", trial, "--storage", tmp_path).returncode == 0
    run = run_folder(tmp_path)
    before = journal(run)
    table = (run / "tables" / "quality.parquet").read_bytes()

    refused = nas_ray("resume", run, "--set", "search.searcher.name=random")
    assert refused.returncode == 2
    assert "--from search" in refused.stderr
    on = nas_ray("resume", run, "--set", "search.num_candidates=14")
    assert on.returncode == 0, on.stderr
    assert journal(run)[: len(before)] == before
    assert [r["task"] for r in journal(run) if r["kind"] == "suggested"].count("candidate") == 14
    assert api.status(run)["num_candidates"] == 14
    kinds = read_parquet(run / "candidates.parquet")[0]["kind"]
    assert kinds.count("candidate") == 14

    anew = nas_ray("resume", run, "--from", "tabulate", "--set", "tabulate.size_exponent=0")
    assert anew.returncode == 0, anew.stderr
    assert (run / "tables" / "quality.parquet").read_bytes() != table
    assert len(list(run.glob("journal-*.jsonl"))) == 1
    assert [r["task"] for r in journal(run) if r["kind"] == "suggested"].count("candidate") == 14
