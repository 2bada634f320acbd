"""Examples as arrays of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.data import NOT_HIDDEN
from nas_ray.errors import TaskError
from nas_ray.spec import Kind
from nas_ray.tasks._rows import Row, padded, row_of
from nas_ray.tasks._task import Example, Task
from nas_ray.tasks._windows import windows

_CHUNK = 1000  # examples tokenised at a time


@dataclass(frozen=True)
class Encoded:
    """Rows of tokens of some examples, in their order.

    A row is an example; of a choice one of its options, of a span one window of its context. Rows of one example stand
    together.
    """

    ids: NDArray[np.int32]
    """``(rows, tokens)``, padded at the end."""
    mask: NDArray[np.bool_]
    """``(rows, tokens)``: where there is text."""
    type_ids: NDArray[np.uint8] | None
    """``(rows, tokens)``: 0 in the first text, 1 in the second; None for a model that has no such input."""
    targets: NDArray[Any]
    """Classes ``(rows,)`` int64; ratings ``(rows,)`` float32; of a choice 1 for a right option, else 0; of a span first
    and last token of the answer ``(rows, 2)``, both 0 in a window without one; of words ``(rows, tokens)``, the class
    at the first token of each. Elsewhere, and where nothing is known, ``NOT_HIDDEN`` or, of ratings, NaN."""
    example: NDArray[np.int32]
    """``(rows,)``: number of the row's example."""
    truncated: int
    """Examples that lost text because they are longer than a row."""
    offsets: NDArray[np.int32] | None = None
    """Of a span, ``(rows, tokens, 2)``: where in the context a token begins and ends; -1 outside of it."""
    words: NDArray[np.int32] | None = None
    """Of words, ``(rows, tokens)``: number of the word that begins here, else -1."""


def encode(task: Task, examples: Sequence[Example], tokenizer: Any, max_length: int | None = None) -> Encoded:
    """``examples`` as rows of at most ``max_length`` tokens; if not given, of as many as the task wants.

    A pair that is too long loses tokens of the longer text; the context of a span is read in windows and loses nothing.

    Raises:
        TaskError: no examples, or a tokenizer without its fast form.
    """
    if not examples:
        raise TaskError(f"task '{task.name}': no examples to encode.")
    if not getattr(tokenizer, "is_fast", False):
        raise TaskError(
            "the tokenizer does not say where its tokens lie in a text; accepted: one with a tokenizer.json."
        )
    length = task.max_length if max_length is None else max_length
    rows = [
        replace(row, example=start + row.example)
        for start in range(0, len(examples), _CHUNK)
        for row in _ENCODERS[task.kind](task, examples[start : start + _CHUNK], tokenizer, length)
    ]
    ids = padded([row.ids for row in rows], tokenizer.pad_token_id or 0, np.int32)
    lengths = np.array([len(row.ids) for row in rows])
    has_types = "token_type_ids" in tokenizer.model_input_names
    return Encoded(
        ids=ids,
        mask=np.arange(ids.shape[1]) < lengths[:, None],
        type_ids=padded([row.type_ids for row in rows], 0, np.uint8) if has_types else None,
        targets=_targets(task.kind, rows),
        example=np.array([row.example for row in rows], dtype=np.int32),
        truncated=len({row.example for row in rows if row.is_cut}),
        offsets=padded([row.extra for row in rows], -1, np.int32) if task.kind == "span" else None,
        words=padded([row.extra for row in rows], -1, np.int32) if task.kind == "token" else None,
    )


def _targets(kind: Kind, rows: Sequence[Row]) -> NDArray[Any]:
    targets = [row.target for row in rows]
    if kind == "token":
        return padded(targets, NOT_HIDDEN, np.int64)
    if kind == "regression":
        return np.array([np.nan if target is None else target for target in targets], dtype=np.float32)
    return np.array([NOT_HIDDEN if target is None else target for target in targets], dtype=np.int64)


def _plain(_task: Task, examples: Sequence[Example], tokenizer: Any, length: int) -> Iterator[Row]:
    """One text or a pair."""
    columns = [list(texts) for texts in zip(*(example.texts for example in examples), strict=True)]
    encodings = tokenizer(*columns, truncation=True, max_length=length).encodings
    for number, (example, encoding) in enumerate(zip(examples, encodings, strict=True)):
        yield row_of(number, encoding, example.target)


def _options(_task: Task, examples: Sequence[Example], tokenizer: Any, length: int) -> Iterator[Row]:
    """The first text with each option."""
    pairs = [(n, example.texts[0], option) for n, example in enumerate(examples) for option in example.texts[1:]]
    owners, firsts, options = zip(*pairs, strict=True)
    encodings = tokenizer(list(firsts), list(options), truncation=True, max_length=length).encodings
    rights = (right for example in examples for right in _right(example))
    for owner, encoding, right in zip(owners, encodings, rights, strict=True):
        yield row_of(owner, encoding, right)


def _right(example: Example) -> list[int | None]:
    """1 for each option that is right, else 0."""
    if example.target is None:
        return [None] * (len(example.texts) - 1)
    if example.answers:
        return [int(name in example.answers) for name in example.names]
    return [int(number == example.target) for number in range(len(example.texts) - 1)]


def _words(_task: Task, examples: Sequence[Example], tokenizer: Any, length: int) -> Iterator[Row]:
    """The words of a text, each of which may be several tokens."""
    # with the space before a word that byte-level tokenizers (RoBERTa's) take for a part of it
    texts = [[*example.texts[:1], *(f" {word}" for word in example.texts[1:])] for example in examples]
    encodings = tokenizer(texts, is_split_into_words=True, truncation=True, max_length=length).encodings
    for number, (example, encoding) in enumerate(zip(examples, encodings, strict=True)):
        words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int32)
        begins = np.where(words == np.concatenate([[-1], words[:-1]]), -1, words).astype(np.int32)
        classes = np.array([NOT_HIDDEN] * len(example.texts) if example.target is None else example.target)
        target = np.where(begins >= 0, classes[begins], NOT_HIDDEN)
        yield row_of(number, encoding, target, extra=begins)


_ENCODERS: Mapping[Kind, Callable[[Task, Sequence[Example], Any, int], Iterator[Row]]] = {
    "single": _plain,
    "pair": _plain,
    "regression": _plain,
    "choice": _options,
    "span": windows,
    "token": _words,
}
