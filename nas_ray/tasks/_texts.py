"""Answers compared as texts, as the official script of SQuAD 2.0 compares them, and ReCoRD's."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from nas_ray.tasks._task import Example

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """In lower case, without punctuation (of ASCII), articles and doubled spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def accepted_texts(example: Example) -> tuple[str, ...]:
    """The answers of a labelled example of kind span, or of one whose options have names."""
    if isinstance(example.target, tuple):
        return tuple(answer[0] for answer in example.target if isinstance(answer, tuple))
    return example.answers


def answer_match(found: str, accepted: Sequence[str]) -> float:
    """1 if ``found`` is one of the accepted answers, else 0; no answer is right if none is accepted."""
    return _best(lambda a, b: float(a == b), found, accepted)


def answer_f1(found: str, accepted: Sequence[str]) -> float:
    """F1 of the words, of the accepted answer that is nearest; of no answer it is 1 or 0."""
    return _best(_words_f1, found, accepted)


def _best(score: Callable[[str, str], float], found: str, accepted: Sequence[str]) -> float:
    texts = [text for answer in accepted if (text := normalised(answer))]
    return max(score(normalised(found), text) for text in texts or [""])


def _words_f1(found: str, accepted: str) -> float:
    words, wanted = found.split(), accepted.split()
    if not words or not wanted:
        return float(words == wanted)
    same = (Counter(words) & Counter(wanted)).total()
    return 2 * same / (len(words) + len(wanted))
