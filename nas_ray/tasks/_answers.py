"""Answers as spans of a context: read from logits, and when to say that there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nas_ray.tasks._encode import Encoded
from nas_ray.tasks._task import Example
from nas_ray.tasks._texts import accepted_texts, answer_f1, answer_match

Logits = NDArray[np.floating[Any]]

_MOST_TOKENS = 30  # of an answer, as BERT's own script has it


@dataclass(frozen=True)
class SpanAnswer:
    """What a model says of one question."""

    best: str
    """The likeliest text (logit of the first token plus that of the last); empty if no window holds any."""
    null: float
    """How much likelier it is that there is no answer: log-odds of the head, or the null score less the best."""

    def text(self, threshold: float) -> str:
        """The answer, empty if ``null`` is above ``threshold``."""
        return "" if self.null > threshold else self.best


def span_answers(examples: Sequence[Example], logits: Logits, encoded: Encoded) -> tuple[SpanAnswer, ...]:
    """The best span of each context, of at most 30 tokens.

    ``logits`` ``(rows, tokens, 2)`` are of an answer's first and last token; the first token stands for no answer. Or
    ``(rows, tokens, 3)``: a head says, at the first token, whether a window holds the answer.
    """
    assert encoded.offsets is not None, "encoded as spans"
    best: list[tuple[float, str]] = [(-np.inf, "")] * len(examples)
    nulls = np.full(len(examples), np.inf)
    has_head = logits.shape[-1] == 3
    none = -logits[:, 0, 2] if has_head else logits[:, 0].sum(axis=1)
    for row, number in enumerate(encoded.example):
        score, start, end = _best_span(logits[row], encoded.offsets[row])
        if score > best[number][0]:
            best[number] = score, examples[number].texts[1][start:end]
        nulls[number] = min(nulls[number], none[row])
    return tuple(
        SpanAnswer(text, float(null if has_head or np.isinf(score) else null - score))
        for (score, text), null in zip(best, nulls, strict=True)
    )


def choose_threshold(examples: Sequence[Example], answers: Sequence[SpanAnswer], metric: str) -> float:
    """The threshold of ``null`` with the best mean of ``metric`` (answer_f1 or answer_match).

    For the part that chooses, never for the one that is reported.
    """
    score = {"answer_f1": answer_f1, "answer_match": answer_match}[metric]
    nulls = np.array([answer.null for answer in answers])
    gain = np.array(
        [
            score(answer.text(np.inf), accepted_texts(example)) - score("", accepted_texts(example))
            for example, answer in zip(examples, answers, strict=True)
        ]
    )
    order = np.argsort(nulls, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(gain[order])])
    ordered = nulls[order]
    ends = np.append(ordered[1:] > ordered[:-1], True)  # of equal ones all are answered or none
    allowed = np.concatenate([[True], ends])
    best = int(np.argmax(np.where(allowed, total, -np.inf)))
    if best == 0:
        return float(ordered[0] - 1.0)
    return float(ordered[best - 1] if best == len(ordered) else (ordered[best - 1] + ordered[best]) / 2)


def null_probability(answer: SpanAnswer) -> float:
    """The probability that there is no answer, as SQuAD 2.0's script takes it."""
    return float(1 / (1 + np.exp(-np.clip(answer.null, -50, 50))))


def _best_span(logits: Logits, offsets: NDArray[np.int32]) -> tuple[float, int, int]:
    """Score, first and last character of the best span of one window, exactly: every pair of tokens is looked at."""
    held = np.flatnonzero(offsets[:, 1] >= 0)
    if not len(held):
        return -np.inf, 0, 0
    inside = logits[held[0] : held[-1] + 1].astype(np.float64)
    ends = np.concatenate([inside[:, 1], np.full(_MOST_TOKENS - 1, -np.inf)])
    scores = inside[:, :1] + sliding_window_view(ends, _MOST_TOKENS)  # (first token, tokens - 1)
    first, more = np.unravel_index(scores.argmax(), scores.shape)
    start, end = offsets[held[0] + first, 0], offsets[held[0] + first + more, 1]
    return float(scores[first, more]), int(start), int(end)
