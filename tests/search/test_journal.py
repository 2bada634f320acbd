"""The journal: whole records survive a crash in the middle of a line; damage and other formats are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_ray.errors import RunError
from nas_ray.search import Journal, read_journal


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"kind": "suggested", "candidate_id": "a"})
    journal.close()
    again = Journal(tmp_path / "journal.jsonl")
    again.close()
    assert again.records[1:] == [{"kind": "suggested", "candidate_id": "a"}]


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"kind": "done", "candidate_id": "a"})
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"kind": "done", "candid')
    assert [record["kind"] for record in read_journal(path)] == ["journal", "done"]
    resumed = Journal(path)
    resumed.append({"kind": "done", "candidate_id": "b"})
    resumed.close()
    assert [record.get("candidate_id") for record in read_journal(path)] == [None, "a", "b"]


def test_read_only_changes_nothing_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind": "journal", "format": 1}\n{"kind": "do')
    before = path.read_bytes()
    journal = Journal(path, read_only=True)
    journal.append({"kind": "done"})
    journal.close()
    assert [record["kind"] for record in journal.records] == ["journal", "done"]
    assert path.read_bytes() == before


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind": "journal", "format": 1}\nnot json\n{"kind": "done"}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        Journal(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({"kind": "journal", "format": 99}) + "\n")
    with pytest.raises(RunError, match="format 99"):
        Journal(path)


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Journal(tmp_path / "file" / "journal.jsonl")
