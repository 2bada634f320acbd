"""Reading tasks whose answers are known, in the files of SQuAD 1.1 and RACE, for machines without their data.

    python benchmarks/generated_tasks.py FOLDER
    nas-ray finetune MODEL --task squad --data FOLDER/SQuAD --set learning_rate=2e-4
    nas-ray finetune MODEL --task race_middle --data FOLDER --set learning_rate=2e-4

An article is four sentences of who did what, where and when; a question names three of these four of one sentence and
asks for the last. Last names and things of *test* are not in training; first names, places and days are. Who knows what
kind of answer is asked for, but reads nothing else, is right once in four: the options of a choice are the four answers
of that kind in the article, and so are the likely spans.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FACTS = 4
ARTICLES = {"train": 2000, "dev": 125, "test": 250}


def _words(line: str) -> list[str]:
    return line.split()


_FIRST = _words(
    "Anna Boris Clara David Elena Frank Greta Henry Irene Jacob Karen Louis Maria Nils Olga Peter Rosa Simon Tina"
)
_LAST = {
    "train": _words("Adler Baker Carter Dixon Evans Fisher Garcia Hughes Ivanov Jones Keller Lopez Miller Novak Olsen"),
    "test": _words("Parker Quinn Rossi Schmidt Turner Ulrich Vogel Walker Young Zimmer"),
}
_ACTS = (("bought", "buy"), ("sold", "sell"), ("found", "find"), ("lost", "lose"), ("painted", "paint"))
_COLOURS = _words("red green blue yellow black white brown golden silver purple")
_THINGS = {
    "train": _words(
        "bicycle piano table lamp clock carpet mirror guitar boat camera kettle ladder basket jacket statue"
    ),
    "test": _words("wagon violin chair candle watch blanket window trumpet canoe telescope"),
}
_PLACES = _words(
    "Lisbon Vienna Oslo Madrid Dublin Athens Warsaw Geneva Naples Hamburg Chicago Boston Sydney Toronto Kyoto"
)
_DAYS = [f"{day} {month}" for month in _words("January March May July September November") for day in range(10, 29)]


@dataclass(frozen=True)
class Fact:
    """Who did what, where and when."""

    who: str
    act: tuple[str, str]
    what: str
    where: str
    when: str

    def sentence(self, order: int) -> str:
        """One of three ways to say it."""
        did = f"{self.who} {self.act[0]} {self.what}"
        where, when = f"in {self.where}", f"on {self.when}"
        return (f"{did} {where} {when}.", f"On {self.when}, {did} {where}.", f"In {self.where}, {did} {when}.")[order]

    def question(self, asked: str) -> str:
        """What asks for the field ``asked``."""
        did, do = self.act
        return {
            "who": f"Who {did} {self.what} in {self.where} on {self.when}?",
            "what": f"What did {self.who} {do} in {self.where} on {self.when}?",
            "where": f"Where did {self.who} {do} {self.what} on {self.when}?",
            "when": f"When did {self.who} {do} {self.what} in {self.where}?",
        }[asked]


@dataclass(frozen=True)
class Question:
    """What is asked of which of an article's facts."""

    number: int
    asked: str


def articles(part: str) -> Iterator[tuple[list[Fact], str, list[Question]]]:
    """Facts, text and questions of each article of ``part``, always the same."""
    draw = random.Random(f"nas_ray {part}")
    words = "test" if part == "test" else "train"
    for _ in range(ARTICLES[part]):
        names = draw.sample([f"{first} {last}" for first in _FIRST for last in _LAST[words]], FACTS)
        things = [f"a {draw.choice(_COLOURS)} {thing}" for thing in draw.sample(_THINGS[words], FACTS)]
        places, days = draw.sample(_PLACES, FACTS), draw.sample(_DAYS, FACTS)
        acts = [draw.choice(_ACTS) for _ in range(FACTS)]
        facts = [Fact(*found) for found in zip(names, acts, things, places, days, strict=True)]
        text = " ".join(fact.sentence(draw.randrange(3)) for fact in facts)
        asked = zip(draw.sample(range(FACTS), FACTS), ("who", "what", "where", "when"), strict=True)
        yield facts, text, [Question(number, field) for number, field in asked]


def squad(part: str) -> str:
    """The file of SQuAD 1.1."""
    found = []
    for article, (facts, text, questions) in enumerate(articles(part)):
        asked = [
            {
                "id": f"{part}-{article}-{place}",
                "question": facts[question.number].question(question.asked),
                "answers": [{"text": answer, "answer_start": text.index(answer)}],
            }
            for place, question in enumerate(questions)
            for answer in [getattr(facts[question.number], question.asked)]
        ]
        found.append({"title": f"{part} {article}", "paragraphs": [{"context": text, "qas": asked}]})
    return json.dumps({"version": "1.1", "data": found})


def race(part: str) -> Iterator[tuple[str, str]]:
    """Names and contents of RACE's files, one an article; options stand in the order of the article."""
    for article, (facts, text, questions) in enumerate(articles(part)):
        found = {
            "id": f"middle{article}.txt",
            "article": text,
            "questions": [facts[question.number].question(question.asked) for question in questions],
            "options": [[getattr(fact, question.asked) for fact in facts] for question in questions],
            "answers": ["ABCD"[question.number] for question in questions],
        }
        yield f"{article}.txt", json.dumps(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (folder / "SQuAD").mkdir(parents=True, exist_ok=True)
    for part, name in (("train", "train"), ("test", "dev")):
        (folder / "SQuAD" / f"{name}-v1.1.json").write_text(squad(part), encoding="utf-8")
    for part in ARTICLES:
        place = folder / "RACE" / part / "middle"
        place.mkdir(parents=True, exist_ok=True)
        for name, content in race(part):
            (place / name).write_text(content, encoding="utf-8")
    print(f"{FACTS} questions on each of {ARTICLES['train']} articles for training and {ARTICLES['test']} for test")


if __name__ == "__main__":
    main()
