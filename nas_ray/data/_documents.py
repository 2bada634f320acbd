"""Text of any source as documents, the unit that splits and intervals are made of."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nas_ray import assets
from nas_ray.errors import TextError

_PREFIX = "dataset:"
_MIN_CHARACTERS = 2000


def resolve_text(source: str, progress: Callable[[str], None] | None = None) -> Callable[[str], Iterator[str]]:
    """A reader of ``source``; called with the name of the text field it yields documents.

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
        return lambda field: _dataset(source.removeprefix(_PREFIX), field)
    files = _files(source)
    texts = [_read(file) for file in files]
    if not any(text.strip() for text in texts):
        raise TextError(f"{source}: the text is empty; accepted: UTF-8 text files with documents between blank lines.")
    return lambda _field: (document for text in texts for document in paragraphs(text))


def paragraphs(text: str, min_characters: int = _MIN_CHARACTERS) -> Iterator[str]:
    """Consecutive paragraphs (between blank lines), joined until a document has ``min_characters``."""
    held: list[str] = []
    size = 0
    for paragraph in re.split(r"\n\s*\n", text):
        words = " ".join(paragraph.split())
        if not words:
            continue
        held.append(words)
        size += len(words)
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


def _read(file: Path) -> str:
    try:
        data = file.read_bytes()
        if b"\0" in data:
            raise TextError(f"{file}: a binary file; accepted: UTF-8 text.")
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise TextError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); convert it first.") from error
    except OSError as error:
        raise TextError(f"{file}: cannot be read: {error.strerror}.") from error


def _dataset(name: str, field: str) -> Iterator[str]:
    """Documents of a ``datasets`` data set: a hub name, a folder, or a json, csv, parquet or text file."""
    import datasets

    datasets.disable_progress_bars()
    kinds = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text"}
    kind = kinds.get(Path(name).suffix)
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
