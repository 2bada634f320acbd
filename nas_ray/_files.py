"""Files that stand whole or not at all, after a power cut too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; a block that ends well puts the file in place, on disk.

    Raises:
        OSError: the folder cannot be written, or is full; ``path`` is as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)  # before the rename: a file system may do them in the other order
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` to fill; a block that ends well puts it in ``target``'s place, on disk.

    Between two renames there is no ``target``: a process that is killed just then leaves the old folder beside it, and
    the next call puts it back.

    Raises:
        OSError: the folder cannot be written, or the disk is full; ``target`` is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_left_over(target)
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()
        yield new
        for path in (*new.rglob("*"), new):
            sync(path)
        if target.exists():
            target.rename(old)
        new.rename(target)
        sync(target.parent)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _clear_left_over(target: Path) -> None:
    """What processes that were killed left: an old folder goes back to its place, the rest goes."""
    for path in list(target.parent.iterdir()):
        start, _, kind = path.name.rpartition(".")
        name, _, process = start.rpartition(".")
        if name != f".{target.name}" or kind not in ("new", "old") or not process.isdigit() or _is_other(int(process)):
            continue
        if kind == "old" and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_other(process: int) -> bool:
    """Whether it lives and is not this one, which may have the number of one that was killed (a container's)."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
