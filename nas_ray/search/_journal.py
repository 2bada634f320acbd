"""What happened in a search, as JSON lines on disk, each synced before the search goes on.

A record counts once its line stands whole on disk. What a crash leaves of a later one is cut off when the journal is
opened again; a disk that is full or fails ends the search with all records before it intact.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas_ray._files import sync
from nas_ray._lock import FileLock, Held
from nas_ray.errors import RunError

_FORMAT = 1

Record = dict[str, Any]


class MemoryJournal:
    """A journal that is forgotten with the process: for simulations, and for looking at a search without touching
    it."""

    def __init__(self, records: list[Record] | None = None) -> None:
        self.records = list(records or [])

    def append(self, record: Record) -> None:
        """Remember one record."""
        self.records.append(record)

    def close(self) -> None:
        """Nothing to close."""


class Journal:
    """Appends records to ``path``; reads back those of an interrupted search. One process at a time.

    Raises:
        RunError: it is being written by another process, is damaged or of another format, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Held as error:
            raise RunError(f"{path}: another process writes it ({error}); wait for it or end it.") from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self.records = read_journal(path, repair=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            sync(path.parent)
            self._size = os.fstat(self._file).st_size
            if not self.records:
                self.append({"kind": "journal", "format": _FORMAT})
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def append(self, record: Record) -> None:
        """Write one record and wait until it is on disk.

        Raises:
            RunError: it is not; nothing can be written any more, what was written before stands.
        """
        if self._file is None:
            raise RunError(f"{self.path}: closed, so nothing can be written to it; resume the run.")
        line = json.dumps(record).encode() + b"\n"
        try:
            if (written := os.write(self._file, line)) < len(line):
                _write_all(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            self._give_up()
            raise self._unwritable(error) from error
        self._size += len(line)
        self.records.append(record)

    def close(self) -> None:
        """Close the file and let others write it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._lock.release()

    def _give_up(self) -> None:
        """After a failed write nobody knows what is on disk: cut off what may be, and write no more."""
        assert self._file is not None
        with suppress(OSError):  # the next to open it does
            os.ftruncate(self._file, self._size)
        self.close()

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(f"{self.path}: cannot be written: {error.strerror}. Free space, or mend the disk, then resume.")


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def read_journal(path: Path, *, repair: bool = False) -> list[Record]:
    """The whole records at ``path``; a torn last line is left out, and cut off with ``repair``.

    Raises:
        RunError: a line before the last is damaged, or the format is another.
    """
    if not path.is_file():
        return []
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    records: list[Record] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is None:
            if number == len(lines):
                break
            raise RunError(f"{path}: line {number} is damaged; restore the file or start a new run.")
        records.append(record)
        size += len(line)
    if records:
        _check_format(path, records[0])
    if repair and size < len(data):
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
    return records


def _parse(line: bytes) -> Record | None:
    """The record of a whole line."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _check_format(path: Path, first: Record) -> None:
    found = first.get("format")
    if found == _FORMAT:
        return
    if isinstance(found, int) and found > _FORMAT:
        raise RunError(
            f"{path}: journal format {found} is newer than this nas_ray, which reads {_FORMAT}; resume the run with "
            "the version that wrote it, or a later one."
        )
    raise RunError(f"{path}: journal format {found}; accepted: {_FORMAT}. Resume it with the version that wrote it.")
