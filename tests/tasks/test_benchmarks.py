"""Every shipped task, from small files of its real layout to scores and the file for its server."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nas_ray.spec import Part
from nas_ray.tasks import (
    Example,
    add_to_archive,
    catalogue,
    choose_threshold,
    encode,
    load_task,
    parts_of,
    predict,
    read_part,
    score,
    span_answers,
    write_predictions,
)
from tests.tasks.benchmark_files import CONTEXT, ROWS, data_of
from tests.tasks.logits import perfect_logits

BENCHMARKS = [name for name, spec in catalogue().items() if spec.embedded is None]
LABELLED: tuple[Part, ...] = ("train", "select", "test")
TIMES = {"multirc": 6, "race_middle": 1, "race_high": 1}  # examples a row of the files; RACE: two of half as many


def read(benchmarks: Path, name: str, part: Part) -> tuple[Example, ...]:
    return read_part(load_task(name, data_of(benchmarks, name)), part)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_parts_are_whole_and_no_group_lies_in_two(benchmarks: Path, name: str) -> None:
    task = load_task(name, data_of(benchmarks, name))
    parts = {part: read_part(task, part) for part in parts_of(task)}
    assert set(parts) - {"select"} == set(task.sizes) - {"select"}
    if "train" in parts and not name.startswith(("race", "squad")):
        times = TIMES.get(name, 1)
        assert len(parts["train"]) + len(parts["select"]) == times * ROWS["train"]
        assert (len(parts["test"]), len(parts["server"])) == (times * ROWS["dev"], times * ROWS["test"])
        assert not {e.group for e in parts["train"]} & {e.group for e in parts["select"]}
        assert not {e.id for e in parts["train"]} & {e.id for e in parts["select"]}
    for part, examples in parts.items():
        assert all((example.target is None) == (part == "server") for example in examples)
        assert len({example.id for example in examples}) == len(examples)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_files_to_scores_and_the_servers_file(
    benchmarks: Path, tmp_path: Path, bert_tokenizer: Any, name: str
) -> None:
    task = load_task(name, data_of(benchmarks, name))
    reported: Part = "test" if "test" in parts_of(task) else "server"
    examples = read_part(task, reported)
    encoded = encode(task, examples, bert_tokenizer)
    logits = perfect_logits(task, encoded)
    if reported == "test":
        found = score(task, examples, logits, encoded)
        assert list(found) == list(task.metrics)
        assert list(found.values()) == pytest.approx([1.0] * len(found))
    file = write_predictions(task, examples, predict(task, examples, logits, encoded), tmp_path)
    assert task.predictions is not None
    assert file.name == task.predictions.file
    assert file.read_text()


def test_labels_have_the_hubs_order(benchmarks: Path) -> None:
    """The order in which the hub numbers them: MNLI's is not the alphabet's, nor is CB's."""
    order = {
        "cola": "unacceptable acceptable", "sst2": "negative positive", "mrpc": "not_equivalent equivalent",
        "qqp": "not_duplicate duplicate", "mnli": "entailment neutral contradiction",
        "mnli_mismatched": "entailment neutral contradiction", "qnli": "entailment not_entailment",
        "rte": "entailment not_entailment", "wnli": "not_entailment entailment",
        "ax": "entailment neutral contradiction", "boolq": "False True",
        "cb": "entailment contradiction neutral", "superglue_rte": "entailment not_entailment",
        "wic": "False True", "wsc": "False True", "multirc": "False True",
        "axb": "entailment not_entailment", "axg": "entailment not_entailment",
    }  # fmt: skip
    found = {name: " ".join(catalogue()[name].classes) for name in BENCHMARKS if catalogue()[name].classes}
    assert {name: text for name, text in found.items() if not name.startswith("race")} == order
    assert [e.target for e in read(benchmarks, "mnli", "test")] == [0, 1, 2, 0, 1, 2]  # by names, in that order
    assert [e.target for e in read(benchmarks, "cb", "test")] == [2, 0, 1, 2, 0, 1]  # neutral entailment ...
    assert [e.target for e in read(benchmarks, "boolq", "test")] == [0, 1, 0, 1, 0, 1]  # JSON's false and true
    assert [e.target for e in read(benchmarks, "wnli", "test")] == [0, 1, 0, 1, 0, 1]  # numbers
    assert [e.target for e in read(benchmarks, "stsb", "test")] == [0, 1, 2, 3, 4, 5]


def test_glue_texts(benchmarks: Path) -> None:
    for name in ("cola", "sst2", "mrpc", "mnli", "qqp"):
        for part in ("test", "server"):
            first = read(benchmarks, name, part)[1]
            assert first.texts[0] == 'He said "no, the ship number b left the harbour'  # the quotation mark as it is
            assert first.id == "1"
    assert read(benchmarks, "mrpc", "test")[0].texts[1] == "The boat left."


def test_copa_asks(benchmarks: Path) -> None:
    cause, effect = read(benchmarks, "copa", "test")[:2]
    assert cause.texts[0].endswith("What was the cause of this?")
    assert effect.texts == (
        'He said "no, the ship number b left the harbour What happened as a result?', "It rained.", "It was sold."
    )  # fmt: skip


def test_word_spans_are_marked(benchmarks: Path) -> None:
    assert read(benchmarks, "wic", "test")[0].texts == ('the "bank" of a river', 'a "bank" lent money')
    text = '"Mark" told Pete many lies about himself, number 0, and "he" knew.'
    assert read(benchmarks, "wsc", "test")[0].texts == (text,)


def test_record_and_race_options(benchmarks: Path) -> None:
    record = read(benchmarks, "record", "test")[0]
    assert record.texts == ("Anna Lee met Bob in 0 towns. Bob left Anna Lee", "Anna Lee left", "Bob left")
    assert (record.names, record.answers, record.target, record.id) == (("Anna Lee", "Bob"), ("Bob",), 1, "1000")
    gap, plain = read(benchmarks, "race_middle", "test")[:2]
    assert gap.texts[1:] == ("The ship is old .", "The ship is new .", "The ship is red .", "The ship is gone .")
    assert plain.texts[1] == "What left? a ship"
    assert (gap.target, plain.target, gap.names) == (0, 3, ("A", "B", "C", "D"))
    assert (gap.id, plain.id) == ("middle0.txt", "middle0.txt-1")


def test_squad_answers(benchmarks: Path) -> None:
    one, two = read(benchmarks, "squad", "test")[:2]
    assert one.texts == ("Who lit it?", CONTEXT)
    assert one.target == (("Ada", 20),)
    assert two.target == (("Ada", 20), ("by Ada", 17))
    none, one = read(benchmarks, "squad_v2", "test")[:2]
    assert (none.target, len(one.target or ())) == ((), 2)  # type: ignore[arg-type]


def test_the_null_threshold_comes_from_select(benchmarks: Path, bert_tokenizer: Any) -> None:
    """A model that is sure of its answers but says too seldom that there is none."""
    task = load_task("squad_v2", data_of(benchmarks, "squad_v2"))
    scores = {}
    for part in ("select", "test"):
        examples = read_part(task, part)
        encoded = encode(task, examples, bert_tokenizer)
        logits = perfect_logits(task, encoded)
        logits[:, 0] -= 2.0  # of the null score
        logits[:, 25] += 0.6  # some span is always liked
        if part == "select":
            answers = span_answers(examples, logits, encoded)
            threshold = choose_threshold(examples, answers, task.metrics[0])
        scores[part] = [score(task, examples, logits, encoded, threshold=t)["answer_f1"] for t in (99.0, threshold)]
    assert scores["select"][1] == scores["test"][1] == 1.0
    assert scores["test"][0] == pytest.approx(4 / 6)
    examples = read_part(load_task("squad", data_of(benchmarks, "squad")), "test")
    plain = load_task("squad")
    encoded = encode(plain, examples, bert_tokenizer)
    logits = perfect_logits(plain, encoded)
    logits[:, 0] = 50.0
    assert predict(plain, examples, logits, encoded) == ("Ada",) * 6  # version 1.1 always answers


def test_prediction_files(benchmarks: Path, tmp_path: Path) -> None:
    """Against files written by hand as the servers' own examples are."""
    wanted = {
        ("cola", (1, 0)): "index\tprediction\n0\t1\n1\t0\n",
        ("mnli", (2, 0)): "index\tprediction\n0\tcontradiction\n1\tentailment\n",
        ("ax", (1, 2)): "index\tprediction\n0\tneutral\n1\tcontradiction\n",
        ("stsb", (5.31, 2.34567)): "index\tprediction\n0\t5.0\n1\t2.346\n",
        ("rte", (1, 0)): "index\tprediction\n0\tnot_entailment\n1\tentailment\n",
        ("boolq", (1, 0)): '{"idx": 0, "label": "true"}\n{"idx": 1, "label": "false"}\n',
        ("cb", (1, 2)): '{"idx": 0, "label": "contradiction"}\n{"idx": 1, "label": "neutral"}\n',
        ("copa", (1, 0)): '{"idx": 0, "label": 1}\n{"idx": 1, "label": 0}\n',
        ("record", (1, 0)): '{"idx": 1000, "label": "Bob"}\n{"idx": 1001, "label": "Anna Lee"}\n',
        ("wic", (1, 0)): '{"idx": 0, "label": "true"}\n{"idx": 1, "label": "false"}\n',
        ("wsc", (1, 0)): '{"idx": 0, "label": "True"}\n{"idx": 1, "label": "False"}\n',
        ("axg", (1, 0)): '{"idx": 0, "label": "not_entailment"}\n{"idx": 1, "label": "entailment"}\n',
        ("squad_v2", ("", "Ada é")): '{"q0-0": "", "q0-1": "Ada é"}',
        ("race_high", (3, 0)): '{"high0.txt": "D", "high0.txt-1": "A"}',
    }
    files = []
    for (name, predictions), text in wanted.items():
        task = load_task(name, data_of(benchmarks, name))
        examples = read_part(task, "server" if "server" in parts_of(task) else "test")[:2]
        files.append(write_predictions(task, examples, predictions, tmp_path))
        assert files[-1].read_text(encoding="utf-8") == text, name
    names = ["CoLA.tsv", "MNLI-m.tsv", "AX.tsv", "STS-B.tsv", "RTE.tsv"]
    add_to_archive([files[4], files[1]], tmp_path / "glue.zip")
    stale = tmp_path / "stale" / files[0].name
    stale.parent.mkdir()
    stale.write_text("an earlier try")
    add_to_archive([stale], tmp_path / "glue.zip")
    add_to_archive([files[0], *files[2:4]], tmp_path / "glue.zip")
    with zipfile.ZipFile(tmp_path / "glue.zip") as archive:
        assert archive.namelist() == sorted(names)
        assert archive.read("CoLA.tsv").decode() == wanted["cola", (1, 0)]
        assert archive.read("RTE.tsv").decode() == wanted["rte", (1, 0)]


def test_multirc_predictions_are_nested(benchmarks: Path, tmp_path: Path) -> None:
    task = load_task("multirc", data_of(benchmarks, "multirc"))
    examples = read_part(task, "server")[:9]
    lines = write_predictions(task, examples, (1, 0, 0, 0, 1, 1, 0, 0, 0), tmp_path).read_text().splitlines()
    first, second = map(json.loads, lines)
    assert first == {"idx": 0, "passage": {"questions": [
        {"idx": 0, "answers": [{"idx": 0, "label": 1}, {"idx": 1, "label": 0}, {"idx": 2, "label": 0}]},
        {"idx": 1, "answers": [{"idx": 0, "label": 0}, {"idx": 1, "label": 1}, {"idx": 2, "label": 1}]},
    ]}}  # fmt: skip
    assert (second["idx"], second["passage"]["questions"][0]["idx"]) == (1, 2)
