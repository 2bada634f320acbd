"""Candidates of an earlier run and of one's own list: judged after the tables' front, and part of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_ray import api
from nas_ray.errors import RunError, SpecError
from nas_ray.stages import Run, Silent
from nas_ray.stages.search import SearchSession
from nas_ray.tables import read_parquet
from tests.tiny_trial import SPACE, nas_ray, write_trial


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("enqueued")


@pytest.fixture(scope="module")
def trial(folder: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    return write_trial(folder / "trial", tiny_teacher_dir, tiny_text_file)


@pytest.fixture(scope="module")
def earlier(folder: Path, trial: Path) -> Path:
    """A finished run."""
    return api.search(str(trial), storage=folder / "runs").folder


def front(run: Path) -> list[str]:
    return [str(arch_id) for arch_id in read_parquet(run / "front.parquet")[0]["arch_id"]]


def suggested(run: Path) -> list[dict[str, Any]]:
    records = map(json.loads, (run / "journal.jsonl").read_text().splitlines())
    return [r for r in records if r["kind"] == "suggested" and r["task"] == "candidate"]


def test_the_front_of_an_earlier_run_and_a_list_come_after_the_tables_front(
    earlier: Path, trial: Path, folder: Path
) -> None:
    own = [r["arch_id"] for r in suggested(earlier) if r["arch_id"] not in front(earlier)][:2]
    (folder / "mine.txt").write_text("# mine\n" + "\n".join(own) + "\n")
    words = ("--storage", folder / "warm", "--warm-start", earlier, "--enqueue", folder / "mine.txt")
    settings = ("--set", "search.proposals=0.1", "--set", "search.num_candidates=20")
    done = nas_ray("search", trial, *words, *settings)
    assert done.returncode == 0, done.stderr
    assert f"warm start: {len(front(earlier))} candidates of the front of {earlier.name}\n" in done.stdout
    (run,) = (folder / "warm").glob("tiny-*")
    found = suggested(run)
    origins = [r["origin"] for r in found]
    assert origins == sorted(origins, key=["front", "user", "warm", "surrogate", "random"].index)
    assert {r["arch_id"] for r in found} >= {*own, *front(earlier)}
    assert origins.count("front") + origins.count("user") + origins.count("warm") >= 2 + len(front(earlier))
    assert len({r["arch_id"] for r in found}) == len(found) == 20
    assert set(read_parquet(run / "candidates.parquet")[0]["origin"]) >= {"front", "warm"}


def test_the_run_goes_on_without_the_earlier_one(
    earlier: Path, trial: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(earlier, folder / "copy" / earlier.name)
    settings = ["search.proposals=0"]
    whole = api.search(str(trial), storage=folder / "whole", warm_start=copy, overrides=settings)
    report, ended = SearchSession.report, [0]

    def interrupted(self: SearchSession, *words: Any) -> bool:
        ended[0] += 1
        if ended[0] == 5:
            raise KeyboardInterrupt
        return report(self, *words)

    monkeypatch.setattr(SearchSession, "report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        api.search(str(trial), storage=folder / "cut", warm_start=copy, overrides=settings)
    monkeypatch.setattr(SearchSession, "report", report)
    shutil.rmtree(copy)
    run = api.resume(folder / "cut" / whole.folder.name)
    assert [r["arch_id"] for r in suggested(run.folder)][: len(front(earlier))] == front(earlier)
    assert {r["arch_id"] for r in suggested(run.folder)} >= set(front(earlier))


def test_members_of_the_new_space_only(earlier: Path, trial: Path, folder: Path) -> None:
    wide = [arch_id for arch_id in front(earlier) if "32:" not in arch_id]
    other = folder / "other"
    shutil.copytree(trial.parent, other)
    (other / "space.yaml").write_text(yaml.safe_dump({**SPACE, "name": "wide", "widths": [64]}))
    plan = api.plan(str(other / "trial.yaml"), warm_start=earlier, storage=folder / "none")
    assert any(f"then {len(wide)} enqueued" in line for line in plan.lines)
    assert 0 < len(wide) < len(front(earlier))
    done = nas_ray("search", other / "trial.yaml", "--storage", folder / "other runs", "--warm-start", earlier)
    assert done.returncode == 0, done.stderr
    assert f"; {len(front(earlier)) - len(wide)} more are not in space 'wide'" in done.stdout


def test_what_does_not_meet_the_constraints_is_left_out(earlier: Path, trial: Path, folder: Path) -> None:
    said: list[str] = []

    class Speaks(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    sizes = sorted(row["encoder_params"] for row in api.front(earlier)["candidates"])
    bound = f"search.constraints.encoder_params={sizes[-1] - 1}"
    api.search(str(trial), storage=folder / "bound", warm_start=earlier, overrides=[bound], console=Speaks())
    assert f"  1 of {len(sizes)} enqueued architectures do not meet the constraints and are left out" in said


def test_refused(earlier: Path, trial: Path, folder: Path, tmp_path: Path) -> None:
    def search(**options: Any) -> None:
        api.search(str(trial), storage=tmp_path / "runs", **options)

    with pytest.raises(RunError, match="not a run"):
        search(warm_start=tmp_path)
    unfinished = Run.open(shutil.copytree(earlier, tmp_path / earlier.name))
    unfinished.forget_stages(["test"])
    with pytest.raises(RunError, match=r"no front yet; finish it with `nas-ray resume"):
        search(warm_start=unfinished.folder)
    with pytest.raises(RunError, match=r"none of its \d+ front candidates is in space 'minilm_small'.*is 'tiny'"):
        api.plan("quickstart", warm_start=earlier)
    mine = tmp_path / "mine.txt"
    with pytest.raises(SpecError, match="cannot be read"):
        search(enqueue=mine)
    mine.write_text("# nothing\n")
    with pytest.raises(SpecError, match="holds no arch_id"):
        search(enqueue=mine)
    mine.write_text(f"{front(earlier)[0]}\ne32/nonsense\n")
    with pytest.raises(SpecError, match=r"mine\.txt, line 2: "):
        search(enqueue=mine)
    mine.write_text("e32/32:A2/32:A2\n".replace("A2", front(earlier)[0].split(":")[1].split("/")[0]))
    with pytest.raises(SpecError, match=r"search\.enqueue\.user, item 1: "):
        search(enqueue=mine, overrides=["space=minilm_small"])
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
