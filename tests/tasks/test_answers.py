"""Spans read from logits, against brute force; thresholds, against trying them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas_ray.tasks import (
    Encoded,
    Example,
    SpanAnswer,
    choose_threshold,
    encode,
    load_task,
    predict,
    span_answers,
    write_null_probabilities,
)
from nas_ray.tasks._texts import answer_f1, answer_match

TEXT = "the ship left the harbour and the sailor found an old lantern near the quiet island"


def encoded_windows(tokenizer: Any, count: int = 3) -> tuple[list[Example], Encoded]:
    task = load_task("squad_v2").model_copy(update={"stride": 4})
    words = TEXT.split()
    texts = [" ".join(words[k:] + words[:k]) for k in range(count)]
    examples = [
        Example(str(k), ("what left ?", text), (("ship", text.index("ship")),), "g") for k, text in enumerate(texts)
    ]
    return examples, encode(task, examples, tokenizer, 20)


def brute_force(example: Example, logits: Any, offsets: Any, rows: Any, most_tokens: int) -> list[tuple[str, float]]:
    found = []
    for row in rows:
        for first in range(logits.shape[1]):
            for last in range(first, min(logits.shape[1], first + most_tokens)):
                if offsets[row, first, 1] >= 0 and offsets[row, last, 1] >= 0:
                    score = logits[row, first, 0] + logits[row, last, 1]
                    found.append((example.texts[1][offsets[row, first, 0] : offsets[row, last, 1]], score))
    return sorted(found, key=lambda answer: -answer[1])


@pytest.mark.parametrize("most_tokens", [1, 4, 100])
def test_the_best_span_is_that_of_brute_force(
    bert_tokenizer: Any, most_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_ray.tasks._answers._MOST_TOKENS", most_tokens)
    examples, encoded = encoded_windows(bert_tokenizer)
    assert len(encoded.ids) > len(examples)
    logits = np.random.default_rng(0).normal(size=(*encoded.ids.shape, 2))
    found = span_answers(examples, logits, encoded)
    for number, (example, answer) in enumerate(zip(examples, found, strict=True)):
        rows = np.flatnonzero(encoded.example == number)
        text, score = brute_force(example, logits, encoded.offsets, rows, most_tokens)[0]
        assert answer.best == text
        assert answer.null == pytest.approx(logits[rows, 0].sum(axis=1).min() - score)


def test_the_head_says_whether_there_is_an_answer(bert_tokenizer: Any) -> None:
    examples, encoded = encoded_windows(bert_tokenizer, 2)
    logits = np.random.default_rng(1).normal(size=(*encoded.ids.shape, 3))
    logits[:, 0, 2] = -3.0
    logits[np.flatnonzero(encoded.example == 1)[-1], 0, 2] = 2.0  # one window of the second question
    none, some = span_answers(examples, logits, encoded)
    assert [answer.best for answer in (none, some)] == [
        a.best for a in span_answers(examples, logits[..., :2], encoded)
    ]
    assert (none.null, some.null) == (3.0, -2.0)
    task = load_task("squad_v2")
    assert predict(task, examples, logits, encoded) == ("", some.best)
    assert predict(task, examples, logits, encoded, threshold=4.0)[0] == none.best


def test_a_context_without_tokens_has_no_answer(bert_tokenizer: Any) -> None:
    examples = [Example("0", ("what ?", " "), (), "g")]
    encoded = encode(load_task("squad_v2"), examples, bert_tokenizer, 20)
    (answer,) = span_answers(examples, np.zeros((*encoded.ids.shape, 2)), encoded)
    assert answer.text(99.0) == ""


@pytest.mark.parametrize("metric", ["answer_f1", "answer_match"])
@pytest.mark.parametrize("seed", range(8))
def test_threshold_is_the_best_there_is(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    texts = ["old ship", "ship", "old red ship", "lamp"]
    answers = [SpanAnswer(str(rng.choice(texts)), float(rng.integers(-3, 4))) for _ in range(30)]
    targets = [((str(rng.choice(texts)), 0),) if rng.random() < 0.5 else () for _ in answers]
    examples = [Example("", ("", ""), target, "") for target in targets]
    score = {"answer_f1": answer_f1, "answer_match": answer_match}[metric]

    def mean(threshold: float) -> float:
        pairs = zip(answers, examples, strict=True)
        return float(np.mean([score(a.text(threshold), [t for t, _ in e.target]) for a, e in pairs]))  # type: ignore

    found = choose_threshold(examples, answers, metric)
    assert mean(found) == pytest.approx(max(mean(t) for t in np.arange(-4.5, 5.5, 0.5)))


def test_null_probabilities(tmp_path: Any) -> None:
    examples = [Example("a", ("", ""), None, ""), Example("b", ("", ""), None, "")]
    answers = [SpanAnswer("", 0.0), SpanAnswer("", np.log(3.0))]
    write_null_probabilities(examples, answers, tmp_path / "na_prob.json")
    assert (tmp_path / "na_prob.json").read_text() == '{"a": 0.5, "b": 0.75}'
