"""Examples with other words in the place of some, made once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas_ray._files import write_text
from nas_ray.errors import SpecError
from nas_ray.spec import Augment, Part
from nas_ray.stages._console import Console
from nas_ray.student import WordReplacer, find_model
from nas_ray.tasks import Example, Task

_KINDS = ("single", "pair", "regression")


def check_augment(task: Task) -> None:
    """Refuse a task whose labels are places in a text.

    Raises:
        SpecError: it is one.
    """
    if task.kind not in _KINDS:
        raise SpecError(
            f"task '{task.name}' is of kind {task.kind}, whose texts cannot change; accepted: {', '.join(_KINDS)}.",
            key="augment",
        )


def replacer(spec: Augment, model: str) -> WordReplacer:
    """What replaces words by ``spec``, with the words of ``model`` unless another is named."""
    return WordReplacer(find_model(spec.model or model), spec.by, spec.candidates, spec.ratio)


def copies(words: WordReplacer, example: Example, number: int, count: int, seed: int) -> list[Example]:
    """``count`` changed copies of example ``number``: a function of seed and number."""
    found = []
    for copy in range(count):
        rng = np.random.default_rng([seed, 17, number, copy])
        texts = tuple(words.changed(text, rng) for text in example.texts)
        found.append(replace(example, id=f"{example.id}+{copy}", texts=texts))
    return found


def fresh_ones(new: Sequence[Example], parts: Iterable[Sequence[Example]]) -> list[Example]:
    """Those of ``new`` whose texts no part has, each once; without regard to case and spaces."""
    told = {_folded(example) for part in parts for example in part}
    found = {_folded(example): example for example in reversed(new)}  # the first of equal ones stays
    return [example for example in reversed(found.values()) if _folded(example) not in told]


def _folded(example: Example) -> tuple[str, ...]:
    return tuple(" ".join(text.split()).casefold() for text in example.texts)


def augmented(
    spec: Augment, model: str, parts: Mapping[Part, Sequence[Example]], file: Path, console: Console
) -> tuple[Example, ...]:
    """The training examples of ``parts`` and copies of them that no part has; made once and kept in ``file``."""
    examples = parts["train"]

    def make() -> list[Example]:
        words, found = replacer(spec, model), list[Example]()
        for number, example in enumerate(examples):
            found += copies(words, example, number, spec.copies, spec.seed)
            console.progress(number + 1, len(examples), "examples with other words")
        return found

    return (*examples, *fresh_ones(kept(file, make), parts.values()))


def kept(file: Path, make: Callable[[], Sequence[Example]]) -> tuple[Example, ...]:
    """The examples in ``file``, made now if it is not there."""
    if not file.is_file():
        rows = [{"id": e.id, "texts": e.texts, "target": e.target, "group": e.group} for e in make()]
        write_text(file, "".join(f"{json.dumps(row)}\n" for row in rows))
    return read_examples(file)


def read_examples(file: Path) -> tuple[Example, ...]:
    """What ``kept`` has written."""
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return tuple(Example(row["id"], tuple(row["texts"]), row["target"], row["group"]) for row in rows)
