"""Whether the text, teacher and latency table of a run are still those that it began with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from nas_ray.assets import CATALOGUE
from nas_ray.errors import RunError
from nas_ray.spec import TrialSpec
from nas_ray.stages._run import Run

_MOST_HASHED = 1 << 30  # bytes; about two seconds
_TEACHER_FILES = {".bin", ".json", ".model", ".safetensors", ".txt"}


def check_same(run: Run) -> None:
    """Remember what the run's inputs hold, the first time; later, refuse other content under the same names.

    What is not here, and what a hub holds, is not compared.

    Raises:
        RunError: names what changed.
    """
    refuse(run, changed_inputs(run))
    found = fingerprints(run.spec)
    if missing := found.keys() - run.inputs.keys():
        run.add_inputs({name: found[name] for name in sorted(missing)})


def changed_inputs(run: Run) -> list[str]:
    """Inputs that hold something else than when the run began."""
    known = run.inputs
    return [name for name, value in fingerprints(run.spec).items() if known.get(name, value) != value]


def refuse(run: Run, changed: list[str]) -> None:
    """Say that ``changed`` inputs may not go on with what the run has, if there are any.

    Raises:
        RunError: there are.
    """
    if changed:
        stage = run.course.readers("text")[0] if all(name.startswith("the text ") for name in changed) else "profile"
        raise RunError(
            f"{run.folder}: since this run began, {' and '.join(changed)} changed. Restore it and resume; or run again "
            f"what was made of it: `nas-ray resume {run.folder} --from {stage}`; or give the spec another name "
            "(--set name=NAME) to search anew."
        )


def fingerprints(spec: TrialSpec) -> dict[str, str]:
    """Of every input that lies here or in the catalogue: its name, and a hash of what it holds."""
    found = {f"the teacher {spec.teacher}": teacher_content(spec.teacher)}
    for source in spec.text.sources:
        found[f"the text {source.source}"] = text_content(source.source)
    if spec.latency.table is not None:
        table = Path(spec.latency.table)
        found[f"the latency table {table}"] = _of(str(table), [table] if table.is_file() else [])
    return {name: value for name, value in found.items() if value}


def teacher_content(name: str) -> str:
    """A hash of what a teacher's files hold, where they lie here or in the catalogue; else empty."""
    return _of(name, _teacher_files(name))


def text_content(source: str) -> str:
    """The same of a text."""
    from nas_ray.data import local_files

    return _of(source, local_files(source))


def _of(name: str, files: list[Path]) -> str:
    """Sixteen hexadecimal digits; none where there is nothing to look at."""
    if name in CATALOGUE:
        return _digest(member.sha256 for member in CATALOGUE[name].members)
    if not files:
        return ""
    above = os.path.commonpath([file.parent for file in files])  # what is moved as a whole stays the same
    names = {file: os.path.relpath(file, above) for file in files}
    if sum(file.stat().st_size for file in files) <= _MOST_HASHED:
        return _digest(f"{names[file]} {_sha256(file)}" for file in files)
    return _digest(f"{names[file]} {(at := file.stat()).st_size} {at.st_mtime_ns}" for file in files)


def _teacher_files(name: str) -> list[Path]:
    """What transformers may read of a folder: training states and notes beside it do not count."""
    folder = Path(os.path.expanduser(name))
    if name in CATALOGUE or not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in _TEACHER_FILES and file.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
