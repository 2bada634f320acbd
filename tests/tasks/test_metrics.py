"""Scores: values worked out by hand, and those of the official scripts' own rules."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from typing import Any

import numpy as np
import pytest

from nas_ray.errors import TaskError
from nas_ray.tasks import Example, Task, load_task, measure
from nas_ray.tasks._texts import answer_f1, answer_match, normalised


def examples_of(targets: list[Any], ids: list[str] | None = None) -> list[Example]:
    names = ids or [str(k) for k in range(len(targets))]
    return [Example(name, ("text",), target, "group") for name, target in zip(names, targets, strict=True)]


def task_with(kind: str, *metrics: str, classes: tuple[str, ...] = ("no", "yes")) -> Task:
    texts = {"single": 1, "pair": 2, "regression": 1, "token": 1}[kind]
    fields = {"texts": [[f"text{k}"] for k in range(texts)], "id": "idx"}
    return Task.model_validate(
        {"name": "t", "kind": kind, "metrics": metrics, "classes": classes, "fields": fields, "files": {"train": "x"}}
    )


def test_two_classes() -> None:
    """Right: 3 of 4 positives, 4 of 6 negatives."""
    wanted = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    found = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    scores = measure(task_with("single", "accuracy", "f1", "macro_f1", "matthews"), examples_of(wanted), found)
    assert scores["accuracy"] == pytest.approx(0.7)
    assert scores["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 8 / 11) / 2)
    assert scores["matthews"] == pytest.approx((3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5))


def test_macro_f1_of_three_classes_as_for_cb() -> None:
    task = task_with("single", "macro_f1", classes=("a", "b", "c"))
    found = measure(task, examples_of([0, 0, 1, 2]), [0, 1, 1, 1])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_macro_f1_counts_classes_that_are_only_said_as_scikit_learn_does() -> None:
    task = task_with("single", "macro_f1", classes=("a", "b", "c"))
    found = measure(task, examples_of([0, 0, 1]), [0, 2, 1])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_matthews_of_one_prediction_is_0() -> None:
    assert measure(task_with("single", "matthews"), examples_of([0, 1, 1]), [1, 1, 1]) == {"matthews": 0.0}


def test_correlations() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4, with and without ties."""
    task = task_with("regression", "spearman", "pearson", classes=())
    found = measure(task, examples_of([1.0, 2.0, 3.0, 4.0]), [1.0, 3.0, 2.0, 10.0])
    assert found["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 3, 2, 10])[0, 1])
    tied = measure(task, examples_of([1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 2.0, 4.0])
    assert tied["spearman"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 2.5, 2.5, 4])[0, 1])
    assert measure(task, examples_of([1.0, 2.0]), [3.0, 3.0]) == {"spearman": 0.0, "pearson": 0.0}


def test_multirc_is_scored_by_answers_and_by_questions() -> None:
    """Question 0-0 is right as a whole, 0-1 has one answer wrong."""
    examples = examples_of([1, 0, 1, 0, 1], ["0-0-0", "0-0-1", "0-1-2", "0-1-3", "1-2-4"])
    found = measure(task_with("pair", "f1", "question_match"), examples, [1, 0, 1, 1, 1])
    assert found == pytest.approx({"f1": 6 / 7, "question_match": 2 / 3})


def test_gender_parity() -> None:
    found = measure(task_with("pair", "accuracy", "gender_parity"), examples_of([0, 0, 1, 1]), [0, 0, 1, 0])
    assert found == {"accuracy": 0.75, "gender_parity": 0.5}


def test_words_that_were_cut_off_are_wrong() -> None:
    found = measure(task_with("token", "accuracy", "macro_f1"), examples_of([(0, 1, 1), (0,)]), [(0, 1, -1), (0,)])
    assert found == pytest.approx({"accuracy": 0.75, "macro_f1": (1 + 2 / 3) / 2})


CASES = [
    ("Denver Broncos", ("Denver Broncos", "The Broncos"), 1.0, 1.0),
    ("the denver broncos!", ("Denver Broncos",), 1.0, 1.0),
    ("Broncos", ("Denver Broncos", "Denver"), 0.0, 2 / 3),
    ("in 1843", ("1843", "the year 1843"), 0.0, 2 / 3),
    ("a b b", ("b b b",), 0.0, 0.8),
    ("cat dog", ("bird",), 0.0, 0.0),
    ("", (), 1.0, 1.0),
    ("something", (), 0.0, 0.0),
    ("", ("something",), 0.0, 0.0),
    ("the", (), 1.0, 1.0),
    ("U.S.", ("US", "United States"), 1.0, 1.0),
    ("naïve «quote»", ("naive quote",), 0.0, 0.0),
]


@pytest.mark.parametrize(("found", "accepted", "match", "f1"), CASES)
def test_answers_by_hand(found: str, accepted: tuple[str, ...], match: float, f1: float) -> None:
    assert answer_match(found, accepted) == match
    assert answer_f1(found, accepted) == pytest.approx(f1)


def official(found: str, accepted: tuple[str, ...]) -> tuple[float, float]:
    """Exact match and F1 step by step as SQuAD 2.0's script says them, one answer after another."""

    def plain(text: str) -> str:
        text = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    def f1(answer: str) -> float:
        words, wanted = plain(found).split(), plain(answer).split()
        same = sum((Counter(words) & Counter(wanted)).values())
        if not words or not wanted:
            return float(words == wanted)
        if same == 0:
            return 0.0
        precision, recall = same / len(words), same / len(wanted)
        return 2 * precision * recall / (precision + recall)

    kept = [answer for answer in accepted if plain(answer)] or [""]
    return max(float(plain(found) == plain(answer)) for answer in kept), max(map(f1, kept))


def test_answers_as_the_official_script_scores_them() -> None:
    rng = np.random.default_rng(0)
    words = ["the", "a", "An", "cat.", "Dog", "dog", "(red)", "3,000", "--", "é", "new\tyork", ""]

    def text() -> str:
        return " ".join(rng.choice(words, size=rng.integers(0, 5)))

    for _ in range(400):
        found, accepted = text(), tuple(text() for _ in range(rng.integers(0, 4)))
        assert (answer_match(found, accepted), answer_f1(found, accepted)) == pytest.approx(official(found, accepted))


def test_normalised() -> None:
    assert normalised(' The "Old"  an-chor, a\tlamp. ') == "old anchor lamp"


def test_record_takes_the_best_of_several_answers() -> None:
    example = Example("0", ("text", "x", "y"), 0.0, "g", names=("Bob Lee", "Ann"), answers=("Bob Lee", "Bob"))
    assert measure(load_task("record"), [example, example], [0, 1]) == {"answer_f1": 0.5, "answer_match": 0.5}


def test_unlabelled_examples_have_no_score() -> None:
    with pytest.raises(TaskError, match="task 'cola': these examples have no labels to be scored by"):
        measure(load_task("cola"), examples_of([None]), [1])
