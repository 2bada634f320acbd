"""A joint search of path, learning rate and batch size with rungs of distillation: killed, resumed, logged."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nas_ray import api
from tests.tiny_trial import candidates_of, search_interrupted, write_trial

DISTILL = {
    "steps": [4, 8],
    "learning_rate": {"low": 1e-4, "high": 1e-2},
    "sequences": [2, 4],
}


def trial(folder: Path, teacher: Path, text: Path, searcher: str, **changes: Any) -> Path:
    search = {"num_candidates": 12, "rungs": [1, 2], "distill": DISTILL, "searcher": {"name": searcher}}
    return write_trial(folder, teacher, text, search=search, **changes)


@pytest.mark.parametrize("searcher", ["evolution", pytest.param("tpe", marks=pytest.mark.proof)])
def test_killed_at_any_report_a_joint_search_ends_as_an_undisturbed_one(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path, searcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file, searcher)
    whole = api.search(str(file), storage=tmp_path / "whole").folder
    killed, interruptions = search_interrupted(file, tmp_path / "killed", 9, monkeypatch)
    assert interruptions >= 3
    assert (killed / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()
    rows = candidates_of(killed)
    assert [{**row, "latency_ms": 0} for row in rows] == [{**row, "latency_ms": 0} for row in candidates_of(whole)]

    candidates = [row for row in rows if row["kind"] == "candidate"]
    chosen = [json.loads(row["hyperparameters"]) for row in candidates]
    assert all(set(found) == {"learning_rate", "sequences"} for found in chosen)
    assert len({row["candidate_id"] for row in rows}) == len(rows) == 15
    explored = [found for row, found in zip(candidates, chosen, strict=True) if row["origin"] != "front"]
    assert len({found["learning_rate"] for found in explored}) > 3
    assert Counter(row["fidelity"] for row in rows if row["status"] == "completed").keys() == {"distilled 8 steps"}
    kept = {folder.name for folder in (killed / "students").iterdir()}
    assert kept >= {row["candidate_id"] for row in rows if row["pareto"]}
    assert kept < {row["candidate_id"] for row in rows}


def test_rungs_of_block_losses_judge_what_the_tables_only_sampled(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    file = write_trial(
        tmp_path / "trial", tiny_teacher_dir, tiny_text_file,
        tabulate={"max_paths": 6}, search={"num_candidates": 16, "block_rungs": [1], "rungs": [1, 2]},
    )  # fmt: skip
    rows = candidates_of(api.search(str(file), storage=tmp_path / "runs").folder)
    candidates = [row for row in rows if row["kind"] == "candidate"]
    assert any(row["table_loss"] is None for row in candidates), "all paths had been scored"
    stopped = [row for row in candidates if row["fidelity"] == "blocks 1 batch"]
    assert all(row["status"] == "stopped" and row["select_loss"] is None for row in stopped)
    assert stopped
    assert any(row["pareto"] for row in candidates)
