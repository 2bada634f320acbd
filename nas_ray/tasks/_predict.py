"""What a model says, read from its logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas_ray.spec import Kind
from nas_ray.tasks._answers import Logits, span_answers
from nas_ray.tasks._encode import Encoded
from nas_ray.tasks._task import Example, Task

Prediction = int | float | str | tuple[int, ...]
"""The class or the option by number, the rating, the answer's text, or the class of each word (-1: cut off)."""


def predict(
    task: Task,
    examples: Sequence[Example],
    logits: Logits,
    encoded: Encoded,
    *,
    threshold: float = 0.0,
) -> tuple[Prediction, ...]:
    """What ``logits`` say of each example.

    ``(rows, classes)`` of classes, ``(rows,)`` or ``(rows, 1)`` of ratings and options, ``(rows, tokens, classes)`` of
    words, ``(rows, tokens, 2 or 3)`` of spans (see ``span_answers``). ``threshold`` is that of a task with questions
    that have no answer.
    """
    if task.kind == "span":
        answers = span_answers(examples, np.asarray(logits), encoded)
        return tuple(answer.text(threshold if task.answerable else np.inf) for answer in answers)
    return _READERS[task.kind](examples, np.asarray(logits), encoded)


def answer_text(example: Example, prediction: Prediction) -> str:
    """A predicted answer; of a choice the name of the predicted option."""
    return prediction if isinstance(prediction, str) else example.names[_number(prediction)]


def _number(prediction: Prediction) -> int:
    assert isinstance(prediction, int), "of an option or a class"
    return prediction


def _classes(_examples: Sequence[Example], logits: Logits, _encoded: Encoded) -> tuple[int, ...]:
    return tuple(map(int, logits.argmax(axis=1)))


def _ratings(_examples: Sequence[Example], logits: Logits, encoded: Encoded) -> tuple[float, ...]:
    return tuple(map(float, logits.reshape(len(encoded.example))))


def _options(examples: Sequence[Example], logits: Logits, encoded: Encoded) -> tuple[int, ...]:
    ends = np.cumsum([len(example.texts) - 1 for example in examples])[:-1]
    return tuple(int(scores.argmax()) for scores in np.split(logits.reshape(len(encoded.example)), ends))


def _words(examples: Sequence[Example], logits: Logits, encoded: Encoded) -> tuple[tuple[int, ...], ...]:
    assert encoded.words is not None, "encoded as words"
    found = []
    for example, begins, best in zip(examples, encoded.words, logits.argmax(axis=2), strict=True):
        classes = np.full(len(example.texts), -1)
        classes[begins[begins >= 0]] = best[begins >= 0]
        found.append(tuple(map(int, classes)))
    return tuple(found)


_READERS: Mapping[Kind, Callable[[Sequence[Example], Logits, Encoded], tuple[Prediction, ...]]] = {
    "single": _classes,
    "pair": _classes,
    "regression": _ratings,
    "choice": _options,
    "token": _words,
}
