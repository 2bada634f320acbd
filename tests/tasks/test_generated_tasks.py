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


def test_the_right_answer_stands_in_the_sentence_that_is_asked_of_and_the_other_options_do_not(folder: Path) -> None:
    choices = read_part(load_task("race_middle", data=folder), "test")
    assert len(choices) == 40
    for choice in choices:
        article, *filled = choice.texts
        assert len(filled) == generated_tasks.FACTS
        question = filled[0][: filled[0].index("?")]
        (sentence,) = [one for one in article.split(".") if named_in(one, question)]
        options = [text.split("? ", 1)[1] for text in filled]
        assert all(option in article for option in options)
        assert [option in sentence for option in options].index(True) == choice.target
        assert sum(option in sentence for option in options) == 1


def named_in(sentence: str, question: str) -> bool:
    """Whether ``sentence`` holds the whole name or the thing that ``question`` names."""
    words = question.split()
    if words[0] == "Who":
        return " ".join(words[2:5]) in sentence  # what it was done with, behind the verb
    return " ".join(words[2:4]) in sentence  # who, behind "did"


def test_last_names_and_things_of_test_are_not_in_training(folder: Path) -> None:
    train = " ".join(example.texts[1] for example in read_part(load_task("squad", data=folder / "SQuAD"), "train"))
    assert not any(
        word in train for words in (generated_tasks._LAST, generated_tasks._THINGS) for word in words["test"]
    )
