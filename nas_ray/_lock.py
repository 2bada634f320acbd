"""A file that one process holds at a time, and that nobody holds any more once that process is dead."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class Held(Exception):
    """Another process, or another part of this one, holds the lock; the message names it."""


class FileLock:
    """Held from ``acquire`` to ``release`` or to the end of the process, by ``kill -9`` too.

    The kernel keeps the lock. On a file system without locks the name in the file decides: a dead process of this
    machine is taken over from, a process of another machine is believed to live.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Hold the lock.

        Raises:
            Held: somebody else does. OSError: the file cannot be written.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _flock(descriptor, shared=False) and (holder := _read(descriptor)) and _lives(holder):
                raise Held(f"{holder}; delete {self.path} if that process is gone")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others in."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def is_held(self) -> bool:
        """Whether some process holds it now."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _flock(descriptor, shared=True) and _lives(_read(descriptor))
        except Held:
            return True
        finally:
            os.close(descriptor)


def _flock(descriptor: int, *, shared: bool) -> bool:
    """Lock the file; False where the system or the file system has no locks. Raises ``Held`` if it is taken."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Held(_read(descriptor) or "a process that did not say its name") from None
    except OSError:  # some network file systems
        return False
    return True


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip()


def _lives(holder: str) -> bool:
    found = re.fullmatch(r"process (\d+) on (.*)", holder)
    if found is None:  # empty, or torn while it was written
        return False
    if found[2] != os.uname().nodename:
        return True
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
