"""Documents to packed rows of tokens, in four splits, cached as files that are mapped into memory.

The split of a document is a function of the seed and its text, so equal documents never lie in two splits, and a corpus
that grows keeps the split of every old document. Rows are written as documents come and read where they are needed, so
that memory does not grow with the text.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from nas_ray._files import sync
from nas_ray.errors import TextError

SPLITS = ("train", "calibrate", "select", "test")
FORMAT = "rows 2"  # of the cache; part of its keys

_GROUP = 256  # documents tokenised at a time
_INDEX = "index.json"

Rows = Literal["packed", "documents"]
Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class Packed:
    """Rows of one split and source: token ids and document numbers, both ``(rows, tokens)``; -1 pads the ids."""

    ids: Numbers
    documents: Numbers


def split_of(document: str, shares: Mapping[str, float], seed: int) -> str:
    """The split of ``document``: a function of the seed and the text alone."""
    digest = hashlib.blake2b(document.encode(), digest_size=8, key=str(seed).encode()).digest()
    point = int.from_bytes(digest, "big") / 2**64
    for split in SPLITS:
        point -= shares[split]
        if point < 0:
            return split
    return SPLITS[-1]


class Packer:
    """Packs a stream of documents into rows of ``length``: ``first`` + text + ``last``.

    ``last`` also ends each document. A last row that is not full is dropped, unless it is the only one.
    """

    def __init__(self, length: int, first: int, last: int) -> None:
        self.inner, self.first, self.last = length - 2, first, last
        self.count = 0  # of rows so far
        self._tokens = self._owners = np.empty(0, dtype=np.int32)  # less than a row

    def add(self, tokens: Sequence[Sequence[int]], numbers: Sequence[int]) -> Packed:
        """The rows that these documents fill, with what was left of those before."""
        more = np.fromiter((t for document in tokens for t in (*document, self.last)), dtype=np.int32)
        owners = np.repeat(np.asarray(numbers, dtype=np.int32), [len(document) + 1 for document in tokens])
        stream, owners = np.concatenate([self._tokens, more]), np.concatenate([self._owners, owners])
        whole = len(stream) // self.inner * self.inner
        self._tokens, self._owners = stream[whole:], owners[whole:]
        self.count += whole // self.inner
        return self._rows(stream[:whole].reshape(-1, self.inner), owners[:whole].reshape(-1, self.inner))

    def end(self) -> Packed:
        """The row that is not full, if there is no other."""
        rows = self._rows(self._tokens[None], self._owners[None])
        if self.count or not len(self._tokens):
            rows = Packed(rows.ids[:0], rows.documents[:0])
        pad = ((0, 0), (0, self.inner - len(self._tokens)))
        self.count += len(rows.ids)
        return Packed(
            np.pad(rows.ids, pad, constant_values=-1),
            np.pad(rows.documents, pad, constant_values=-1),
        )

    def _rows(self, tokens: Numbers, owners: Numbers) -> Packed:
        ids = np.pad(tokens, ((0, 0), (1, 1)))
        ids[:, 0], ids[:, -1] = self.first, self.last
        return Packed(ids, np.pad(owners, ((0, 0), (1, 1)), mode="edge") if owners.size else np.zeros_like(ids))


class Windows:
    """Rows of ``length`` that hold one document each, between ``first`` and ``last``; of a longer one, windows that
    follow one another."""

    def __init__(self, length: int, first: int, last: int) -> None:
        self.inner, self.first, self.last = length - 2, first, last
        self.count = 0  # of rows so far

    def add(self, tokens: Sequence[Sequence[int]], numbers: Sequence[int]) -> Packed:
        """The rows of these documents."""
        windows = [
            (number, document[at : at + self.inner])
            for number, document in zip(numbers, tokens, strict=True)
            for at in range(0, len(document), self.inner)
        ]
        ids, documents = (np.full((len(windows), self.inner + 2), -1, np.int32) for _ in range(2))
        for row, (number, window) in enumerate(windows):
            ids[row, : len(window) + 2] = (self.first, *window, self.last)
            documents[row, : len(window) + 2] = number
        self.count += len(windows)
        return Packed(ids, documents)

    def end(self) -> Packed:
        """Nothing: no document waits."""
        return self.add([], [])


_PACKERS: dict[Rows, type[Packer] | type[Windows]] = {"packed": Packer, "documents": Windows}


def pack(tokens: Sequence[Sequence[int]], numbers: Sequence[int], length: int, first: int, last: int) -> Packed:
    """All rows of some documents at once, as ``Packer`` makes them."""
    packer = Packer(length, first, last)
    parts = [packer.add(tokens, numbers), packer.end()]
    return Packed(np.concatenate([part.ids for part in parts]), np.concatenate([part.documents for part in parts]))


def packed_splits(
    documents: Iterable[str],
    tokenizer: Any,
    *,
    length: int,
    shares: Mapping[str, float],
    seed: int,
    rows: Rows,
    cache: Path,
    key: str,
) -> dict[str, Packed]:
    """All splits of one source, from the cache folder where they are there already.

    Raises:
        TextError: a split gets no document.
    """
    folder = cache / "text" / key
    if folder.is_dir():
        try:
            return _read(folder)
        except (OSError, ValueError, KeyError):  # damaged: made again
            shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        _write(temporary, documents, tokenizer, length, shares, seed, rows)
        with suppress(OSError):  # another process was first
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _read(folder)


def _read(folder: Path) -> dict[str, Packed]:
    """The rows, mapped.

    Raises:
        OSError, ValueError, KeyError: a file is missing, torn or of another kind.
    """
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))

    def mapped(file: Path, shape: tuple[int, int]) -> Numbers:
        if file.stat().st_size != 4 * shape[0] * shape[1]:
            raise ValueError(f"{file}: not {shape[0]} rows")
        rows: Numbers = np.memmap(file, dtype="<i4", mode="r", shape=shape)
        return rows

    found = {}
    for split in SPLITS:
        shape = (index["rows"][split], index["length"])
        found[split] = Packed(*(mapped(folder / f"{split}.{name}", shape) for name in ("ids", "documents")))
    return found


def _write(
    folder: Path,
    documents: Iterable[str],
    tokenizer: Any,
    length: int,
    shares: Mapping[str, float],
    seed: int,
    rows: Rows,
) -> None:
    """Tokenise, pack and write all splits in one pass over ``documents``."""
    packers = {split: _PACKERS[rows](length, tokenizer.cls_token_id, tokenizer.sep_token_id) for split in SPLITS}
    with ExitStack() as stack:
        files = {
            split: [stack.enter_context((folder / f"{split}.{name}").open("wb")) for name in ("ids", "documents")]
            for split in SPLITS
        }
        seen = 0
        for split, group in _groups(documents, shares, seed):
            seen += len(group)
            tokens = tokenizer([text for _, text in group], add_special_tokens=False, verbose=False)["input_ids"]
            _append(files[split], packers[split].add(tokens, [number for number, _ in group]))
        for split, packer in packers.items():
            _append(files[split], packer.end())
    empty = [split for split, packer in packers.items() if not packer.count]
    if empty:
        raise TextError(
            f"the text has {seen} documents, none of which fell into {', '.join(empty)}; accepted: more text "
            "(documents stand between blank lines), or other shares of the splits."
        )
    index = {"length": length, "rows": {split: packer.count for split, packer in packers.items()}}
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")
    for file in folder.iterdir():
        sync(file)


def _groups(
    documents: Iterable[str], shares: Mapping[str, float], seed: int
) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Some documents of one split at a time, numbered; those of a split in their order."""
    waiting: dict[str, list[tuple[int, str]]] = {split: [] for split in SPLITS}
    for number, document in enumerate(documents):
        split = split_of(document, shares, seed)
        waiting[split].append((number, document))
        if len(waiting[split]) == _GROUP:
            yield split, waiting[split]
            waiting[split] = []
    yield from ((split, group) for split, group in waiting.items() if group)


def _append(files: Sequence[BinaryIO], rows: Packed) -> None:
    for file, array in zip(files, (rows.ids, rows.documents), strict=True):
        file.write(np.ascontiguousarray(array, dtype="<i4").data)
