"""Put an asset into the cache: on first use, and again when its files are damaged."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nas_ray.assets._archive import SourceError, extract
from nas_ray.assets._cache import VARIABLE, locked, problems, where
from nas_ray.assets._catalogue import Asset, Source, find
from nas_ray.assets._pip import download, offline_hint
from nas_ray.errors import AssetError


def fetch(name: str, *, progress: Callable[[str], None] | None = None) -> Path:
    """The folder that holds the files of the asset, fetched on first use.

    Every file is checked against its sha256, once a process; missing or damaged ones are fetched again, once.

    Args:
        progress: called with a line of text on what is fetched, the megabytes so far and their rate.

    Raises:
        AssetError: no such asset, no index can be reached, a hash is wrong, or the cache cannot be written.
    """
    asset, folder, tell = find(name), where(name), progress or _silent
    if not problems(asset, folder):
        return folder
    with _writable(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock, waiting = folder.parent / f".{name}.lock", f"{name}: another process is fetching it; waiting"
        with locked(lock, lambda: tell(waiting)) as alone:
            if alone:
                _remove_leftovers(asset, folder.parent)
            found = problems(asset, folder)  # another process may have fetched it meanwhile
            if found:
                if folder.exists():
                    tell(f"{name}: the cache is damaged ({'; '.join(found)}); fetching again")
                _install(asset, folder, tell)
    return folder


def _silent(_line: str) -> None:
    pass


@contextmanager
def _writable(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AssetError(
            f"the cache folder {cache} cannot be written: {error.strerror or error}; set {VARIABLE} to a "
            "folder with enough space that you may write to."
        ) from error


def _remove_leftovers(asset: Asset, cache: Path) -> None:
    """Delete what killed fetches left; only the holder of the lock may."""
    for folder in cache.glob(_staging_prefix(asset) + "*"):
        shutil.rmtree(folder, ignore_errors=True)


def _staging_prefix(asset: Asset) -> str:
    return f".{asset.name}.part-"


def _install(asset: Asset, folder: Path, tell: Callable[[str], None]) -> None:
    """Fetch from the first source that can give the asset."""
    failures: list[str] = []
    for source in asset.sources:
        staging = Path(tempfile.mkdtemp(prefix=_staging_prefix(asset), dir=folder.parent))
        try:
            _install_from(asset, source, folder, staging, tell)
            return
        except SourceError as error:
            failures.append(str(error))
            tell(f"{asset.name}: {error}")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    raise AssetError(f"asset '{asset.name}' cannot be fetched: {' Then '.join(failures)} {offline_hint(asset)}")


def _install_from(asset: Asset, source: Source, folder: Path, staging: Path, tell: Callable[[str], None]) -> None:
    archive = download(asset, source, staging, tell)
    files = staging / "files"
    files.mkdir()
    extract(asset, source, archive, files, staging)
    _swap(asset, files, folder, staging / "old")


def _swap(asset: Asset, files: Path, folder: Path, old: Path) -> None:
    """Rename the complete ``files`` into place; a damaged ``folder`` makes room."""
    if os.path.lexists(folder):
        os.rename(folder, old)
    try:
        os.rename(files, folder)
    except OSError:
        if problems(asset, folder):  # unless another fetch was faster
            raise
