"""The queue between a search and MLflow: a file, so memory never grows and a killed process loses nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from nas_ray.tracking._events import Event, decode, encode

_CHUNK_BYTES = 1 << 18


class Spool:
    """JSON lines waiting to be written, oldest first; the file is removed once all are. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done = 0  # bytes that are written already
        self._size = 0
        self._torn = False  # a full disk took a part of the last line
        if path.exists():
            self._mend()

    def _mend(self) -> None:
        """End a line that a killed process left torn."""
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")
        self._size = self.path.stat().st_size

    @property
    def empty(self) -> bool:
        return self._done == self._size

    @property
    def num_waiting(self) -> int:
        """Lines that are not written yet."""
        if self.empty:
            return 0
        with self.path.open("rb") as file:
            file.seek(self._done)
            return sum(1 for _ in file)

    def append(self, event: Event) -> None:
        """Raises OSError where the disk takes no more; what it took of the line is skipped later."""
        line = ("\n" * self._torn + encode(event) + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(handle, line)
        finally:
            os.close(handle)
        self._size += written
        self._torn = written < len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self) -> tuple[bytes, int]:
        """The oldest lines, a bounded number of them, for ``events``; and the position behind them for ``drop``."""
        with self.path.open("rb") as file:
            file.seek(self._done)
            data = file.read(_CHUNK_BYTES)
            data += file.readline() if not data.endswith(b"\n") else b""
        return data, self._done + len(data)

    def drop(self, position: int) -> None:
        """Everything before ``position`` is written."""
        self._done = position
        if self.empty:
            self.path.unlink(missing_ok=True)
            self._done = self._size = 0


def events(lines: bytes) -> list[Event]:
    """What whole lines say."""
    found = [decode(line) for line in lines.decode("utf-8", "replace").split("\n")]
    return [event for event in found if event is not None]
