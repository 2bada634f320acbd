"""Bounds on latency hold for whole models: measured once, kept, the next where one is too slow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nas_ray import api
from nas_ray.errors import InfeasibleError, StageError
from nas_ray.space import parse_any
from nas_ray.stages import Context, Run, Silent, _whole, first_within
from tests.tiny_trial import write_trial


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return api.search(str(write_trial(folder, tiny_teacher_dir, tiny_text_file)), storage=folder / "runs").folder


@pytest.fixture
def context(run: Path) -> Context:
    (run / "tables" / "whole.json").unlink(missing_ok=True)
    return Context(Run.open(run), Heard())


@pytest.fixture
def rows(run: Path) -> list[dict[str, Any]]:
    """Best first."""
    return sorted(api.front(run)["candidates"], key=lambda row: row["select_loss"])


def said(context: Context) -> str:
    assert isinstance(context.console, Heard)
    return "\n".join(context.console.lines)


def test_it_is_measured_for_real_and_once(
    context: Context, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_within(context, rows, 1e6) == rows[0]
    kept = json.loads(context.path("tables/whole.json").read_text())["milliseconds"]
    assert list(kept) == [rows[0]["arch_id"]]
    assert 0 < kept[rows[0]["arch_id"]] < 1e4
    assert f"{kept[rows[0]['arch_id']]:.2f} ms as a whole" in said(context)

    def never(*_: object) -> list[float]:
        raise AssertionError("measured again")

    monkeypatch.setattr(_whole, "measure_whole", never)
    assert first_within(context, rows, 1e6) == rows[0]


def test_one_that_is_slower_than_its_table_says_is_passed_over(
    context: Context, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([3.0, 2.0])
    monkeypatch.setattr(_whole, "measure_whole", lambda *_: [next(times)])
    assert len(rows) > 1
    assert first_within(context, rows, 2.5) == rows[1]
    assert "over 2.50" in said(context)
    with pytest.raises(InfeasibleError, match=r"as whole models none; the fastest takes 2\.00 ms"):
        first_within(context, rows[:2], 1.5)


def test_on_another_machine_the_table_decides(
    context: Context, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[Any]] = []

    def elsewhere(_key: object, models: Sequence[Any], _console: object) -> list[float]:
        asked.append(models)
        raise StageError("profile", "the table is of A, and this is B")

    monkeypatch.setattr(_whole, "measure_whole", elsewhere)
    assert first_within(context, rows, 1e6) == rows[0]
    assert "by the table only" in said(context)
    assert asked == [[context.costs.parts(parse_any(rows[0]["arch_id"], context.head_size))]]
    assert not context.path("tables/whole.json").exists()


def test_what_another_table_has_measured_is_not_trusted(
    context: Context, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"key": {"processor": "another"}, "milliseconds": {rows[0]["arch_id"]: 99.0}}
    context.path("tables/whole.json").write_text(json.dumps(old))
    monkeypatch.setattr(_whole, "measure_whole", lambda *_: [1.0])
    assert first_within(context, rows, 2.0) == rows[0]
