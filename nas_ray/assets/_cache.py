"""Where fetched files lie, and whether they are what the catalogue says.

The catalogue holds the size and sha256 of every file, so the folder needs no record of its own: it may be
copied to another machine, shared read-only, or filled by hand.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nas_ray.assets._catalogue import Asset, Member, find
from nas_ray.errors import AssetError

if sys.platform != "win32":
    import fcntl

VARIABLE = "NAS_RAY_CACHE"
_CHUNK_BYTES = 1 << 20

# (name, size, time of change) of the files of a folder when their sha256 was right: hashed once a process.
_verified: dict[tuple[Path, Asset], tuple[tuple[str, int, int], ...]] = {}


def cache_dir() -> Path:
    """The folder of all assets: ``NAS_RAY_CACHE``, else ``nas_ray`` in the user's cache folder.

    Raises:
        AssetError: the variable is not set and the user has no home folder.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    try:
        return _user_cache() / "nas_ray"
    except RuntimeError as error:
        raise AssetError(f"no home folder to keep a cache in ({error}); set {VARIABLE} to a folder.") from error


def where(name: str) -> Path:
    """The folder of one asset, whether it is there or not.

    Raises:
        AssetError: no such asset.
    """
    return cache_dir() / find(name).name


def is_cached(name: str) -> bool:
    """Whether all files of the asset are there and right, so that ``fetch`` needs no network.

    Raises:
        AssetError: no such asset.
    """
    return not problems(find(name), where(name))


def problems(asset: Asset, folder: Path) -> list[str]:
    """What is missing or wrong in ``folder``, a phrase a file; empty if the asset can be used."""
    seen = tuple(_stamp(folder / member.saved_name) for member in asset.members)
    if _verified.get((folder, asset)) == seen:
        return []
    found = [problem for member in asset.members if (problem := _problem(member, folder / member.saved_name))]
    if not found:
        _verified[folder, asset] = seen
    return found


@contextmanager
def locked(file: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Hold ``file`` as a lock; gives False where the system or the file system has none.

    It spares a second download; the final rename alone keeps two fetches apart. No lock outlives its process.

    Raises:
        OSError: the file cannot be written.
    """
    with file.open("w") as handle:
        yield _lock(handle, on_wait)


def _lock(handle: IO[str], on_wait: Callable[[], None]) -> bool:
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # some network file systems
        return False
    return True


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError:
        return (file.name, -1, 0)
    return (file.name, status.st_size, status.st_mtime_ns)


def _problem(member: Member, file: Path) -> str:
    try:
        size = file.stat().st_size
        if size != member.size_bytes:
            return f"{member.saved_name} has {size:,} bytes instead of {member.size_bytes:,}"
        if _sha256(file) != member.sha256:
            return f"{member.saved_name} has another sha256"
    except FileNotFoundError:
        return "" if member.optional else f"{member.saved_name} is missing"
    except OSError as error:
        return f"{member.saved_name} cannot be read ({error.strerror})"
    return ""


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
