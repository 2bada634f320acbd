"""What happened in a search, as JSON lines on disk, each synced before the search goes on."""

from __future__ import annotations

import json
import os
from io import BufferedWriter
from pathlib import Path
from typing import Any

from nas_ray.errors import RunError

_FORMAT = 1


class Journal:
    """Appends records to ``path``; reads back those of an interrupted search."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.records = read_journal(path, repair=not read_only)
        self._file: BufferedWriter | None = None
        if read_only:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            if not self.records:
                self.append({"kind": "journal", "format": _FORMAT})
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}.") from error

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and wait until it is on disk; a read-only journal only remembers it."""
        if self._file is None:
            self.records.append(record)
            return
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}. Free space, then resume.") from error
        self.records.append(record)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_journal(path: Path, *, repair: bool = False) -> list[dict[str, Any]]:
    """The whole records at ``path``; a torn last line is left out, and cut off with ``repair``.

    Raises:
        RunError: a line before the last is damaged, or the format is another.
    """
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if repair and len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    records = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"{path}: line {number} is damaged; restore the file or start a new run.") from error
    if records and records[0].get("format") != _FORMAT:
        raise RunError(
            f"{path}: journal format {records[0].get('format')}; accepted: {_FORMAT}. Resume it with the version that "
            "wrote it."
        )
    return records
