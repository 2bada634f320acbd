"""Where an export goes: ``export.json`` lists its files, so that only an unchanged earlier export is ever replaced."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from nas_ray.errors import SpecError

MANIFEST = "export.json"
CARD = "README.md"
_FORMAT = 1


def check_target(target: Path) -> None:
    """Refuse a place that holds anything else than an earlier export as it was written.

    Raises:
        SpecError: it is a file, or a folder with files that no export wrote or that were changed since.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SpecError(f"{target}: not a folder; choose another --to.")
    if not target.is_dir():
        return
    found = _files(target)
    if not found:
        return
    known = _listed(target)
    if known is None:
        raise SpecError(f"{target}: exists and is no earlier export, it holds {_some(found)}; choose another --to.")
    foreign = [name for name in found if name != MANIFEST and name not in known]
    if foreign:
        raise SpecError(f"{target}: holds {_some(foreign)}, which no export wrote; move that, or choose another --to.")
    changed = [name for name in found if name != MANIFEST and _sha256(target / name) != known[name]]
    if changed:
        raise SpecError(f"{target}: {_some(changed)} changed since the export; keep it, or choose another --to.")


def write_manifest(folder: Path, **facts: Any) -> None:
    """``export.json`` in ``folder``: ``facts``, and the sha256 of each file that is there by now."""
    files = {name: _sha256(folder / name) for name in _files(folder)}
    (folder / MANIFEST).write_text(json.dumps({"format": _FORMAT, **facts, "files": files}, indent=1) + "\n", "utf-8")


def content_digest(folder: Path) -> str:
    """What an export holds, its card left out, for that states times: equal for exports of one student."""
    known = _listed(folder) or {}
    text = json.dumps({name: digest for name, digest in sorted(known.items()) if name != CARD})
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def _listed(folder: Path) -> dict[str, str] | None:
    """The files of the export in ``folder`` with their sha256; None where there is none."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, dict) else None


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
