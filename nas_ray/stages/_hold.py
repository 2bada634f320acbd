"""A folder that one process works in at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas_ray._lock import FileLock, Held
from nas_ray.errors import RunError


@contextmanager
def hold(folder: Path, doing: str) -> Iterator[None]:
    """``folder``, which is made, to this process alone.

    Raises:
        RunError: another process is at it, ``doing`` what.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire()
    except Held as held:
        raise RunError(f"{folder}: another process {doing} ({held}); wait for it.") from held
    try:
        yield
    finally:
        lock.release()
