"""Readers of the labelled texts, on files written here; parts that no text and no review lies in twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_ray.assets import CATALOGUE, Source, documents
from nas_ray.data import LABELLED, SHARES, Example, labelled, split_of, unseen
from nas_ray.data import _labelled as module
from nas_ray.errors import TextError
from tests.assets.fakes import make_asset, write_files

HEADER = "id\tsentiment\ttext\n"
FROZEN = ["train", "train", "train", "train", "train", "test", "train"]
MOVIE = [("1", 2.5, "A  joy."), ("2", -3.0, "A bore."), ("3", 0.4, "It runs for two hours."), ("4", -1.0, "a JOY.")]


def lines(rows: list[tuple[str, float, str]]) -> bytes:
    return (HEADER + "".join(f"{name}\t{rating}\t{text}\n" for name, rating, text in rows)).encode()


def review(number: int) -> list[tuple[str, float, str]]:
    return [(f"{number}_{k}", (-1.5) ** k, f"Sentence {k} of review {number}.") for k in range(1, 5)]


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("NAS_RAY_CACHE", str(tmp_path))
    reviews = [row for number in range(60) for row in review(number)]
    files = {
        "movieReviewSnippets_GroundTruth.txt": lines(MOVIE),
        "amazonReviewSnippets_GroundTruth.txt": lines([*reviews, ("90_1", 1.0, "Sentence 1 of review 0.")]),
        "nytEditorialSnippets_GroundTruth.txt": lines([(n, r, f"NYT {t}") for n, r, t in reviews]),
        "tweets_GroundTruth.txt": lines([(str(k), 0.0, f"tweet {k}") for k in range(200)] + [("9", 0.0, "A bore.")]),
    }
    questions = "DESC:manner How  does it work ?\nHUM:ind Who is it ?\nDESC:def What is it ?\nHUM:ind who is it ?\n"
    messages = ',spam,text\n0,0,"See you, then"\n1,1,WIN now!\n2,0,win NOW!\n'
    labels = {"question_labels.txt": questions.encode(), "sms-spam.csv": messages.encode()}
    for name, found in (("snippets", files), ("trec_sms", labels)):
        write_files(tmp_path / name, found)
        monkeypatch.setitem(CATALOGUE, name, make_asset(name, found, Source("nothing==0", "0" * 64, 1)))
    module._test_texts.cache_clear()
    yield
    module._test_texts.cache_clear()


def test_ratings_and_clear_sentiments() -> None:
    ratings = labelled("movie_rating")
    assert ratings.classes == ()
    assert [(e.text, e.target) for e in ratings.examples] == [
        ("A joy.", 2.5), ("A bore.", -3.0), ("It runs for two hours.", 0.4)
    ]  # fmt: skip
    found = labelled("movie_sentiment")
    assert found.classes == ("negative", "positive")
    assert [(e.text, e.target) for e in found.examples] == [("A joy.", 1.0), ("A bore.", 0.0)]


def test_questions_and_messages() -> None:
    coarse, fine, spam = (labelled(name) for name in ("question_type", "question_type_fine", "sms_spam"))
    assert coarse.classes == ("DESC", "HUM")
    assert [(e.text, coarse.classes[int(e.target)]) for e in coarse.examples] == [
        ("How does it work ?", "DESC"), ("Who is it ?", "HUM"), ("What is it ?", "DESC")
    ]  # fmt: skip
    assert fine.classes == ("DESC:def", "DESC:manner", "HUM:ind")
    assert [(e.text, spam.classes[int(e.target)]) for e in spam.examples] == [
        ("See you, then", "ham"),
        ("WIN now!", "spam"),
    ]


def test_a_review_lies_in_one_part() -> None:
    for name in ("amazon_rating", "nyt_rating"):
        parts: dict[str, set[str]] = {}
        for example in labelled(name).examples:
            parts.setdefault(example.text.rpartition(" ")[2], set()).add(example.split)
        assert len(parts) == 60
        assert all(len(found) == 1 for found in parts.values())
        assert set().union(*parts.values()) >= {"train", "test"}


@pytest.mark.parametrize("name", sorted(LABELLED))
def test_parts_are_those_of_the_packed_text_and_disjoint(name: str) -> None:
    found = labelled(name)
    parts = {split: {e.text.casefold() for e in found.part(split)} for split in SHARES}
    assert sum(map(len, parts.values())) == len(found.examples) == len(set.union(*parts.values()))
    assert all(e.split == split_of(e.group, SHARES, 2014) for e in found.examples)


def test_the_cut_is_frozen() -> None:
    """Another seed or share would make known test texts training texts."""
    groups = ["amazon:1", "nyt:1", "how does it work ?", "a joy.", "amazon:7", "nyt:42", "tweet"]
    assert [Example("", 0.0, group).split for group in groups] == FROZEN


def test_distillation_text_holds_no_test_text() -> None:
    held_out = {e.text.casefold() for name in LABELLED for e in labelled(name).part("test")}
    everything = [*documents("snippets"), "WHO is  it ?", "A story."]
    kept = list(unseen(everything))
    assert 0 < len(held_out) < len(everything)
    assert not held_out & {text.casefold() for text in kept}
    assert kept == [text for text in everything if " ".join(text.split()).casefold() not in held_out]


def test_a_review_is_left_out_whole() -> None:
    kept = set(unseen(documents("snippets")))
    for number in range(60):
        sentences = {text for _, _, text in review(number)}
        assert sentences <= kept or not sentences & kept


def test_unknown_set() -> None:
    with pytest.raises(TextError, match="unknown labelled set 'movies'; known: amazon_rating"):
        labelled("movies")
