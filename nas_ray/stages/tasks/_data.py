"""The parts of a task as tokens, and how what a model says of them is scored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from nas_ray.errors import TaskError
from nas_ray.spec import Kind, Part
from nas_ray.student import Head, HeadKind, ModelSource
from nas_ray.tasks import (
    Encoded,
    Example,
    Task,
    choose_threshold,
    encode,
    parts_of,
    predict,
    read_part,
    score,
    span_answers,
    write_null_probabilities,
    write_predictions,
)

_HEADS: Mapping[Kind, HeadKind] = {
    "single": "sequence",
    "pair": "sequence",
    "regression": "regression",
    "choice": "choice",
    "span": "span",
    "token": "token",
}
_NEEDED: tuple[Part, ...] = ("train", "select", "test")
_FEW = 100  # examples, by which two models that differ by 10 points are hardly told apart
_NULL_PROBABILITIES = "na_prob.json"  # SQuAD 2.0's script takes it beside the answers

Scores = NDArray[np.float32]


def head_of(task: Task) -> Head:
    """What ``task`` wants of a model."""
    return make_head(task.kind, task.classes, task.extra_layer, task.answerable)


def make_head(kind: Kind, classes: Sequence[str], extra_layer: bool, answerable: bool) -> Head:
    """The same of a task that is known by what its models' records keep."""
    found = _HEADS[kind]
    return Head(found, tuple(classes) if found in ("sequence", "token") else (), extra_layer, answerable)


def check_trainable(task: Task) -> None:
    """Refuse a task that no model can be trained, chosen and judged on.

    Raises:
        TaskError: says what is missing.
    """
    if task.trained_on is not None:
        raise TaskError(
            f"task '{task.name}' has nothing to train on; accepted: fine-tune on '{task.trained_on}', and ask that "
            "model with `nas-ray predict`."
        )
    there = parts_of(task)
    if missing := [part for part in _NEEDED if part not in there]:
        raise TaskError(f"task '{task.name}' has no part '{missing[0]}'; accepted: data that has one, by --data.")


@dataclass(frozen=True)
class Scorer:
    """Scores what a model says of some rows."""

    task: Task
    examples: tuple[Example, ...]
    rows: Encoded

    def __call__(self, scores: Scores) -> float:
        """The metric that chooses, where no answer is said as it suits these examples best."""
        return self.metrics(scores, self.threshold(scores))[self.task.metrics[0]]

    def threshold(self, scores: Scores) -> float:
        """Above which there is no answer, of a task where that may be."""
        if not self.task.answerable:
            return 0.0
        return choose_threshold(self.examples, span_answers(self.examples, scores, self.rows), self.task.metrics[0])

    def is_constant(self, scores: Scores) -> bool:
        """Whether one class is said of all: such a model has learned nothing."""
        if self.task.kind not in ("single", "pair"):
            return False
        return len(set(predict(self.task, self.examples, scores, self.rows))) == 1

    def metrics(self, scores: Scores, threshold: float) -> dict[str, float]:
        """All metrics of the task."""
        return score(self.task, self.examples, scores, self.rows, threshold=threshold)


class TaskData:
    """A task read for a model: by its tokenizer, as far as its positions go; all of its parts, or those in ``wanted``.

    Raises:
        TaskError: a part is missing or wrong. AssetError: it cannot be fetched.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Any,
        num_positions: int,
        max_length: int | None = None,
        wanted: Collection[Part] = get_args(Part),
    ) -> None:
        self.task, self.tokenizer = task, tokenizer
        self.length = min(max_length or task.max_length, num_positions)
        self.parts = tuple(part for part in parts_of(task) if part in wanted)
        self.examples = {part: read_part(task, part) for part in self.parts}

    @cached_property
    def digest(self) -> str:
        """A hash of all examples."""
        return self._digest(self.parts)

    @cached_property
    def held_out(self) -> str:
        """A hash of those that nothing is trained on."""
        return self._digest(("select", "test"))

    def _digest(self, parts: Sequence[Part]) -> str:
        found = hashlib.sha256()
        for part in parts:
            found.update(part.encode())
            for example in self.examples[part]:
                found.update(repr(example).encode())
        return found.hexdigest()[:16]

    def rows(self, part: Part) -> Encoded:
        """A part as rows of tokens, encoded once."""
        if part not in self._rows:
            self._rows[part] = encode(self.task, self.examples[part], self.tokenizer, self.length)
        return self._rows[part]

    @cached_property
    def _rows(self) -> dict[Part, Encoded]:
        return {}

    @property
    def units(self) -> int:
        """What training steps draw from: examples with all their options, of other tasks rows."""
        rows = self.rows("train")
        return len(np.unique(rows.example)) if self.task.kind == "choice" else len(rows.ids)

    def train_on(self, examples: tuple[Example, ...]) -> None:
        """Train on these in place of the part's own."""
        self.examples["train"] = examples
        self._rows.pop("train", None)

    def scorer(self, part: Part) -> Scorer:
        """What scores a part."""
        return Scorer(self.task, self.examples[part], self.rows(part))

    def read_by(self, other: ModelSource, examples: Sequence[Example]) -> Encoded:
        """Examples as another model reads them."""
        return encode(self.task, examples, other.tokenizer(), min(self.length, other.num_positions))

    def tell(self, say: Callable[[str], None]) -> None:
        """Sizes, and what was cut off."""
        sizes = ", ".join(f"{part} {len(examples):,}" for part, examples in self.examples.items())
        say(f"  {self.task.name} ({self.task.source}): {sizes}; rows of at most {self.length} tokens")
        if (few := len(self.examples.get("select", ()))) and few < _FEW:
            say(f"  only {few} examples of select: which model is the best by them is much a matter of chance")
        for part in self.parts:
            if cut := self.rows(part).truncated:
                whole = len(self.examples[part])
                say(f"  {cut:,} of {whole:,} examples of {part} are longer than {self.length} tokens and were cut off")

    def write_predictions(self, part: Part, scores: Scores, threshold: float, folder: Path) -> list[Path]:
        """What the benchmark's server takes, of ``scores`` of a part; with how likely it is that there is no answer,
        where that may be."""
        task, examples, rows = self.task, self.examples[part], self.rows(part)
        said = predict(task, examples, scores, rows, threshold=threshold)
        files = [write_predictions(task, examples, said, folder)]
        if task.answerable:
            files.append(folder / _NULL_PROBABILITIES)
            write_null_probabilities(examples, span_answers(examples, scores, rows), files[-1])
        return files
