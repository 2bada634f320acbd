"""The embedded labelled texts, deduplicated, in parts that were cut once for all.

The part of an example is ``split_of`` its group, with shares and a seed that belong to the data and not to a run. Texts
of one review or editorial are one group, where the file says so; elsewhere a text is its own group. A distillation that
is to be judged on the test part must not have seen its text: ``unseen`` leaves that out of any documents.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from nas_ray import assets
from nas_ray.data._pack import split_of
from nas_ray.errors import TextError, unknown

SHARES: Mapping[str, float] = {"train": 0.70, "calibrate": 0.05, "select": 0.05, "test": 0.20}
_SEED = 2014  # never to be changed: the test part would be another
_CLEAR = 1.0  # a rating of at least that size, as the authors of the snippets count them
_SNIPPETS = {
    "movie": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
    "tweet": "tweets_GroundTruth.txt",
}


@dataclass(frozen=True)
class Example:
    """A text and what is known of it."""

    text: str
    target: float
    """The number of its class, or its rating from -4 to 4."""
    group: str
    """Examples of one group lie in one part."""

    @property
    def split(self) -> str:
        """``train``, ``calibrate``, ``select`` or ``test``."""
        return split_of(self.group, SHARES, _SEED)


@dataclass(frozen=True)
class LabelledSet:
    """Examples in the order of their file; ``classes`` are the names of the targets, none of ratings."""

    name: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]

    def part(self, split: str) -> tuple[Example, ...]:
        """The examples of one part."""
        return tuple(example for example in self.examples if example.split == split)


def labelled(name: str, progress: Callable[[str], None] | None = None) -> LabelledSet:
    """The labelled set of that name; fetches its asset on first use.

    ``movie_rating``, ``amazon_rating``, ``nyt_rating``, ``tweet_rating``: all snippets of a source, for regression.
    ``movie_sentiment`` and so on: those with a rating of at least 1 or at most -1, as two classes.
    ``question_type`` has the 6 classes of TREC, ``question_type_fine`` its 50; ``sms_spam`` two.

    Raises:
        TextError: no such set; lists the known ones. AssetError: it cannot be fetched.
    """
    if name not in LABELLED:
        raise TextError(unknown("labelled set", name, LABELLED))
    asset, read = LABELLED[name]
    classes, examples = read(assets.fetch(asset, progress=progress))
    return LabelledSet(name, classes, tuple(_distinct(examples)))


def unseen(documents: Iterable[str], progress: Callable[[str], None] | None = None) -> Iterator[str]:
    """Those of ``documents`` whose text is in no test part.

    Raises:
        AssetError: a labelled set cannot be fetched.
    """
    held_out = _test_texts(progress)
    return (document for document in documents if _folded(document) not in held_out)


def _ratings(source: str, folder: Path) -> tuple[tuple[str, ...], list[Example]]:
    found = []
    for name, rating, text in assets.rated_snippets(folder / _SNIPPETS[source]):
        review, _, sentence = name.partition("_")
        found.append(Example(text, rating, f"{source}:{review}" if sentence else _folded(text)))
    return (), found


def _sentiments(source: str, folder: Path) -> tuple[tuple[str, ...], list[Example]]:
    _, found = _ratings(source, folder)
    clear = [example for example in _distinct(found) if abs(example.target) >= _CLEAR]
    return ("negative", "positive"), [Example(e.text, float(e.target > 0), e.group) for e in clear]


def _questions(fine: bool, folder: Path) -> tuple[tuple[str, ...], list[Example]]:
    lines = (folder / "question_labels.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.partition(" ")[::2] for line in lines if line.strip()]
    return _classified((label if fine else label.partition(":")[0], text) for label, text in rows)


def _messages(folder: Path) -> tuple[tuple[str, ...], list[Example]]:
    with (folder / "sms-spam.csv").open(encoding="utf-8", newline="") as file:
        return _classified([("spam" if int(row["spam"]) else "ham", row["text"]) for row in csv.DictReader(file)])


def _classified(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], list[Example]]:
    """Pairs of a class and a text; each text is its own group."""
    found = [(label, " ".join(text.split())) for label, text in rows]
    classes = tuple(sorted(Counter(label for label, _ in found)))
    numbers = {label: number for number, label in enumerate(classes)}
    return classes, [Example(text, float(numbers[label]), _folded(text)) for label, text in found if text]


def _distinct(examples: Iterable[Example]) -> Iterator[Example]:
    """The first of those with equal text; case and spaces do not count."""
    seen: set[str] = set()
    for example in examples:
        if (text := _folded(example.text)) not in seen:
            seen.add(text)
            yield example


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


@lru_cache(maxsize=1)
def _test_texts(progress: Callable[[str], None] | None = None) -> frozenset[str]:
    """Folded texts of the test parts of all sets."""
    sets = (labelled(name, progress) for name in LABELLED if not name.endswith(("_sentiment", "_fine")))  # contained
    return frozenset(_folded(example.text) for found in sets for example in found.part("test"))


_Read = Callable[[Path], tuple[tuple[str, ...], list[Example]]]

LABELLED: dict[str, tuple[str, _Read]] = {
    **{f"{source}_rating": ("snippets", partial(_ratings, source)) for source in _SNIPPETS},
    **{f"{source}_sentiment": ("snippets", partial(_sentiments, source)) for source in _SNIPPETS},
    "question_type": ("trec_sms", partial(_questions, False)),
    "question_type_fine": ("trec_sms", partial(_questions, True)),
    "sms_spam": ("trec_sms", _messages),
}
"""By name: the asset, and what reads its folder."""
