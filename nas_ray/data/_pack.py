"""Documents to packed rows of tokens, in four splits, cached as Arrow files by ``datasets``.

The split of a document is a function of the seed and its text, so equal documents never lie in two splits, and a corpus
that grows keeps the split of every old document.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.errors import TextError

SPLITS = ("train", "calibrate", "select", "test")

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Packed:
    """Rows of one split and source: token ids and document numbers, both ``(rows, tokens)``; -1 pads the ids."""

    ids: Rows
    documents: Rows


def split_of(document: str, shares: Mapping[str, float], seed: int) -> str:
    """The split of ``document``: a function of the seed and the text alone."""
    digest = hashlib.blake2b(document.encode(), digest_size=8, key=str(seed).encode()).digest()
    point = int.from_bytes(digest, "big") / 2**64
    for split in SPLITS:
        point -= shares[split]
        if point < 0:
            return split
    return SPLITS[-1]


def pack(tokens: Sequence[Sequence[int]], numbers: Sequence[int], length: int, first: int, last: int) -> Packed:
    """Documents one after another, cut into rows of ``length``: ``first`` + text + ``last``.

    ``last`` also ends each document. A last row that is not full is dropped, unless it is the only one.
    """
    stream = np.fromiter((t for document in tokens for t in (*document, last)), dtype=np.int32)
    owner = np.repeat(np.asarray(numbers, dtype=np.int32), [len(document) + 1 for document in tokens])
    inner = length - 2
    count = max(len(stream) // inner, min(1, len(stream)))
    ids = np.full((count, length), -1, dtype=np.int32)
    documents = np.full((count, length), -1, dtype=np.int32)
    for row in range(count):
        piece = stream[row * inner : (row + 1) * inner]
        size = len(piece)
        ids[row, 0], ids[row, 1 : size + 1], ids[row, size + 1] = first, piece, last
        documents[row, 1 : size + 1] = owner[row * inner : row * inner + size]
        documents[row, 0], documents[row, size + 1] = documents[row, 1], documents[row, size]
    return Packed(ids, documents)


def packed_splits(
    documents: Iterable[str],
    tokenizer: Any,
    *,
    length: int,
    shares: Mapping[str, float],
    seed: int,
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
        except Exception:  # damaged, in whichever way datasets or pyarrow puts it: made again
            shutil.rmtree(folder, ignore_errors=True)
    _build(list(documents), tokenizer, length, shares, seed, folder)
    return _read(folder)


def _read(folder: Path) -> dict[str, Packed]:
    import datasets

    stored = datasets.load_from_disk(str(folder)).with_format("numpy")
    return {split: Packed(stored[split]["ids"][:], stored[split]["documents"][:]) for split in SPLITS}


def _build(
    documents: list[str], tokenizer: Any, length: int, shares: Mapping[str, float], seed: int, folder: Path
) -> None:
    import datasets

    split_texts: dict[str, list[tuple[int, str]]] = {split: [] for split in SPLITS}
    for number, document in enumerate(documents):
        split_texts[split_of(document, shares, seed)].append((number, document))
    empty = [split for split, texts in split_texts.items() if not texts]
    if empty:
        raise TextError(
            f"the text has {len(documents)} documents, none of which fell into {', '.join(empty)}; accepted: more text "
            "(documents stand between blank lines), or other text.splits."
        )
    features = datasets.Features(
        {name: datasets.List(datasets.Value("int32"), length=length) for name in ("ids", "documents")}
    )
    packed = {}
    for split, texts in split_texts.items():
        tokens = list(_tokens([text for _, text in texts], tokenizer))
        rows = pack(tokens, [n for n, _ in texts], length, tokenizer.cls_token_id, tokenizer.sep_token_id)
        columns = {"ids": list(rows.ids), "documents": list(rows.documents)}
        packed[split] = datasets.Dataset.from_dict(columns, features=features)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    datasets.disable_progress_bars()
    try:
        datasets.DatasetDict(packed).save_to_disk(str(temporary))
        with suppress(OSError):  # another process was first
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _tokens(texts: list[str], tokenizer: Any, size: int = 256) -> Iterator[list[int]]:
    for at in range(0, len(texts), size):
        yield from tokenizer(texts[at : at + size], add_special_tokens=False, verbose=False)["input_ids"]
