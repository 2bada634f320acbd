"""Windows of a context that is longer than the model, and answers as tokens of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.data import NOT_HIDDEN
from nas_ray.tasks._rows import Row, row_of
from nas_ray.tasks._task import Example, Task

_QUESTION_TOKENS = 64  # as BERT's own script has it
_SPECIAL_TOKENS = 4  # RoBERTa's pairs have that many, BERT's three

Offsets = NDArray[np.int32]


def windows(task: Task, examples: Sequence[Example], tokenizer: Any, max_length: int) -> Iterator[Row]:
    """A row for each window of each example's context, neighbours sharing ``task.stride`` tokens.

    Of a question that is longer than 64 tokens, or than a quarter of the row, the rest is cut off.
    """
    limit = min(_QUESTION_TOKENS, max_length // 4)
    questions = tokenizer([example.texts[0] for example in examples], add_special_tokens=False, verbose=False)
    cut = [_cut(e.texts[0], q.offsets, limit) for e, q in zip(examples, questions.encodings, strict=True)]
    found = tokenizer(
        cut,
        [example.texts[1] for example in examples],
        truncation="only_second",
        max_length=max_length,
        stride=min(task.stride, (max_length - limit - _SPECIAL_TOKENS) // 2),
        return_overflowing_tokens=True,
    )
    owners = zip(found["overflow_to_sample_mapping"], found.encodings, strict=True)
    for number, group in groupby(owners, key=lambda owner: owner[0]):
        encodings = [encoding for _, encoding in group]
        example = examples[number]
        offsets = [_context_offsets(encoding) for encoding in encodings]
        targets = _targets(offsets, example.target)
        for encoding, place, target in zip(encodings, offsets, targets, strict=True):
            yield row_of(number, encoding, target, is_cut=cut[number] != example.texts[0], extra=place)


def _context_offsets(encoding: Any) -> Offsets:
    """``(tokens, 2)``: characters of the second text, -1 at other tokens."""
    inside = np.array([sequence == 1 for sequence in encoding.sequence_ids])
    return np.where(inside[:, None], np.array(encoding.offsets, dtype=np.int32), np.int32(-1))


def _cut(question: str, offsets: Sequence[tuple[int, int]], limit: int) -> str:
    return question if len(offsets) <= limit else question[: offsets[limit - 1][1]]


def _targets(offsets: Sequence[Offsets], target: Any) -> list[tuple[int, int]]:
    """First and last token of the answer in each window; both 0 where there is none.

    An answer longer than any window is learned, as far as it goes, in the one that holds most of it.
    """
    if target is None:
        return [(NOT_HIDDEN, NOT_HIDDEN)] * len(offsets)
    if not target:
        return [(0, 0)] * len(offsets)
    text, start = target[0]
    found = [_overlap(place, start, start + len(text)) for place in offsets]
    if not any(whole for *_, whole in found):
        most = max(range(len(found)), key=lambda window: found[window][2])
        return [(first, last) if window == most else (0, 0) for window, (first, last, *_) in enumerate(found)]
    return [(first, last) if whole else (0, 0) for first, last, _, whole in found]


def _overlap(offsets: Offsets, start: int, end: int) -> tuple[int, int, int, bool]:
    """First and last token that lie in ``start`` to ``end``, how many characters these are, and whether it is all."""
    context = np.flatnonzero(offsets[:, 1] >= 0)
    inside = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < end) & (offsets[:, 1] > offsets[:, 0]))
    if not len(inside):
        return 0, 0, 0, False
    first, last = int(inside[0]), int(inside[-1])
    held = min(end, int(offsets[last, 1])) - max(start, int(offsets[first, 0]))
    whole = offsets[context[0], 0] <= start and offsets[context[-1], 1] >= end
    return first, last, held, bool(whole)
