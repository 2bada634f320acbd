"""The generated reading tasks are what the benchmarks' readers take, each question with one answer in its article."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import generated_tasks
from nas_ray.tasks import load_task, read_part


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["generated_tasks", str(found)])
        patch.setattr(generated_tasks, "ARTICLES", {"train": 20, "dev": 4, "test": 10})
        generated_tasks.main()
    return found


def test_each_answer_stands_once_in_its_paragraph(folder: Path) -> None:
    task = load_task("squad", data=folder / "SQuAD")
    examples = read_part(task, "test")
    assert len(examples) == 40
    for example in examples:
        ((text, start),) = example.target  # type: ignore[misc, union-attr]
        assert example.texts[1].index(text) == start
        assert example.texts[1].count(text) == 1


def test_the_options_are_in_the_article_and_the_right_one_answers(folder: Path) -> None:
    choices = read_part(load_task("race_middle", data=folder), "test")
    spans = read_part(load_task("squad", data=folder / "SQuAD"), "test")
    assert len(choices) == len(spans) == 40
    for choice, span in zip(choices, spans, strict=True):
        article, options = choice.texts[0], choice.texts[1:]
        assert len(options) == generated_tasks.FACTS
        ((answer, _),) = span.target  # type: ignore[misc, union-attr]
        assert article == span.texts[1]
        assert options[int(choice.target)].endswith(answer)  # type: ignore[arg-type]


def test_nothing_that_is_asked_of_in_test_is_in_training(folder: Path) -> None:
    train = " ".join(example.texts[1] for example in read_part(load_task("squad", data=folder / "SQuAD"), "train"))
    assert not any(
        word in train for words in (generated_tasks._LAST, generated_tasks._THINGS) for word in words["test"]
    )
