"""The same examples from every kind of file and from a hub, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nas_ray.errors import TaskError
from nas_ray.tasks import Task, load_task, parts_of, read_part

ROWS = [
    {"sentence1": f"The ship, number {k}", "sentence2": 'said "go"', "label": ["entailment", "not_entailment"][k % 2]}
    for k in range(40)
]


def write_csv(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_tsv(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
    file.write_text("".join("\t".join(line) + "\r\n" for line in lines), encoding="utf-8-sig")


def write_jsonl(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def write_json(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text(json.dumps(rows), encoding="utf-8")


def write_parquet(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)


WRITERS: dict[str, Callable[[Path, Sequence[dict[str, Any]]], None]] = {
    "csv": write_csv, "tsv": write_tsv, "jsonl": write_jsonl, "json": write_json, "parquet": write_parquet
}  # fmt: skip


def texts_of(task: Task, part: Any = "train") -> list[tuple[Any, ...]]:
    return [(e.texts, e.target) for e in read_part(task, part)]


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("stem", ["train", "dev", "validation"])
def test_files_of_a_hubs_fields(tmp_path: Path, ending: str, stem: str) -> None:
    """By GLUE's own names or by the hub's."""
    WRITERS[ending](tmp_path / f"{stem}.{ending}", ROWS)
    found = texts_of(load_task("rte", tmp_path), "train" if stem == "train" else "test")
    assert found[0] == (("The ship, number 0", 'said "go"'), 0)
    assert all(target == int(texts[0].split()[-1]) % 2 for texts, target in found)


def test_json_lines_in_a_file_called_json_and_shards(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.json", ROWS)
    assert len(texts_of(load_task("rte", tmp_path), "test")) == 40
    (tmp_path / "validation.json").unlink()
    for shard in range(2):
        write_parquet(tmp_path / f"validation-0000{shard}-of-00002.parquet", ROWS[20 * shard : 20 * shard + 20])
    assert [texts[0] for texts, _ in texts_of(load_task("rte", tmp_path), "test")] == [r["sentence1"] for r in ROWS]


def test_one_file_is_cut_by_group(tmp_path: Path) -> None:
    rows = [{**row, "sentence1": f"Ship {k // 2}"} for k, row in enumerate(ROWS * 5)]
    write_csv(tmp_path / "mine.csv", rows)
    task = load_task("rte", tmp_path / "mine.csv")
    assert parts_of(task) == ("train", "select", "test")
    parts = {part: read_part(task, part) for part in ("train", "select", "test")}
    assert sum(map(len, parts.values())) == 200
    groups = [{example.group for example in examples} for examples in parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 100
    assert len(parts["train"]) > len(parts["test"]) > len(parts["select"]) > 0
    assert read_part(task, "test") == parts["test"]
    race = tmp_path / "race.jsonl"  # has a part to choose by where it has a file for each
    write_jsonl(race, [{**NESTED["race_high"][0], "article": f"a {k}"} for k in range(40)])
    parts = {part: read_part(load_task("race_high", race), part) for part in ("train", "select", "test")}
    assert sorted(e.texts[0] for part in parts.values() for e in part) == sorted(f"a {k}" for k in range(40))
    write_csv(tmp_path / "ax.csv", rows[:6])
    assert len(read_part(load_task("ax", tmp_path / "ax.csv"), "server")) == 6


def test_questions_on_one_context_lie_in_one_part_and_the_training_part_has_every_class(tmp_path: Path) -> None:
    spec = {"title": "t", "kind": "span", "metrics": ["answer_f1"], "files": {"train": "train.jsonl"},
            "fields": {"texts": ["question", "context"], "label": "answer"}}  # fmt: skip
    (tmp_path / "asked.yaml").write_text(json.dumps(spec))
    rows = [{"question": f"q{k}", "context": f"{k // 6} says yes", "answer": "yes"} for k in range(240)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    task = load_task(str(tmp_path / "asked.yaml"))
    contexts = [{example.texts[1] for example in read_part(task, part)} for part in ("train", "select", "test")]
    assert sum(map(len, contexts)) == len(set.union(*contexts)) == 40
    spec |= {"kind": "single", "classes": ["a", "b", "c"], "metrics": ["accuracy"], "fields": {"texts": "text"}}
    (tmp_path / "rare.yaml").write_text(json.dumps(spec))
    rows = [{"text": f"{k}", "label": "ab"[k % 2]} for k in range(30)]
    kept = []
    for rare in range(30):  # one row of class c, in training or not
        write_jsonl(tmp_path / "train.jsonl", [*rows[:rare], {**rows[rare], "label": "c"}, *rows[rare + 1 :]])
        task = load_task(str(tmp_path / "rare.yaml"))
        if any(example.target == 2 for part in ("select", "test") for example in read_part(task, part)):
            with pytest.raises(TaskError, match="no training example of c"):
                read_part(task, "train")
        else:
            kept.append(rare)
            assert any(example.target == 2 for example in read_part(task, "train"))
    assert 10 < len(kept) < 28


def hub_folder(folder: Path, names: Sequence[str]) -> Path:
    """A data set as a hub has it: label numbers, whose names the file's metadata hold."""
    import datasets

    numbers = [{**row, "label": names.index(row["label"]), "idx": k} for k, row in enumerate(ROWS)]
    features = datasets.Features(
        {"sentence1": datasets.Value("string"), "sentence2": datasets.Value("string"),
         "label": datasets.ClassLabel(names=list(names)), "idx": datasets.Value("int64")}
    )  # fmt: skip
    folder.mkdir()
    for split in ("train", "validation"):
        datasets.Dataset.from_list(numbers, features=features).to_parquet(folder / f"{split}.parquet")
    hidden = [{**row, "label": -1} for row in numbers]
    datasets.Dataset.from_list(hidden, features=features).to_parquet(folder / "test.parquet")
    return folder


@pytest.mark.parametrize("names", [["entailment", "not_entailment"], ["not_entailment", "entailment"]])
def test_a_hubs_data_set_whatever_its_order_of_labels(tmp_path: Path, names: list[str]) -> None:
    task = load_task("rte")
    assert task.hub is not None
    hub = task.hub.model_copy(update={"path": str(hub_folder(tmp_path / "hub", names)), "config": None})
    task = task.model_copy(update={"hub": hub})
    assert texts_of(task, "test") == [
        ((row["sentence1"], row["sentence2"]), ["entailment", "not_entailment"].index(row["label"])) for row in ROWS
    ]
    assert [example.id for example in read_part(task, "server")] == [str(k) for k in range(40)]
    assert len(read_part(task, "train")) + len(read_part(task, "select")) == 40


def test_a_hub_that_cannot_be_reached() -> None:
    with pytest.raises(TaskError, match=r"the data set nyu-mll/glue, rte cannot be loaded: .*--data FOLDER"):
        read_part(load_task("rte"), "test")


NESTED = {
    "squad": [{"id": "x", "title": "t", "context": "Ada lit it.", "question": "Who?",
               "answers": {"text": ["Ada"], "answer_start": [0]}}],
    "multirc": [{"paragraph": "p", "question": "q", "answer": "a", "label": 1,
                 "idx": {"paragraph": 3, "question": 4, "answer": 5}}],
    "record": [{"passage": "Ann saw Bob", "query": "@placeholder saw", "entities": ["Ann", "Bob"], "answers": ["Ann"],
                "idx": {"passage": 1, "query": 2}}],
    "wsc": [{"text": "Ann saw her", "span1_index": 0, "span1_text": "Ann", "span2_index": 2, "span2_text": "her",
             "label": 0, "idx": 0}],
    "race_high": [{"example_id": "h", "article": "a", "question": "q", "options": ["w", "x", "y", "z"], "answer": "C"}],
}  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", NESTED)
def test_rows_as_the_hub_has_them(tmp_path: Path, name: str, ending: str) -> None:
    WRITERS[ending](tmp_path / f"validation.{ending}", NESTED[name])
    WRITERS[ending](tmp_path / f"test.{ending}", NESTED[name])
    (example,) = read_part(load_task(name, tmp_path), "test")
    wanted = {
        "squad": (("Who?", "Ada lit it."), (("Ada", 0),), "x"),
        "multirc": (("p", "q a"), 1.0, "3-4-5"),
        "record": (("Ann saw Bob", "Ann saw", "Bob saw"), 0.0, "2"),
        "wsc": (('"Ann" saw "her"',), 0.0, "0"),
        "race_high": (("a", "q w", "q x", "q y", "q z"), 2.0, "h"),
    }
    assert (example.texts, example.target, example.id) == wanted[name]


BAD_ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("rte", {"premise": "a", "sentence2": "b", "label": 0},
     r"row 1: no column sentence1 \(found: premise, sentence2, label\)"),
    ("mnli", {"hypothesis": "b", "label": 0}, r"row 1: no column premise or sentence1 \(found: hypothesis, label\)"),
    ("rte", {"sentence1": "a", "sentence2": "b"}, r"row 1: no column label \(found: sentence1, sentence2\)"),
    ("rte", {"sentence1": "a", "sentence2": "b", "label": "maybe"},
     "row 1: unknown label 'maybe'; accepted: entailment, not_entailment or 0 to 1"),
    ("rte", {"sentence1": "a", "sentence2": "b", "label": 2}, "row 1: unknown label '2'; accepted: entailment"),
    ("rte", {"sentence1": "a", "sentence2": "b", "label": 0.5}, "row 1: unknown label '0.5'; accepted: entailment"),
    ("rte", {"sentence1": "a", "sentence2": "b", "label": -1}, "row 1: no label; accepted: labelled examples, or"),
    ("rte", {"sentence1": "a", "sentence2": "b", "label": None}, "row 1: no label; accepted: labelled examples, or"),
    ("rte", {"sentence1": 5, "sentence2": "b", "label": 1}, "row 1: found 5 for a text; accepted: text"),
    ("stsb", {"sentence1": "a", "sentence2": "b", "label": "much"},
     "row 1: the label 'much' is no number; accepted: a rating"),
    ("stsb", {"sentence1": "a", "sentence2": "b", "label": None}, "row 1: no label"),
    ("copa", {"premise": "a", "question": "cause", "choice1": "b", "label": 0}, "row 1: no column choice2"),
    ("copa", {"premise": "a", "question": "why", "choice1": "b", "choice2": "c", "label": 0},
     r"row 1: not laid out as copa is: KeyError\('why'\)"),
    ("copa", {"choice1": "b", "choice2": "c", "label": 0}, r"row 1: no column premise \(found: choice1"),
    ("wic", {"sentence1": "b", "sentence2": "c", "label": True}, r"row 1: no column start1 \(found: sentence1"),
    ("race_high", {**NESTED["race_high"][0], "answer": "E"}, "row 1: unknown label 'E'; accepted: A, B, C, D or 0"),
    ("race_high", {**NESTED["race_high"][0], "options": ["w", "x"]}, "unknown label 'C'; accepted: A, B or 0 to 1"),
    ("squad", {**NESTED["squad"][0], "answers": {"text": [], "answer_start": []}},
     "row 1: a question without an answer; accepted: one with an answer, or a task with answerable: true"),
    ("squad", {**NESTED["squad"][0], "answers": {"text": ["Ada"], "answer_start": [90]}},
     "row 1: the answer 'Ada' does not lie in its context at character 90"),
    ("stsb", {"sentence1": "a", "sentence2": "b", "label": "inf"}, "row 1: the label 'inf' is not finite"),
    ("squad", {**NESTED["squad"][0], "answers": {"text": ["Ada"], "answer_start": [7]}},
     "row 1: the answer 'Ada' does not lie in its context at character 7; characters count from 0"),
    ("squad", {**NESTED["squad"][0], "answers": {"text": ["Ada"]}},
     r"row 1: not laid out as kind span is: KeyError\('answer_start'\)"),
    ("squad", {**NESTED["squad"][0], "answers": ["Ada"]}, "row 1: not laid out as kind span is: TypeError"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "message"), BAD_ROWS)
def test_bad_rows(tmp_path: Path, name: str, row: dict[str, Any], message: str) -> None:
    for stem in ("validation", "validation_matched", "test"):
        write_jsonl(tmp_path / f"{stem}.jsonl", [row])
    with pytest.raises(TaskError, match=message):
        read_part(load_task(name, tmp_path), "test")


@pytest.mark.parametrize(
    ("classes", "label", "number"),
    [
        (["no", "yes"], "yes", 1), (["no", "yes"], 1, 1), (["no", "yes"], "1", 1), (["no", "yes"], 1.0, 1),
        (["1", "2", "3"], 1, 0), (["1", "2", "3"], "3", 2), (["1", "2", "3"], 2.0, 1), (["-1", "1"], -1, 0),
        (["1", "2", "3"], 0, None), (["no", "yes"], True, None), (["no", "yes"], 10**30, None),
    ],
)  # fmt: skip
def test_labels_are_names_before_they_are_numbers(
    tmp_path: Path, classes: list[str], label: Any, number: int | None
) -> None:
    write_jsonl(tmp_path / "test.jsonl", [{"sentence": "a", "label": label}])
    task = load_task("cola", tmp_path).model_copy(update={"classes": tuple(classes), "files": {"test": ("test",)}})
    if number is None:
        with pytest.raises(TaskError, match=f"unknown label '{label}'; accepted: {', '.join(classes)}"):
            read_part(task, "test")
    else:
        assert [example.target for example in read_part(task, "test")] == [number]


@pytest.mark.parametrize("missing", [None, "", "-", -1, -1.0, float("nan")])
def test_labels_that_are_none(tmp_path: Path, missing: Any) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [{"sentence": "a", "label": missing}])
    with pytest.raises(TaskError, match="row 1: no label"):
        read_part(load_task("cola", tmp_path), "test")


def test_no_group_and_no_title_is_no_group_of_its_own(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [{"word": None, **row} for row in NESTED["wsc"]])
    assert read_part(load_task("wsc", tmp_path), "test")[0].group == "Ann saw her"
    question = {"id": "x", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    articles = [{"paragraphs": [{"context": "Ada lit it.", "qas": [question]}]}]
    (tmp_path / "dev-v1.1.json").write_text(json.dumps({"version": "1.1", "data": articles}))
    assert read_part(load_task("squad", tmp_path), "test")[0].group == "Ada lit it."


def test_an_empty_part(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n")
    with pytest.raises(TaskError, match="task 'rte': the part 'test' is empty; accepted: at least one example in"):
        read_part(load_task("rte", tmp_path), "test")


def test_pairs_of_genders_are_even(tmp_path: Path) -> None:
    row = {"premise": "She slept.", "hypothesis": "The nurse slept.", "label": "entailment"}
    write_jsonl(tmp_path / "AX-g.jsonl", [{**row, "idx": n} for n in range(3)])
    with pytest.raises(TaskError, match="task 'axg': 3 examples of 'test'; accepted: an even number"):
        read_part(load_task("axg", tmp_path), "test")


def test_a_class_that_no_training_example_has(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS[::2])
    with pytest.raises(TaskError, match="task 'rte': no training example of not_entailment; accepted: examples of"):
        read_part(load_task("rte", tmp_path), "train")


def test_too_few_groups_to_choose_by(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{**row, "sentence1": "one"} for row in ROWS])
    with pytest.raises(TaskError, match="none of 40 training examples fell into 'select', which is cut from them"):
        read_part(load_task("rte", tmp_path), "select")


def test_local_data_need_not_hold_what_only_a_server_can_score(tmp_path: Path) -> None:
    for stem in ("train", "dev"):
        write_jsonl(tmp_path / f"{stem}.jsonl", ROWS)
    assert parts_of(load_task("rte", tmp_path)) == ("train", "select", "test")
    write_jsonl(tmp_path / "test.jsonl", ROWS)
    assert parts_of(load_task("rte", tmp_path)) == ("train", "select", "test", "server")
    with pytest.raises(TaskError, match="accepted: diagnostic or AX or test, as a folder"):
        read_part(load_task("ax", tmp_path / ".."), "server")


def test_a_missing_file_and_a_missing_part(tmp_path: Path) -> None:
    write_csv(tmp_path / "mine.csv", ROWS)
    with pytest.raises(TaskError, match=r"found mine\.csv; accepted: dev or validation, as a folder or with an ending"):
        read_part(load_task("rte", tmp_path), "test")
    with pytest.raises(TaskError, match="no such file or folder; accepted: the data of task 'rte'"):
        load_task("rte", tmp_path / "nowhere")
    with pytest.raises(TaskError, match="task 'ax' has no part 'train'; accepted: server"):
        read_part(load_task("ax"), "train")
    with pytest.raises(TaskError, match="task 'sms_spam' is embedded and reads no other data"):
        load_task("sms_spam", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dev.jsonl", b"{", r"dev\.jsonl: cannot be read as jsonl: Expecting"),
        ("dev.json", b"{", r"dev\.json: cannot be read as json: Expecting"),
        ("dev.parquet", b"no parquet", r"dev\.parquet: cannot be read as parquet"),
        (
            "dev.csv",
            b"sentence1,sentence2,label\na,b,0,d\n",
            r"dev\.csv: .*more cells than the header has, from 'd' on",
        ),
        ("dev.tsv", b"sentence1\tsentence2\xff\n", r"dev\.tsv: not UTF-8 text"),
        ("dev.jsonl", b"[1, 2]\n", r"dev\.jsonl: row 1: found list; accepted: named columns"),
    ],
)
def test_files_that_are_not_what_they_say(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=message):
        read_part(load_task("rte", tmp_path), "test")


def test_other_endings(tmp_path: Path) -> None:
    (tmp_path / "mine.xls").write_bytes(b"x")
    with pytest.raises(
        TaskError, match=r"mine\.xls: unknown ending; accepted: \.csv, \.tsv, \.jsonl, \.json, \.parquet"
    ):
        read_part(load_task("rte", tmp_path / "mine.xls"), "train")
    (tmp_path / "dev" / "high").mkdir(parents=True)
    with pytest.raises(TaskError, match=r"dev/high: holds no file that ends in \.json or \.txt"):
        read_part(load_task("race_high", tmp_path), "select")


def test_broken_lines_are_left_out_where_the_benchmark_does(tmp_path: Path) -> None:
    lines = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\ta\tb\t1\n2\t3\t4\tcut\n3\t5\t6\tc\td\t0\n"
    (tmp_path / "dev.tsv").write_text(lines)
    assert [e.id for e in read_part(load_task("qqp", tmp_path), "test")] == ["1", "3"]
    strict = load_task("qqp", tmp_path).model_copy(update={"skip_broken": False})
    with pytest.raises(TaskError, match=r"row 2: no column question2 \(found: id, qid1, qid2, question1\)"):
        read_part(strict, "test")
