"""Runs that are not as usual: a teacher beside the space, an embedding rule, candidates that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_ray import api
from nas_ray.errors import StageError
from nas_ray.measure import CandidateEvaluator
from nas_ray.report import CandidateRow
from nas_ray.search import read_journal
from nas_ray.stages import Silent
from tests.tiny_trial import SPACE, run_folder, write_trial


class Heard(Silent):
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def search(folder: Path, teacher: Path, text: Path, space: dict[str, Any], console: Any = None, **changes: Any) -> Path:
    trial = write_trial(folder / "trial", teacher, text, **changes)
    (trial.parent / "space.yaml").write_text(yaml.safe_dump({**SPACE, **space}))
    return api.search(str(trial), storage=folder / "runs", console=console).folder


def references(run: Path) -> dict[str, CandidateRow]:
    return {row.label: row for row in api.load_report(run).rows if row.kind == "reference"}


def test_scratch_with_a_teacher_wider_than_the_space(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    space = {"widths": [16, 32], "embedding": {"sizes": [32]}}
    run = search(tmp_path, tiny_teacher_dir, tiny_text_file, space, supernet={"start": "scratch"})
    found = references(run)
    assert set(found) == {"uniform 16", "uniform 32", "teacher"}
    assert {row.status for row in found.values()} == {"completed"}
    assert found["teacher"].test_loss == pytest.approx(0, abs=1e-10)
    assert found["teacher"].encoder_params == 4 * 49_984
    assert (found["teacher"].floor, found["uniform 32"].test_loss) > (0.0, 0.0)


def test_references_longer_than_the_spaces_paths_are_left_out_and_a_rule_is_followed(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    rule = {"sizes": [16, 32, 64], "by_encoder_params": {16: 12_000, 32: 40_000}}
    run = search(tmp_path, tiny_teacher_dir, tiny_text_file, {"layers": 1, "embedding": rule})
    assert set(references(run)) == {"teacher"}
    report = api.load_report(run)
    assert report.guarantee.endswith("is exact over the whole space")
    candidates = [row for row in report.rows if row.kind == "candidate"]
    for row in candidates:
        size = 16 if row.encoder_params <= 12_000 else 32 if row.encoder_params <= 40_000 else 64
        assert row.arch_id.startswith(f"e{size}/")
    kept = json.loads((run / "tables" / "proposals.json").read_text())  # under these ids halving sets them apart
    assert {row.arch_id for row in candidates if row.origin == "front"} <= set(kept["arch_ids"])
    assert len({row.arch_id.split("/")[0] for row in candidates if row.origin == "front"}) > 1


def test_what_fails_is_named_and_the_others_go_on(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble, bad = CandidateEvaluator.assemble, set()

    def fails(evaluator: CandidateEvaluator, arch_id: str) -> Any:
        if arch_id.count("32:M2-F4") == 2 or (not bad - {"reference"} and "M" not in arch_id):
            bad.add("reference" if arch_id.count("32:M2-F4") == 2 else arch_id)
            raise MemoryError("no room\nat all")
        return assemble(evaluator, arch_id)

    monkeypatch.setattr(CandidateEvaluator, "assemble", fails)
    console = Heard()
    run = search(tmp_path, tiny_teacher_dir, tiny_text_file, {}, console)
    rows = api.load_report(run).rows
    failed = {row.arch_id: row for row in rows if row.status == "failed"}
    assert set(failed) == {row.arch_id for row in rows if row.label == "uniform 32"} | (bad - {"reference"})
    assert len(failed) == 2
    assert {row.reason for row in failed.values()} == {"MemoryError: no room"}
    assert all(row.test_loss is None for row in failed.values())
    assert "  2 candidates or references failed, the first: uniform 32 failed (MemoryError: no room)" in console.lines
    assert {c.width for c in api.load_report(run).comparisons} <= {64}
    assert sum(row.status == "completed" for row in rows) > 2


def test_a_search_without_any_candidate_says_why(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(evaluator: CandidateEvaluator, student: Any, budget: int) -> float:
        raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(CandidateEvaluator, "loss", fails)
        with pytest.raises(
            StageError, match=r"no candidate was completed; the first: .* failed \(ValueError: broken\)"
        ):
            search(tmp_path / "fails", tiny_teacher_dir, tiny_text_file, {})
    records = read_journal(run_folder(tmp_path / "fails" / "runs") / "journal.jsonl")
    assert {r["reason"] for r in records if r["kind"] == "done"} == {"ValueError: broken"}
    with monkeypatch.context() as patch:
        patch.setattr("nas_ray.search.Proposer.ask", lambda _: None)
        with pytest.raises(StageError, match="no candidate could be proposed"):
            search(tmp_path / "empty", tiny_teacher_dir, tiny_text_file, {})
