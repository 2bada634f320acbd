"""The lock of a run: who holds it is named, the dead hold nothing, with and without locks of the file system."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_ray._lock import FileLock, Held


@pytest.fixture(params=["flock", "no flock"])
def lock(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileLock:
    if request.param == "no flock":

        def fails(*_: object) -> None:
            raise OSError("Function not implemented")

        monkeypatch.setattr(fcntl, "flock", fails)
    return FileLock(tmp_path / ".lock")


def test_held_until_released(lock: FileLock) -> None:
    assert not lock.is_held
    lock.acquire()
    assert lock.is_held
    with pytest.raises(Held, match=f"process {os.getpid()} on {os.uname().nodename}"):
        FileLock(lock.path).acquire()
    lock.release()
    lock.release()
    assert not lock.is_held
    other = FileLock(lock.path)
    other.acquire()
    other.release()


def test_a_dead_process_holds_nothing(lock: FileLock) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    lock.path.write_text(f"process {int(gone.stdout)} on {os.uname().nodename}\n")
    assert not lock.is_held
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("text", ["", "process 12", "\0\0", "a process that did not say its name"])
def test_a_torn_name_holds_nothing(lock: FileLock, text: str) -> None:
    lock.path.write_text(text)
    lock.acquire()
    assert lock.path.read_text() == f"process {os.getpid()} on {os.uname().nodename}\n"
    lock.release()


def test_without_locks_another_machine_is_believed_to_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(tmp_path / ".lock")
    lock.path.write_text("process 1 on elsewhere\n")
    lock.acquire()  # the kernel knows better
    lock.release()
    lock.path.write_text("process 1 on elsewhere\n")

    def fails(*_: object) -> None:
        raise OSError("Function not implemented")

    monkeypatch.setattr(fcntl, "flock", fails)
    assert lock.is_held
    with pytest.raises(Held, match=r"process 1 on elsewhere; delete .*\.lock if that process is gone"):
        lock.acquire()
