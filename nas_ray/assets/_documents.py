"""The text of the corpora as documents, the unit that splits are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from nas_ray.assets._catalogue import find
from nas_ray.assets._fetch import fetch
from nas_ray.errors import AssetError, unknown

_MIN_CHARACTERS = 2000


class RatedSnippet(NamedTuple):
    """One line of a file of the corpus ``snippets``."""

    name: str
    """Its number; ``review_sentence`` where several come from one review or editorial."""
    rating: float
    """Mean of 20 human ratings, -4 (bad) to 4 (good)."""
    text: str


def rated_snippets(file: Path) -> Iterator[RatedSnippet]:
    """The snippets of a file of the corpus ``snippets`` that hold text, in their order."""
    _header, *lines = file.read_text(encoding="utf-8").split("\n")
    for line in lines:
        name, *rest = line.split("\t")
        words = " ".join(rest[1:]).split()
        if words:
            yield RatedSnippet(name, float(rest[0]), " ".join(words))


def documents(name: str) -> Iterator[str]:
    """The documents of a corpus, in a fixed order; fetches it on first use.

    ``gutenberg``: consecutive paragraphs of one book, joined until they have 2,000 characters (the last
    document of a book may be shorter), without the Bible. ``snippets``: the text of each rated snippet.
    All whitespace is single spaces.

    Raises:
        AssetError: no corpus of that name, or it cannot be fetched.
    """
    asset = find(name)
    if name not in _READERS:
        raise AssetError(unknown("corpus", name, _READERS))
    folder, read = fetch(name), _READERS[name]
    return chain.from_iterable(read(folder / m.saved_name) for m in asset.members if m.in_documents)


def _book(file: Path) -> Iterator[str]:
    held = ""
    for paragraph in re.split(r"\n\s*\n", file.read_text(encoding="latin-1")):
        held = " ".join([held, *paragraph.split()]).strip()
        if len(held) >= _MIN_CHARACTERS:
            yield held
            held = ""
    if held:
        yield held


def _snippets(file: Path) -> Iterator[str]:
    return (snippet.text for snippet in rated_snippets(file))


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {"gutenberg": _book, "snippets": _snippets}
