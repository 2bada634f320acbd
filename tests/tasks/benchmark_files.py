"""Small files laid out as the benchmarks' own are: GLUE's, SuperGLUE's, SQuAD's and RACE's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROWS = {"train": 60, "dev": 6, "test": 4}
_QUOTE = 'He said "no'  # a quotation mark that is never closed: in tsv files it is one of the text


def write_all(root: Path) -> Path:
    """All benchmarks under ``root``, each task in the folder that its archive has."""
    for write in (_cola, _sst2, _mrpc, _stsb, _qqp, _mnli, _qnli_rte_wnli, _ax, _superglue, _squad, _race):
        write(root)
    return root


def data_of(root: Path, task: str) -> Path:
    """What ``--data`` names for ``task``."""
    if task.startswith("squad"):
        return root / "SQuAD"
    is_super = task in ("boolq", "cb", "copa", "multirc", "record", "superglue_rte", "wic", "wsc", "axb", "axg")
    return root if task.startswith("race") else root / ("SuperGLUE" if is_super else "GLUE")


def write_tsv(file: Path, header: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> None:
    lines = ([header] if header else []) + [[str(cell) for cell in row] for row in rows]
    _write(file, "".join("\t".join(line) + "\n" for line in lines))


def write_jsonl(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _write(file, "".join(json.dumps(row) + "\n" for row in rows))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _sentence(k: int) -> str:
    return f"{_QUOTE}, the ship number {'abcdefghij'[k % 10] * (1 + k // 10)} left the harbour"


def _cola(root: Path) -> None:
    folder = root / "GLUE" / "CoLA"
    for part in ("train", "dev"):
        write_tsv(
            folder / f"{part}.tsv", None,
            [("gj04", k % 2, "" if k % 2 else "*", _sentence(k)) for k in range(ROWS[part])],
        )  # fmt: skip
    write_tsv(folder / "test.tsv", ["index", "sentence"], [(k, _sentence(k)) for k in range(ROWS["test"])])


def _glue(
    folder: Path, header: Sequence[str], row: Callable[[int], Sequence[object]], unlabelled: Sequence[int],
    names: Mapping[str, str] | None = None, test_header: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Files with the last column as the label; ``unlabelled``: the columns of test.tsv, which has an index first."""
    names = names or {"train": "train", "dev": "dev", "test": "test"}
    for part in ("train", "dev"):
        write_tsv(folder / f"{names[part]}.tsv", header, [row(k) for k in range(ROWS[part])])
    test = [[k, *(row(k)[column] for column in unlabelled)] for k in range(ROWS["test"])]
    kept = test_header or [header[column] for column in unlabelled]
    write_tsv(folder / f"{names['test']}.tsv", ["index", *kept], test)


def _sst2(root: Path) -> None:
    _glue(root / "GLUE" / "SST-2", ["sentence", "label"], lambda k: [_sentence(k), k % 2], [0])


def _mrpc(root: Path) -> None:
    header = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    _glue(
        root / "GLUE" / "MRPC", header,
        lambda k: [k % 2, 100 + k, 200 + k, _sentence(k), "The boat left."], [1, 2, 3, 4],
    )  # fmt: skip


def _stsb(root: Path) -> None:
    header = [
        "index",
        "genre",
        "filename",
        "year",
        "old_index",
        "source1",
        "source2",
        "sentence1",
        "sentence2",
        "score",
    ]
    _glue(
        root / "GLUE" / "STS-B", header,
        lambda k: [k, "main-news", "MSRvid", 2012, k, "none", "none", _sentence(k), "A boat.", f"{k % 6}.000"],
        list(range(1, 9)),
    )  # fmt: skip


def _qqp(root: Path) -> None:
    folder = root / "GLUE" / "QQP"
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    for part in ("train", "dev"):
        rows = [(k, 2 * k, 2 * k + 1, _sentence(k), "What left?", k % 2) for k in range(ROWS[part])]
        write_tsv(folder / f"{part}.tsv", header, rows)
        with (folder / f"{part}.tsv").open("a") as file:
            file.write("99\t7\t8\tA question that a line break cut\n")  # such lines are in GLUE's own file
    rows = [(k, _sentence(k), "What left?") for k in range(ROWS["test"])]
    write_tsv(folder / "test.tsv", ["id", "question1", "question2"], rows)


def _mnli(root: Path) -> None:
    names = ["entailment", "neutral", "contradiction"]
    start = [
        "index",
        "promptID",
        "pairID",
        "genre",
        "sentence1_binary_parse",
        "sentence2_binary_parse",
        "sentence1_parse",
        "sentence2_parse",
    ]
    header = [*start, "sentence1", "sentence2", "label1", "gold_label"]
    folder = root / "GLUE" / "MNLI"

    def row(k: int) -> list[object]:
        return [k, k, f"{k}e", "fiction", "( a )", "( b )", "(ROOT a)", "(ROOT b)", _sentence(k), "It left.",
                names[k % 3], names[k % 3]]  # fmt: skip

    for kind in ("matched", "mismatched"):
        parts = {"train": "train", "dev": f"dev_{kind}", "test": f"test_{kind}"}
        _glue(folder, header, row, list(range(1, 10)), parts)


def _qnli_rte_wnli(root: Path) -> None:
    two = ["entailment", "not_entailment"]
    for name, columns, label in (
        ("QNLI", ["question", "sentence"], lambda k: two[k % 2]),
        ("RTE", ["sentence1", "sentence2"], lambda k: two[k % 2]),
        ("WNLI", ["sentence1", "sentence2"], lambda k: k % 2),
    ):
        _glue(
            root / "GLUE" / name, ["index", *columns, "label"],
            lambda k, label=label: [k, _sentence(k), "The ship left.", label(k)], [1, 2],
        )  # fmt: skip


def _ax(root: Path) -> None:
    rows = [(k, _sentence(k), "The ship left.") for k in range(6)]
    write_tsv(root / "GLUE" / "diagnostic" / "diagnostic.tsv", ["index", "sentence1", "sentence2"], rows)


def _superglue(root: Path) -> None:
    three, two = ["neutral", "entailment", "contradiction"], ["entailment", "not_entailment"]
    rows: Mapping[str, Callable[[int], dict[str, Any]]] = {
        "BoolQ": lambda k: {"question": f"is {k} odd", "passage": _sentence(k), "idx": k, "label": k % 2 == 1},
        "CB": lambda k: {"premise": _sentence(k), "hypothesis": "it left", "label": three[k % 3], "idx": k},
        "COPA": lambda k: {
            "premise": _sentence(k), "choice1": "It rained.", "choice2": "It was sold.",
            "question": ["cause", "effect"][k % 2], "label": k % 2, "idx": k,
        },
        "MultiRC": _multirc,
        "ReCoRD": _record,
        "RTE": lambda k: {"premise": _sentence(k), "hypothesis": "it left", "label": two[k % 2], "idx": k},
        "WiC": lambda k: {
            "word": f"bank{k}", "sentence1": "the bank of a river", "sentence2": "a bank lent money", "idx": k,
            "label": k % 2 == 0, "start1": 4, "start2": 2, "end1": 8, "end2": 6, "version": 1.1,
        },
        "WSC": lambda k: {
            "text": f"Mark told Pete many lies about himself, number {k}, and he knew.", "idx": k, "label": k % 2 == 0,
            "target": {"span1_index": 0, "span1_text": "Mark", "span2_index": 10, "span2_text": "he"},
        },
    }  # fmt: skip
    for name, row in rows.items():
        for part, count in (("train", ROWS["train"]), ("val", ROWS["dev"]), ("test", ROWS["test"])):
            made = [row(k) for k in range(count)]
            write_jsonl(root / "SuperGLUE" / name / f"{part}.jsonl", map(_hidden, made) if part == "test" else made)
    axb = [
        {"sentence1": _sentence(k), "sentence2": "it left", "idx": k, "label": two[k % 2], "logic": "Negation"}
        for k in range(6)
    ]
    axg = [
        {"premise": _sentence(k), "hypothesis": "it left", "idx": k, "label": two[k // 2 % 2], "pair_id": 551}
        for k in range(6)
    ]
    write_jsonl(root / "SuperGLUE" / "AX-b" / "AX-b.jsonl", axb)
    write_jsonl(root / "SuperGLUE" / "AX-g" / "AX-g.jsonl", axg)


def _multirc(k: int) -> dict[str, Any]:
    answers = [{"text": f"answer {n}", "idx": 10 * k + n, "label": (k + n) % 2} for n in range(3)]
    questions = [{"question": f"what left {q}?", "idx": 2 * k + q, "answers": answers} for q in range(2)]
    return {"idx": k, "version": 1.1, "passage": {"text": _sentence(k), "questions": questions}}


def _record(k: int) -> dict[str, Any]:
    text = f"Anna Lee met Bob in {k} towns.\n@highlight\nBob left Anna Lee"
    entities = [{"start": 0, "end": 7}, {"start": 13, "end": 15}, {"start": text.index("Bob left"), "end": 0}]
    entities[2]["end"] = entities[2]["start"] + 2
    answer = {"start": 13, "end": 15, "text": "Bob"}
    query = {"query": "@placeholder left", "answers": [answer, answer], "idx": 1000 + k}
    return {"source": "Daily mail", "passage": {"text": text, "entities": entities}, "qas": [query], "idx": k}


def _hidden(row: dict[str, Any]) -> dict[str, Any]:
    """As in test parts: without labels, at any depth."""
    if isinstance(row, dict):
        return {key: _hidden(value) for key, value in row.items() if key != "label" and not _is_answer(key, row)}
    return [_hidden(one) for one in row] if isinstance(row, list) else row


def _is_answer(key: str, row: Mapping[str, Any]) -> bool:
    return key == "answers" and "query" in row


CONTEXT = "The lamp was lit by Ada in 1843. It burned for ten years, and the town called it the old lamp."


def squad_document(version: str, articles: int, each: int) -> dict[str, Any]:
    """Two paragraphs an article; of version 2.0 every third question has no answer."""
    made = []
    for article in range(articles):
        questions = []
        for k in range(each):
            answer = {"text": "Ada", "answer_start": CONTEXT.index("Ada")}
            question: dict[str, Any] = {"id": f"q{article}-{k}", "question": "Who lit it?", "answers": [answer]}
            if k % 2:
                question["answers"].append({"text": "by Ada", "answer_start": CONTEXT.index("by Ada")})
            if version == "v2.0":
                question["is_impossible"] = k % 3 == 0
                if question["is_impossible"]:
                    question |= {"answers": [], "plausible_answers": [answer]}
            questions.append(question)
        made.append({"title": f"Lamp_{article}", "paragraphs": [{"context": CONTEXT, "qas": questions}]})
    return {"version": version, "data": made}


def _squad(root: Path) -> None:
    for version, name in (("1.1", "v1.1"), ("v2.0", "v2.0")):
        _write(root / "SQuAD" / f"train-{name}.json", json.dumps(squad_document(version, 30, 3)))
        _write(root / "SQuAD" / f"dev-{name}.json", json.dumps(squad_document(version, 2, 3)))


def _race(root: Path) -> None:
    for part, count in ROWS.items():
        for level in ("middle", "high"):
            for k in range(count // 2):
                found = {
                    "id": f"{level}{k}.txt", "article": _sentence(k), "answers": ["A", "D"],
                    "questions": ["The ship is _ .", "What left?"],
                    "options": [["old", "new", "red", "gone"], ["a ship", "a boat", "a man", "a town"]],
                }  # fmt: skip
                _write(root / "RACE" / part / level / f"{k}.txt", json.dumps(found))
