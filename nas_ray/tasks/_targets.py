"""Labels as they stand in files, as what is to be predicted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas_ray.errors import TaskError
from nas_ray.spec import Kind
from nas_ray.tasks._task import Answer, Target, Task

_BESIDE = 2  # characters that answers of some data sets are off by
_MISSING = ("", "-", "-1", "nan")


def target_of(task: Task, label: Any, texts: Sequence[str], start: Any) -> Target:
    """The target that ``label`` means; None if there is no label.

    ``texts`` are those of the example, ``start`` is where an answer in plain text begins.

    Raises:
        TaskError: it is none of what the task accepts.
    """
    return _READERS[task.kind](task, label, texts, start)


def _class(task: Task, label: Any, _texts: Sequence[str], _start: Any) -> Target:
    return _number(label, task.classes, len(task.classes))


def _number(label: Any, names: Sequence[str], count: int) -> float | None:
    """A name, or the number of one where no name is a number itself."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # of a table that has gaps
    text = "" if label is None else str(label).strip()
    if text in names:
        return float(names.index(text))
    if text in _MISSING:
        return None
    has_numbers = not any(name.isdecimal() for name in names)
    if has_numbers and text.isdecimal() and int(text) < count:
        return float(text)
    accepted = [", ".join(names)] if names else []
    raise TaskError(f"unknown label '{text}'; accepted: {' or '.join(accepted + [f'0 to {count - 1}'] * has_numbers)}")


def _rating(_task: Task, label: Any, _texts: Sequence[str], _start: Any) -> Target:
    try:
        rating = float("nan" if label in (None, "") else label)
    except (TypeError, ValueError):
        raise TaskError(f"the label '{label}' is no number; accepted: a rating") from None
    if math.isinf(rating):
        raise TaskError(f"the label '{label}' is not finite; accepted: a rating")
    return None if math.isnan(rating) else rating


def _option(task: Task, label: Any, texts: Sequence[str], _start: Any) -> Target:
    return _number(label, task.classes[: len(texts) - 1], len(texts) - 1)


def _answers(task: Task, label: Any, texts: Sequence[str], start: Any) -> Target:
    """Answers as the hub has them, as SQuAD's files have them, or one text that begins at ``start``."""
    if label is None:
        return None
    if isinstance(label, str) and label.lstrip().startswith("{"):
        label = json.loads(label)  # a mapping in a cell of a table
    if isinstance(label, str):
        found = [(label, _place(label, texts[1], start))] if label else []
    elif isinstance(label, Mapping):
        found = list(zip(label["text"], map(int, label["answer_start"]), strict=True))
    else:
        found = [(answer["text"], int(answer["answer_start"])) for answer in label]
    if not found and not task.answerable:
        raise TaskError("a question without an answer; accepted: one with an answer, or a task with answerable: true")
    return tuple(_checked(answer, texts[1]) for answer in found)


def _place(text: str, context: str, start: Any) -> int:
    if start in (None, ""):
        return context.find(text)
    place = int(start)
    if (found := context[place : place + len(text)]) != text:
        raise TaskError(f"the context has '{found}' at character {place}, not '{text}'; characters count from 0")
    return place


def _checked(answer: Answer, context: str) -> Answer:
    """The answer where its context has it: at the place that is said, or a character or two beside it."""
    text, start = answer
    near = sorted(range(start - _BESIDE, start + _BESIDE + 1), key=lambda place: abs(place - start))
    for place in near:
        if text and place >= 0 and context.startswith(text, place):
            return text, place
    raise TaskError(f"the answer '{text}' does not lie in its context at character {start}; characters count from 0")


def _tags(task: Task, label: Any, texts: Sequence[str], _start: Any) -> Target:
    if label in (None, "", []):
        return None
    labels = label.split() if isinstance(label, str) else label
    if len(labels) != len(texts):
        raise TaskError(f"{len(labels)} labels for {len(texts)} words; accepted: one a word")
    numbers = [_number(one, task.classes, len(task.classes)) for one in labels]
    return None if None in numbers else tuple(int(number) for number in numbers if number is not None)


_READERS: Mapping[Kind, Callable[[Task, Any, Sequence[str], Any], Target]] = {
    "single": _class,
    "pair": _class,
    "regression": _rating,
    "choice": _option,
    "span": _answers,
    "token": _tags,
}
