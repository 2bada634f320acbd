"""The journal: whole records survive a crash in the middle of a line; damage and other formats are refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_ray.errors import RunError
from nas_ray.search import Journal, MemoryJournal, read_journal

HEADER = b'{"kind": "journal", "format": 1}\n'


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


@pytest.mark.parametrize("cut", range(1, 40))
def test_torn_at_any_byte_the_whole_records_are_kept(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"kind": "done", "candidate_id": "a"})
    journal.append({"kind": "done", "candidate_id": "b" * 30})
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    Journal(path).close()
    assert path.read_bytes() == whole[: whole.rfind(b"\n", 0, -cut) + 1]


@pytest.mark.parametrize("tail", [b"\0" * 100, b'{"kind": "do\n', b"\0\0\n", b"3\n"])
def test_what_a_power_cut_leaves_of_the_last_record_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(HEADER + tail)
    assert len(read_journal(path)) == 1
    assert path.read_bytes() == HEADER + tail  # reading alone changes nothing
    Journal(path).close()
    assert path.read_bytes() == HEADER


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(HEADER[:-5])
    Journal(path).close()
    assert path.read_bytes() == HEADER


def test_in_memory_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(HEADER)
    journal = MemoryJournal(read_journal(path))
    journal.append({"kind": "done"})
    journal.close()
    assert [record["kind"] for record in journal.records] == ["journal", "done"]
    assert path.read_bytes() == HEADER


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind": "journal", "format": 1}\nnot json\n{"kind": "done"}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        Journal(path)


@pytest.mark.parametrize(
    ("found", "message"),
    [(99, "format 99 is newer than this nas_ray, which reads 1"), (0, "format 0; accepted: 1"), (None, "format None")],
)
def test_another_format_is_refused_and_left_alone(tmp_path: Path, found: int | None, message: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(before := json.dumps({"kind": "journal", "format": found}).encode() + b'\n{"kind": "to')
    for _ in range(2):  # the lock is given back
        with pytest.raises(RunError, match=message):
            Journal(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    with pytest.raises(RunError, match=f"another process writes it .process {os.getpid()} on {os.uname().nodename}"):
        Journal(path)
    journal.append({"kind": "done"})
    journal.close()
    again = Journal(path)
    again.close()
    assert len(again.records) == 2
    with pytest.raises(RunError, match="closed"):
        again.append({"kind": "done"})


WRITER = """
import sys
from pathlib import Path
from nas_ray.search import Journal
journal = Journal(Path(sys.argv[1]))
print("held", flush=True)
for number in range(10**9):
    journal.append({"kind": "note", "number": number})
"""


def test_after_kill_9_the_next_process_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(RunError, match=f"process {process.pid} on"):
            Journal(path)
        process.kill()
    journal = Journal(path)
    journal.close()
    assert [record["number"] for record in journal.records[1:]] == list(range(len(journal.records) - 1))


# A limit on the size of files behaves as a full disk does: part of the line is written, then nothing.
FULL = """
import resource, sys
from pathlib import Path
from nas_ray.errors import RunError
from nas_ray.search import Journal
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(100):
    try:
        journal.append({"kind": "note", "number": number})
    except RunError as error:
        print(number, error)
journal.close()
"""


def test_on_a_full_disk_nothing_is_lost_and_nothing_more_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    errors = done.stdout.splitlines()
    failed = int(errors[0].split()[0])
    assert "cannot be written: File too large. Free space" in errors[0]
    assert len(errors) == 100 - failed  # a later, shorter record would stand behind a gap
    assert path.read_bytes().endswith(b"\n")  # the torn half is gone already
    assert [record["number"] for record in read_journal(path)[1:]] == list(range(failed))
    journal = Journal(path)
    journal.append({"kind": "note", "number": failed})
    journal.close()
    assert read_journal(path)[-1]["number"] == failed


@pytest.mark.parametrize("call", ["fsync", "ftruncate"])
def test_a_disk_that_fails_is_not_trusted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"kind": "note", "number": 0})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        patch.setattr(os, call, fails)
        with pytest.raises(RunError, match="Input/output error"):
            journal.append({"kind": "note", "number": 1})
    with pytest.raises(RunError, match="closed"):
        journal.append({"kind": "note", "number": 2})
    again = Journal(path)
    again.close()
    assert [record["number"] for record in again.records[1:]] in ([0], [0, 1])  # what is there is whole
    assert len(journal.records) == 2
