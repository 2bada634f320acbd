"""The shipped tasks, a user's own, and what is not accepted."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas_ray import api, data, tasks
from nas_ray.data import LABELLED, LabelledSet
from nas_ray.errors import SpecError, TaskError
from nas_ray.tasks import _parts as module
from nas_ray.tasks import catalogue, encode, load_task, parts_of, predict, read_part, score, write_predictions
from tests.tasks.logits import perfect_logits
from tests.tiny_trial import nas_ray

GLUE = "cola sst2 mrpc stsb qqp mnli mnli_mismatched qnli rte wnli ax"
SUPERGLUE = "boolq cb copa multirc record superglue_rte wic wsc axb axg"


def write_task(folder: Path, **changes: Any) -> str:
    spec = {
        "kind": "single", "classes": ["bad", "good"], "metrics": ["accuracy"], "files": {"train": "data.jsonl"},
        "fields": {"texts": ["text"], "label": "label"},
    }  # fmt: skip
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**spec, **changes}))
    return str(file)


def write_rows(folder: Path, rows: list[dict[str, Any]], name: str = "data.jsonl") -> None:
    (folder / name).write_text("\n".join(map(json.dumps, rows)))


def test_all_benchmarks_are_there() -> None:
    found = {group: {name for name, spec in catalogue().items() if spec.group == group} for group in (
        "embedded", "GLUE", "SuperGLUE", "SQuAD", "RACE"
    )}  # fmt: skip
    assert found["embedded"] == set(LABELLED)
    assert found["GLUE"] == set(GLUE.split())
    assert found["SuperGLUE"] == set(SUPERGLUE.split())
    assert (found["SQuAD"], found["RACE"]) == ({"squad", "squad_v2"}, {"race_middle", "race_high"})
    assert sum(map(len, found.values())) == len(catalogue())


def test_metrics_are_those_of_the_benchmarks() -> None:
    odd = {
        "cola": "matthews", "stsb": "spearman pearson", "mrpc": "accuracy f1", "qqp": "accuracy f1", "ax": "matthews",
        "cb": "macro_f1 accuracy", "multirc": "f1 question_match", "record": "answer_f1 answer_match",
        "axb": "matthews", "axg": "accuracy gender_parity", "squad": "answer_f1 answer_match",
        "squad_v2": "answer_f1 answer_match", "sms_spam": "f1 accuracy",
    }  # fmt: skip
    for name, spec in catalogue().items():
        default = "spearman pearson" if spec.kind == "regression" else "accuracy"
        assert " ".join(spec.metrics) == odd.get(name, default), name
    assert [name for name, spec in catalogue().items() if spec.extra_layer] == ["cola"]
    assert [name for name, spec in catalogue().items() if spec.answerable] == ["squad_v2"]
    assert {n: s.trained_on for n, s in catalogue().items() if s.trained_on} == {
        "ax": "mnli", "axb": "superglue_rte", "axg": "superglue_rte"
    }  # fmt: skip


def test_embedded_parts_are_those_of_the_labelled_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes by name: a file whose classes come in another order gives the same numbers."""
    made = tuple(data.Example(f"text {k}", float(k % 2), f"group {k}") for k in range(200))
    monkeypatch.setattr(module, "labelled", lambda name: LabelledSet(name, ("HUM", "DESC"), made))
    task = load_task("question_type")
    parts = {part: read_part(task, part) for part in parts_of(task)}
    assert tuple(parts) == ("train", "select", "test")
    assert sum(map(len, parts.values())) == 200
    assert {e.texts[0] for e in parts["test"]} == {e.text for e in made if e.split == "test"}
    assert {e.texts[0] for e in parts["select"]} == {e.text for e in made if e.split in ("calibrate", "select")}
    for example in parts["train"]:
        assert task.classes[int(example.target)] == ("HUM", "DESC")[int(example.id) % 2]  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="task 'question_type' has no part 'server'; accepted: train, select, test"):
        read_part(task, "server")


@pytest.mark.parametrize(
    ("name", "near"), [("colla", "cola"), ("sst-2", "sst2"), ("movie_sentiments", "movie_sentiment")]
)
def test_a_misspelt_name(name: str, near: str) -> None:
    with pytest.raises(TaskError, match=f"unknown task '{name}'; known: amazon_rating, .*Did you mean '{near}'?"):
        load_task(name)


def test_tasks_travel_between_processes() -> None:
    task = load_task("mnli")
    assert pickle.loads(pickle.dumps(task)) == task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "singel"}, r"kind: unknown value 'singel'; known: choice, pair.*Did you mean 'single'"),
        ({"clases": []}, r"clases: unknown key 'clases'; known: .*Did you mean 'classes'"),
        ({"fields": {"text": ["text"]}}, r"fields\.text"),
        ({"metrics": ["acuracy"]}, r"metrics\.0: unknown value 'acuracy'.*Did you mean 'accuracy'"),
        ({"metrics": ["pearson"]}, "kind single has no metric 'pearson'; accepted: accuracy, f1, macro_f1, matthews"),
        ({"classes": ["one"]}, "kind single needs classes: at least two names, each once"),
        ({"classes": ["one", "one"]}, "kind single needs classes: at least two names, each once"),
        ({"metrics": ["f1"], "classes": ["a", "b", "c"]}, "the metric f1 needs two classes"),
        ({"files": {}}, "nothing says where examples come from; accepted: files, hub"),
        ({"files": {"dev": "x"}}, r"files\.dev: unknown key 'dev'; known: select, server, test, train"),
        ({"fields": None}, "the key fields is missing"),
        ({"kind": "pair"}, "fields.texts names 1 columns; kind pair reads 2"),
        ({"kind": "choice", "classes": []}, "fields.options: kind choice needs them, and no other has them"),
        ({"classes": [True, False]}, "YAML reads yes, no, on, off, true and false as truth values"),
        (
            {"kind": "pair", "fields": {"texts": ["a", "b"], "label": "label"}, "metrics": ["question_match"]},
            "the metric question_match needs fields.id",
        ),
        ({"kind": "choice", "metrics": ["answer_f1"]}, "the options have no names to compare answers with"),
    ],
)
def test_what_a_task_file_may_not_say(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_task(write_task(tmp_path, **changes))


def test_a_task_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file; accepted: a YAML file that describes a task"):
        load_task(str(tmp_path / "none.yaml"))


WORDS = ["the", "old", "ship", "lamp", "island", "harbour"]
OWN: dict[str, tuple[dict[str, Any], Any]] = {
    "single": ({}, lambda k: {"text": f"{WORDS[k % 6]} {k}", "label": ["bad", "good"][k % 2]}),
    "pair": (
        {"fields": {"texts": ["a", "b"], "label": "label", "group": "a"}},
        lambda k: {"a": f"{WORDS[k % 6]} {k}", "b": "left", "label": k % 2},
    ),
    "regression": (
        {"classes": [], "metrics": ["spearman"]},
        lambda k: {"text": f"{WORDS[k % 6]} {k}", "label": k / 7},
    ),
    "choice": (
        {"classes": [], "fields": {"texts": ["text"], "options": "options", "label": "label"}},
        lambda k: {"text": f"ask {k}", "options": WORDS[: 2 + k % 3], "label": k % 2},
    ),
    "span": (
        {"classes": [], "metrics": ["answer_match"], "answerable": True,
         "fields": {"texts": ["asked", "text"], "label": "answer", "group": "asked"}},
        lambda k: {"asked": f"which {k}", "text": " ".join(WORDS), "answer": WORDS[k % 6] if k % 4 else ""},
    ),
    "token": (
        {"fields": {"texts": ["words"], "label": "tags"}},
        lambda k: {"words": [*WORDS, str(k)], "tags": ["good" if n % 2 else "bad" for n in range(7)]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OWN)
def test_a_users_task_of_every_kind(tmp_path: Path, bert_tokenizer: Any, kind: str) -> None:
    changes, row = OWN[kind]
    task = load_task(write_task(tmp_path, kind=kind, **changes))
    write_rows(tmp_path, [row(k) for k in range(80)])
    assert parts_of(task) == ("train", "select", "test")  # one file is cut
    examples = read_part(task, "test")
    encoded = encode(task, examples, bert_tokenizer)
    logits = perfect_logits(task, encoded)
    assert score(task, examples, logits, encoded) == pytest.approx({task.metrics[0]: 1.0})
    lines = write_predictions(task, examples, predict(task, examples, logits, encoded), tmp_path).read_text()
    if kind == "span":  # answers may hold tabs and ends of lines
        assert json.loads(lines).keys() == {example.id for example in examples}
        return
    assert lines.startswith("index\tprediction\n")
    assert lines.count("\n") == len(examples) + 1
    if kind == "token":
        assert lines.endswith("\tbad good bad good bad good bad\n")


def test_tables_of_words_and_of_answers(tmp_path: Path) -> None:
    """A table's cells hold words between spaces, an answer with its place, and options by columns."""
    (tmp_path / "data.csv").write_text("text,label\nan old ship,bad good good\nlamp,bad\n")
    words = load_task(write_task(tmp_path, kind="token", files={"train": "data", "test": "data"}))
    assert [(e.texts, e.target) for e in read_part(words, "test")[:2]] == [
        (("an", "old", "ship"), (0, 1, 1)), (("lamp",), (0,))
    ]  # fmt: skip
    (tmp_path / "data.csv").write_text("q,c,answer,at\nwho?,Bob and Bob,Bob,8\nwho?,Bob and Bob,Bob,\n")
    fields = {"texts": ["q", "c"], "label": "answer", "start": "at"}
    changes = {"classes": [], "metrics": ["answer_f1"], "files": {"train": "data", "test": "data"}}
    spans = load_task(write_task(tmp_path, kind="span", fields=fields, **changes))
    assert [e.target for e in read_part(spans, "test")] == [(("Bob", 8),), (("Bob", 0),)]
    (tmp_path / "data.csv").write_text("q,x,y,answer\nwhich?,ship,lamp,B\n")
    fields = {"texts": ["q"], "options": ["x", "y"], "label": "answer"}
    changes |= {"classes": ["A", "B"], "metrics": ["accuracy"]}
    choice = load_task(write_task(tmp_path, kind="choice", fields=fields, **changes))
    assert [(e.texts, e.target) for e in read_part(choice, "test")] == [(("which?", "ship", "lamp"), 1)]
    (tmp_path / "data.csv").write_text('q,o,answer\nwhich?,"[""ship"", ""lamp""]",B\n')
    listed = load_task(write_task(tmp_path, kind="choice", fields=fields | {"options": "o"}, **changes))
    assert [e.texts for e in read_part(listed, "test")] == [("which?", "ship", "lamp")]
    (tmp_path / "data.csv").write_text('q,o,answer\nwhich?,"""ship""",A\n')
    with pytest.raises(TaskError, match="row 1: found 'ship' for the options; accepted: a list of texts"):
        read_part(listed, "test")


def test_an_answer_that_is_not_where_it_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("q,c,answer,at\nwho?,Bob and Ann,Ann,9\n")
    spans = load_task(
        write_task(
            tmp_path, kind="span", fields={"texts": ["q", "c"], "label": "answer", "start": "at"}, classes=[],
            metrics=["answer_f1"], files={"train": "data", "test": "data"},
        )
    )  # fmt: skip
    with pytest.raises(TaskError, match="row 1: the context has 'nn' at character 9, not 'Ann'; characters count"):
        read_part(spans, "test")


def test_the_task_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    (tmp_path / "tickets.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    teams = ("billing", "shipping", "other")
    rows = "".join(f'"a letter, {k}",{teams[k % 3]},customer {k // 2}\n' for k in range(90))
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,team,customer\n{rows}")
    task = load_task(str(tmp_path / "tickets.yaml"))
    parts = {part: read_part(task, part) for part in parts_of(task)}
    assert tuple(parts) == ("train", "select", "test")
    assert len(parts["train"]) + len(parts["select"]) == len(parts["test"]) == 90
    assert parts["test"][4].texts == ("a letter, 4",)
    assert (parts["test"][4].target, parts["test"][4].group) == (1, "customer 2")


def test_words_and_labels_of_different_number(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"text": "an old ship", "label": "bad good"}])
    task = load_task(write_task(tmp_path, kind="token"))
    with pytest.raises(TaskError, match=r"row 1: 2 labels for 3 words; accepted: one a word"):
        read_part(task, "train")


def test_public_names_are_sorted_and_there() -> None:
    names = tasks.__all__
    assert list(names) == sorted(names, key=lambda name: (name[0].islower(), name))
    assert all(hasattr(tasks, name) for name in names)


def test_the_command_lists_all_and_shows_one(tmp_path: Path) -> None:
    listed = nas_ray("tasks")
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in catalogue())
    assert "392,702" in listed.stdout
    found = {task["name"]: task for task in json.loads(nas_ray("tasks", "--json").stdout)}
    assert list(found) == list(catalogue())
    assert found["record"]["metrics"] == ["answer_f1", "answer_match"]
    assert found["squad"]["parts"] == ["train", "select", "test"]
    assert (found["ax"]["source"], found["ax"]["sizes"]) == ("nyu-mll/glue, ax", {"server": 1104})
    one = nas_ray("tasks", "cola").stdout
    assert "CoLA.tsv" in one
    assert "index|idx" in one
    wrong = nas_ray("tasks", "colla")
    assert (wrong.returncode, "Did you mean 'cola'?" in wrong.stderr) == (2, True)
    own = nas_ray("tasks", write_task(tmp_path))
    assert str(tmp_path) in own.stdout.replace("\n", "")


def test_check_takes_task_files(tmp_path: Path) -> None:
    found = api.check(write_task(tmp_path)).splitlines()
    assert found[0].endswith("mine.yaml: task 'mine', kind single")
    assert found[1] == "  metrics accuracy; parts train, select, test"
    assert found[2].endswith(f"({tmp_path}), and were not checked")
    write_rows(tmp_path, [OWN["single"][1](k) for k in range(100)])
    sizes = [int(word.split()[1]) for word in api.check(write_task(tmp_path)).splitlines()[2][11:].split(", ")]
    assert (len(sizes), sum(sizes)) == (3, 100)
    write_rows(tmp_path, [{"text": "the", "label": "godo"}])
    with pytest.raises(TaskError, match="row 1: unknown label 'godo'; accepted: bad, good"):
        api.check(write_task(tmp_path))
    with pytest.raises(SpecError, match="unknown value 'singel'"):
        api.check(write_task(tmp_path, kind="singel"))


def test_a_tab_in_a_text_of_ones_own_is_told(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path, files={"train": "train.tsv"}))
    (tmp_path / "train.tsv").write_text("text\tlabel\nthe ship\tgood\nthe\told ship\tbad\n")
    with pytest.raises(TaskError, match=r"train\.tsv: .*more cells than the header has, from 'bad' on"):
        read_part(task, "train")


def test_numbers_are_names_of_classes(tmp_path: Path) -> None:
    assert load_task(write_task(tmp_path, classes=[1, 2])).classes == ("1", "2")


def test_targets_of_numpy(bert_tokenizer: Any, tmp_path: Path) -> None:
    """Predictions are plain Python, so that they can be written and compared."""
    write_rows(tmp_path, [OWN["choice"][1](k) for k in range(60)])
    task = load_task(write_task(tmp_path, kind="choice", **OWN["choice"][0]))
    examples = read_part(task, "train")
    encoded = encode(task, examples, bert_tokenizer)
    predictions = predict(task, examples, np.float32(perfect_logits(task, encoded)), encoded)
    assert {type(prediction) for prediction in predictions} == {int}
