"""Text of any source as documents, the unit that splits and intervals are made of."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nas_ray import assets
from nas_ray.errors import TextError

_PREFIX = "dataset:"
_KINDS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text"}
_MIN_CHARACTERS = 2000


def resolve_text(source: str, progress: Callable[[str], None] | None = None) -> Callable[[str], Iterator[str]]:
    """A reader of ``source``; called with the name of the text field it yields documents, in the same order each time.

    It holds one document at a time, however long the text is.

    Raises:
        TextError: the file or folder is missing, empty or not text.
        AssetError: the asset cannot be fetched.
    """
    if source in assets.CATALOGUE:
        if assets.CATALOGUE[source].kind != "corpus":
            raise TextError(f"the asset '{source}' is no corpus; run `nas-ray assets list` for those that are.")
        assets.fetch(source, progress=progress)
        return lambda _field: iter(assets.documents(source))
    if source.startswith(_PREFIX):
        _check_dataset_file(source.removeprefix(_PREFIX))
        return lambda field: _dataset(source.removeprefix(_PREFIX), field)
    files = _files(source)
    filled = [file for file in files if _has_text(file)]  # all are read: what is no text is refused now
    if not filled:
        raise TextError(f"{source}: the text is empty; accepted: UTF-8 text files with documents between blank lines.")
    return lambda _field: (document for file in filled for document in paragraphs(_lines(file)))


def local_files(source: str) -> list[Path]:
    """The files of this machine that ``source`` reads; none for a corpus of the catalogue or a data set of a hub."""
    if source in assets.CATALOGUE:
        return []
    if not source.startswith(_PREFIX):
        return _files(source) if os.path.exists(os.path.expanduser(source)) else []
    name = source.removeprefix(_PREFIX)
    if os.path.isdir(name):
        return sorted(file for file in Path(name).rglob("*") if file.is_file())
    return [Path(name)] if os.path.isfile(name) else sorted(map(Path, glob.glob(name)))


def absolute_source(source: str) -> str:
    """``source``, by absolute path if it is a local one: the same text from any working folder."""
    if source in assets.CATALOGUE:
        return source
    prefix = _PREFIX if source.startswith(_PREFIX) else ""
    name = source.removeprefix(prefix)
    path = Path(os.path.expanduser(name))
    is_file = bool(prefix) and path.suffix in _KINDS and "://" not in name
    return f"{prefix}{path.absolute()}" if is_file or name.startswith((".", "~")) or os.path.exists(path) else source


def paragraphs(lines: Iterable[str], min_characters: int = _MIN_CHARACTERS) -> Iterator[str]:
    """Consecutive paragraphs (between blank lines), joined until a document has ``min_characters``."""
    held: list[str] = []  # whole paragraphs
    words: list[str] = []  # of the paragraph that is being read
    size = 0
    for line in itertools.chain(lines, [""]):
        if found := line.split():
            words += found
        elif words:
            held.append(" ".join(words))
            size += len(held[-1])
            words = []
            if size >= min_characters:
                yield " ".join(held)
                held, size = [], 0
    if held:
        yield " ".join(held)


def fingerprint(documents: Iterable[str]) -> str:
    """Sixteen hexadecimal digits of the text, for the cache of packed tokens."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _check_dataset_file(name: str) -> None:
    if Path(name).suffix in _KINDS and "://" not in name and not glob.glob(os.path.expanduser(name)):
        raise TextError(f"{_PREFIX}{name}: no such file; accepted: json, csv, parquet or text files, or a hub's name.")


def _files(source: str) -> list[Path]:
    place = Path(os.path.expanduser(source))
    if os.path.isfile(place):
        return [place]
    if os.path.isdir(place):
        files = sorted(file for file in place.rglob("*.txt") if file.is_file())
        if files:
            return files
        raise TextError(f"{source}: the folder holds no .txt file; accepted: UTF-8 text files.")
    raise TextError(
        f"{source}: no such file or folder; accepted: a text file, a folder of text files, {_PREFIX}NAME, "
        f"or one of the corpora {', '.join(n for n, a in sorted(assets.CATALOGUE.items()) if a.kind == 'corpus')}."
    )


def _has_text(file: Path) -> bool:
    return sum(bool(line.strip()) for line in _lines(file)) > 0


def _lines(file: Path) -> Iterator[str]:
    at = 0
    try:
        with file.open("rb") as stream:
            for line in stream:
                if b"\0" in line:
                    raise TextError(f"{file}: a binary file; accepted: UTF-8 text.")
                text = line.decode("utf-8")
                yield text if at else text.removeprefix("\ufeff")
                at += len(line)
    except UnicodeDecodeError as error:
        raise TextError(
            f"{file}: not UTF-8 text ({error.reason} at byte {at + error.start}); convert it first."
        ) from error
    except OSError as error:
        raise TextError(f"{file}: cannot be read: {error.strerror}.") from error


def _dataset(name: str, field: str) -> Iterator[str]:
    """Documents of a ``datasets`` data set: a hub name, a folder, or a json, csv, parquet or text file."""
    import datasets

    datasets.disable_progress_bars()
    kind = _KINDS.get(Path(name).suffix)
    try:
        if kind is None:
            data = datasets.load_dataset(name, split="train")
        else:
            data = datasets.load_dataset(kind, data_files=name, split="train")
    except Exception as error:  # datasets raises whatever its readers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TextError(f"{_PREFIX}{name}: cannot be loaded: {reason}") from error
    if field not in data.column_names:
        raise TextError(f"{_PREFIX}{name}: no field '{field}'; accepted: {', '.join(data.column_names)}.")
    return (" ".join(str(text).split()) for text in data[field] if text and str(text).strip())
