"""Examples as rows of tokens, for BERT's and RoBERTa's kind of tokenizer."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_ray.errors import TaskError
from nas_ray.tasks import Encoded, Example, Task, encode, load_task, predict
from tests.tasks.logits import perfect_logits
from tests.tasks.test_metrics import task_with

SHORT, LONG = "the old ship", " ".join(["the quiet harbour"] * 12)


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_tokenizer")


def rows_of(encoded: Encoded, tokenizer: Any) -> list[str]:
    """The texts of the rows, special tokens left out."""
    rows = zip(encoded.ids, encoded.mask, strict=True)
    return [" ".join(tokenizer.decode(ids[mask], skip_special_tokens=True).split()) for ids, mask in rows]


def test_rows_and_padding(tokenizer: Any) -> None:
    task = load_task("cola")
    examples = [Example("0", (SHORT,), 1.0, ""), Example("1", (f"{SHORT} left again",), None, "")]
    encoded = encode(task, examples, tokenizer)
    assert encoded.ids[0, 0] == encoded.ids[1, 0] == tokenizer.cls_token_id
    assert encoded.mask.sum(axis=1).tolist() == [len(tokenizer(e.texts[0])["input_ids"]) for e in examples]
    assert (encoded.ids[~encoded.mask] == tokenizer.pad_token_id).all()
    assert encoded.targets.tolist() == [1, -100]
    assert (encoded.ids.dtype, encoded.targets.dtype, encoded.example.tolist()) == (np.int32, np.int64, [0, 1])
    assert (encoded.type_ids is None) == (tokenizer.cls_token == "<s>")


def test_a_pair_loses_tokens_of_the_longer_text(tokenizer: Any) -> None:
    task = load_task("rte")
    pairs = [(SHORT, LONG), (LONG, SHORT), (SHORT, SHORT)]
    encoded = encode(task, [Example("", pair, 0.0, "") for pair in pairs], tokenizer, 24)
    assert encoded.truncated == 2
    first, second, _ = rows_of(encoded, tokenizer)
    assert first.startswith(f"{SHORT} the quiet harbour")
    assert second.endswith(SHORT)
    assert encoded.ids.shape == (3, 24)
    if encoded.type_ids is not None:
        assert encoded.type_ids[2].max() == 1
        assert (np.diff(encoded.type_ids[0].astype(int)) >= 0).all()


def test_more_examples_than_are_tokenised_at_once(tokenizer: Any) -> None:
    examples = [Example("", (f"{SHORT} {'x' * (k % 7)}",), float(k % 2), "") for k in range(2100)]
    encoded = encode(load_task("cola"), examples, tokenizer)
    assert encoded.example.tolist() == list(range(2100))
    assert encoded.targets.tolist() == [k % 2 for k in range(2100)]


def test_options_are_rows_and_their_number_varies(tokenizer: Any) -> None:
    task = load_task("race_high")
    examples = [
        Example("0", (SHORT, "a", "b", "c"), 2.0, ""),
        Example("1", (LONG, "a", "b"), 0.0, ""),
        Example("2", (SHORT, "a", "b"), None, ""),
    ]
    encoded = encode(task, examples, tokenizer, 20)
    assert encoded.example.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert encoded.targets.tolist() == [0, 0, 1, 1, 0, -100, -100]
    assert encoded.truncated == 1  # an example, though both its rows lost text
    assert predict(task, examples, np.array([0, 1, 2, 3.5, 3, 0, 1])[:, None], encoded) == (2, 0, 1)


def test_several_right_options(bert_tokenizer: Any) -> None:
    example = Example("0", ("t", "x", "y", "z"), 0.0, "", names=("A", "B", "C"), answers=("A", "C"))
    assert encode(load_task("record"), [example], bert_tokenizer).targets.tolist() == [1, 0, 1]


def test_words_have_their_class_at_their_first_token(tokenizer: Any) -> None:
    task = task_with("token", "accuracy", classes=("O", "THING"))
    examples = [Example("0", ("the", "zzyzx", "ship"), (0, 1, 1), ""), Example("1", ("ship",), None, "")]
    encoded = encode(task, examples, tokenizer)
    assert encoded.words is not None
    begins = encoded.words >= 0
    assert encoded.words[begins].tolist() == [0, 1, 2, 0]
    assert encoded.targets[0][begins[0]].tolist() == [0, 1, 1]
    assert (encoded.targets[~begins] == -100).all()
    assert (encoded.targets[1] == -100).all()
    assert predict(task, examples, perfect_logits(task, encoded), encoded) == ((0, 1, 1), (0,))
    short = encode(task, examples, tokenizer, 4)
    assert short.truncated == 1
    assert predict(task, examples, perfect_logits(task, short), short)[0][2] == -1


def test_words_are_read_as_in_a_text(roberta_tokenizer: Any) -> None:
    """Byte-level tokenizers that add no space of their own take the one between words for a part of the second."""
    from tokenizers import pre_tokenizers

    tokenizer = copy.deepcopy(roberta_tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = ("the", "old", "ship", "left")
    task = task_with("token", "accuracy", classes=("O", "THING"))
    encoded = encode(task, [Example("0", words, (0, 0, 1, 0), "")], tokenizer)
    assert encoded.ids[0].tolist() == tokenizer(" ".join(words))["input_ids"]


def windows(
    tokenizer: Any, question: str, context: str, answer: tuple[str, int] | None, length: int, stride: int
) -> Encoded:
    task = load_task("squad_v2").model_copy(update={"stride": stride})
    return encode(task, [Example("0", (question, context), (answer,) if answer else (), "")], tokenizer, length)


@settings(max_examples=60)
@given(
    words=st.lists(
        st.sampled_from(["the", "ship", "Zürich", "x,", "harbour", "(old)", "3.5"]), min_size=1, max_size=60
    ),
    place=st.floats(0, 0.999),
    more=st.integers(1, 4),
    length=st.integers(16, 40),
    stride=st.integers(1, 12),
)
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_windows_hold_the_whole_context_and_the_answer(
    request: pytest.FixtureRequest, kind: str, words: list[str], place: float, more: int, length: int, stride: int
) -> None:
    """Every character is in a window, and where tokens say the answer is, its text is."""
    tokenizer = request.getfixturevalue(f"{kind}_tokenizer")
    context = " ".join(words)
    first = int(place * len(words))
    answer = " ".join(words[first : first + more])
    start = len(" ".join(words[:first])) + (first > 0)
    encoded = windows(tokenizer, "ship ?", context, (answer, start), length, stride)
    assert encoded.offsets is not None
    assert encoded.ids.shape[1] <= length
    covered = np.zeros(len(context), dtype=bool)
    for offsets, (begin, end) in zip(encoded.offsets, encoded.targets, strict=True):
        for token in offsets[offsets[:, 1] >= 0]:
            covered[token[0] : token[1]] = True
        if end:
            found = context[offsets[begin, 0] : offsets[end, 1]].strip()
            assert found in answer or answer in found
    assert all(covered[k] for k, letter in enumerate(context) if letter != " ")
    assert (encoded.targets[:, 1] > 0).any()
    assert encoded.truncated == 0


def test_windows_share_their_stride_and_miss_no_answer(bert_tokenizer: Any) -> None:
    context = " ".join(f"the {word}" for word in ["ship", "lamp", "island", "harbour"] * 12)
    encoded = windows(bert_tokenizer, "what ?", context, ("the island", context.index("the island")), 32, 6)
    assert len(encoded.ids) > 3
    offsets = encoded.offsets
    assert offsets is not None
    for one, other in pairwise(offsets):
        shared = {tuple(o) for o in one if o[1] >= 0} & {tuple(o) for o in other if o[1] >= 0}
        assert len(shared) >= 6
    assert encoded.targets[-1].tolist() == [0, 0]  # the answer is not in the last window
    assert windows(bert_tokenizer, "what ?", context, None, 32, 6).targets.max() == 0


def test_an_answer_longer_than_a_window_is_learned_as_far_as_it_goes(bert_tokenizer: Any) -> None:
    context = "the lamp " + " ".join(["ship"] * 60)
    encoded = windows(bert_tokenizer, "what ?", context, (context[9:], 9), 24, 4)
    held = [end - begin + 1 for begin, end in encoded.targets if end]
    assert len(held) == 1
    assert held[0] >= 10


def test_a_long_question_is_cut_and_counted(tokenizer: Any) -> None:
    encoded = windows(tokenizer, LONG, SHORT, ("ship", 8), 32, 8)
    assert encoded.truncated == 1
    assert len(encoded.ids) == 1
    begin, end = encoded.targets[0]
    assert encoded.offsets is not None
    assert SHORT[encoded.offsets[0, begin, 0] : encoded.offsets[0, end, 1]].strip() == "ship"


def test_unanswered_and_unlabelled_windows(bert_tokenizer: Any) -> None:
    task: Task = load_task("squad_v2")
    examples = [Example("0", ("what ?", SHORT), (), ""), Example("1", ("what ?", SHORT), None, "")]
    assert encode(task, examples, bert_tokenizer).targets.tolist() == [[0, 0], [-100, -100]]


def test_refusals(bert_tokenizer: Any) -> None:
    with pytest.raises(TaskError, match="task 'cola': no examples to encode"):
        encode(load_task("cola"), [], bert_tokenizer)
    with pytest.raises(TaskError, match=r"accepted: one with a tokenizer\.json"):
        encode(load_task("cola"), [Example("", ("x",), 0.0, "")], object())
