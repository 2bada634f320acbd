"""The benchmarks' own layouts, brought into columns.

``rows`` of a form takes a document of the benchmark's files apart into rows as the hub has them, and leaves such a row
alone; ``prepare`` adds the columns that the catalogue names in ``fields``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nas_ray.spec import Form
from nas_ray.tasks._files import Columns

_COPA = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}


@dataclass(frozen=True)
class Layout:
    """How a form is read."""

    needs: tuple[str, ...]
    """Columns of its rows."""
    rows: Callable[[Columns], Iterator[Columns]]
    prepare: Callable[[Columns], Columns]


def _as_it_is(document: Columns) -> Iterator[Columns]:
    yield document


def _nothing_more(_row: Columns) -> Columns:
    return {}


def _squad(document: Columns) -> Iterator[Columns]:
    """Articles of paragraphs with questions, or one question as the hub has it."""
    if "data" not in document:
        yield document
        return
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield {
                    "id": question["id"],
                    "title": article.get("title") or paragraph["context"],
                    "context": paragraph["context"],
                    "question": question["question"],
                    "answers": question.get("answers"),
                }


def _multirc(document: Columns) -> Iterator[Columns]:
    """A passage with questions and answers, or one answer as the hub has it."""
    if "passage" not in document:
        yield document
        return
    passage = document["passage"]
    for question in passage["questions"]:
        for answer in question["answers"]:
            yield {
                "paragraph": passage["text"],
                "question": question["question"],
                "answer": answer["text"],
                "idx": {"paragraph": document["idx"], "question": question["idx"], "answer": answer["idx"]},
                "label": answer.get("label"),
            }


def _multirc_pair(row: Columns) -> Columns:
    index = row["idx"]
    return {
        "asked": f"{row['question']} {row['answer']}",
        "id": f"{index['paragraph']}-{index['question']}-{index['answer']}",
    }


def _record(document: Columns) -> Iterator[Columns]:
    """A passage with queries, or one query as the hub has it."""
    if "qas" not in document:
        yield document
        return
    text = document["passage"]["text"]
    entities = [text[entity["start"] : entity["end"] + 1] for entity in document["passage"]["entities"]]
    for query in document["qas"]:
        answers = query.get("answers")
        yield {
            "passage": text,
            "query": query["query"],
            "entities": list(dict.fromkeys(entities)),
            "answers": None if answers is None else list(dict.fromkeys(answer["text"] for answer in answers)),
            "idx": {"passage": document["idx"], "query": query["idx"]},
        }


def _record_choice(row: Columns) -> Columns:
    """Each entity in the query's place: the right ones are those that an answer names."""
    entities, answers = list(row["entities"]), row.get("answers") or ()
    right = next((number for number, entity in enumerate(entities) if entity in answers), None)
    return {
        "text": row["passage"].replace("\n@highlight\n", " "),
        "filled": [row["query"].replace("@placeholder", entity) for entity in entities],
        "right": right,
        "names": entities,
        "id": row["idx"]["query"],
    }


def _race(document: Columns) -> Iterator[Columns]:
    """An article with questions, or one question as the hub has it."""
    if "questions" not in document:
        yield document
        return
    answers = document.get("answers") or [None] * len(document["questions"])
    for question, options, answer in zip(document["questions"], document["options"], answers, strict=True):
        yield {
            "example_id": document["id"],
            "article": document["article"],
            "question": question,
            "options": options,
            "answer": answer,
        }


def _race_choice(row: Columns) -> Columns:
    """Each option in the question's gap, or after a question without one."""
    question: str = row["question"]
    filled = [
        question.replace("_", option, 1) if "_" in question else f"{question} {option}" for option in row["options"]
    ]
    return {"filled": filled, "names": [chr(ord("A") + number) for number in range(len(filled))]}


def _copa_prompt(row: Columns) -> Columns:
    return {"prompt": f"{row['premise']} {_COPA[row['question']]}"}


def _wic_marks(row: Columns) -> Columns:
    sentences = ("sentence1", "start1", "end1"), ("sentence2", "start2", "end2")
    marked = [_quoted(row[text], int(row[start]), int(row[end])) for text, start, end in sentences]
    return {"marked1": marked[0], "marked2": marked[1]}


def _wsc(document: Columns) -> Iterator[Columns]:
    """The spans stand in ``target``, or as columns of their own as the hub has them."""
    yield {**document, **document.get("target", {})}


def _wsc_marks(row: Columns) -> Columns:
    """Both spans in quotation marks; they are given by the number of their first word."""
    words = row["text"].split(" ")
    for span in ("span1", "span2"):
        first = int(row[f"{span}_index"])
        last = min(len(words), first + len(row[f"{span}_text"].split())) - 1
        words[first] = f'"{words[first]}'
        words[last] = f'{words[last]}"'
    return {"marked": " ".join(words)}


def _quoted(text: str, start: int, end: int) -> str:
    return f'{text[:start]}"{text[start:end]}"{text[end:]}'


LAYOUTS: Mapping[Form, Layout] = {
    "copa": Layout(("premise", "question"), _as_it_is, _copa_prompt),
    "multirc": Layout(("paragraph", "question", "answer", "idx"), _multirc, _multirc_pair),
    "race": Layout(("example_id", "article", "question", "options"), _race, _race_choice),
    "record": Layout(("passage", "query", "entities", "idx"), _record, _record_choice),
    "squad": Layout((), _squad, _nothing_more),
    "wic": Layout(("sentence1", "sentence2", "start1", "start2", "end1", "end2"), _as_it_is, _wic_marks),
    "wsc": Layout(("text", "span1_text", "span1_index", "span2_text", "span2_index"), _wsc, _wsc_marks),
}
"""By name."""
