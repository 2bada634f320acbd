"""Losses of tasks against closed forms and slow references."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_ray.distill import TaskBatch, batch_parts, task_loss, teacher_loss

MASK = torch.tensor([[True, True, True, True], [True, True, True, False], [True, True, False, False]])


def batch(targets: Tensor, wanted: Tensor | None = None, example: Tensor | None = None) -> TaskBatch:
    found = torch.arange(3) if example is None else example
    return TaskBatch(torch.zeros(3, 4).long(), MASK, None, targets, found, wanted)


def softmax(scores: list[float]) -> list[float]:
    total = sum(map(exp, scores))
    return [exp(score) / total for score in scores]


def test_classes_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = task_loss("sequence", logits, batch(torch.tensor([0, 0, 1])))
    expected = -(log(softmax([2, 0])[0]) + log(softmax([0, 1])[0]) + log(0.5)) / 3
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_half_task_half_divergence_by_hand() -> None:
    """KL(teacher || student) of one example of two classes, and none where both agree."""
    logits, wanted = torch.tensor([[0.0, 0.0]]).expand(3, 2), torch.tensor([[1.0, -1.0], [0.0, 0.0], [3.0, 3.0]])
    p = softmax([1, -1])
    expected = sum(q * (log(q) - log(0.5)) for q in p) / 3
    assert float(teacher_loss("sequence", logits, batch(torch.zeros(3), wanted), 1.0)) == pytest.approx(expected)
    soft = softmax([0.25, -0.25])
    expected = 16 * sum(q * (log(q) - log(0.5)) for q in soft) / 3
    found = teacher_loss("sequence", logits, batch(torch.zeros(3), wanted), 4.0)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_span_whose_head_says_whether_there_is_an_answer() -> None:
    """Two windows of three hold the answer; begin and end are as without the head, what it says is judged by itself."""
    logits = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 2], [0, 0], [1, 1]])
    found = task_loss("span", logits, batch(targets)) - task_loss("span", logits[..., :2], batch(targets))
    chances = [1 / (1 + exp(-score)) for score in logits[:, 0, 2].tolist()]
    expected = -(log(chances[0]) + log(1 - chances[1]) + log(chances[2])) / 3
    assert float(found) == pytest.approx(expected, rel=1e-5)
    plain = teacher_loss("span", logits, batch(targets, logits[..., :2]), 1.0)  # a teacher need not have such a head
    assert float(plain) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["sequence", "regression", "choice", "span", "token"])
def test_a_step_in_parts_has_the_loss_of_the_whole(kind: Any) -> None:
    """Nine rows of 4 tokens, of a choice 5 examples, one of which has more than the 12 tokens of a part."""
    rng = torch.Generator().manual_seed(0)
    example = torch.tensor([0, 0, 1, 2, 2, 2, 2, 3, 4]) if kind == "choice" else torch.arange(9)
    logits = torch.randn(9, *{"sequence": (3,), "span": (4, 2), "token": (4, 3)}.get(kind, (1,)), generator=rng)
    targets = torch.randint(0, 2, {"span": (9, 2), "token": (9, 4)}.get(kind, (9,)), generator=rng)
    if kind == "choice":
        targets = torch.tensor([1, 0, 1, 0, 0, 1, 0, 1, 1])
    if kind == "token":
        targets[torch.rand(9, 4, generator=rng) < 0.4] = -100
    whole = TaskBatch(
        torch.arange(36).view(9, 4), torch.ones(9, 4, dtype=torch.bool), None, targets, example, logits.flip(0)
    )
    parts = batch_parts(kind, whole, 12)
    assert len(parts) == 3
    assert torch.equal(torch.cat([part.ids for part, _ in parts]), whole.ids)
    for loss in (task_loss, lambda *found: teacher_loss(*found, 1.0)):
        rows = iter(logits.split([len(part.ids) for part, _ in parts]))
        mean = sum(weight * loss(kind, next(rows), part) for part, weight in parts) / len(parts)
        torch.testing.assert_close(mean, loss(kind, logits, whole))
    ((same, weight),) = batch_parts(kind, whole, 36)
    assert same is whole
    assert weight == 1.0


def test_ratings() -> None:
    logits, wanted = torch.tensor([[1.0], [2.0], [-1.0]]), torch.tensor([[0.0], [2.0], [1.0]])
    both = batch(torch.tensor([0.0, 2.0, 1.0]), wanted)
    assert float(task_loss("regression", logits, both)) == pytest.approx(5 / 3)
    assert float(teacher_loss("regression", logits, both, 1.0)) == pytest.approx(5 / 3)


def test_choices_of_different_numbers_with_one_or_more_right_options() -> None:
    """Two examples: options of scores 1, 0 (the first right); a single option."""
    logits, example = torch.tensor([[1.0], [0.0], [5.0]]), torch.tensor([0, 0, 1])
    one = task_loss("choice", logits, batch(torch.tensor([1, 0, 1]), example=example))
    assert float(one) == pytest.approx(-log(softmax([1, 0])[0]) / 2, rel=1e-5)
    three = torch.zeros(3).long()
    two = task_loss("choice", logits, batch(torch.tensor([1, 1, 0]), example=three))
    chances = softmax([1, 0, 5])
    assert float(two) == pytest.approx(-log(chances[0] + chances[1]), rel=1e-5)
    wanted = torch.tensor([[0.0], [0.0], [2.0]])
    found = teacher_loss("choice", logits, batch(torch.tensor([1, 0, 1]), wanted, example), 1.0)
    assert float(found) == pytest.approx(sum(0.5 * (log(0.5) - log(q)) for q in softmax([1, 0])) / 2, rel=1e-4)


def test_spans_know_no_padding() -> None:
    logits = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    targets, total = torch.tensor([[0, 0], [1, 2], [1, 1]]), 0.0
    for row, length in enumerate((4, 3, 2)):
        for side in (0, 1):
            total += float(F.cross_entropy(logits[row, :length, side], targets[row, side]))
    assert float(task_loss("span", logits, batch(targets))) == pytest.approx(total / 6, rel=1e-5)
    assert float(teacher_loss("span", logits, batch(targets, logits), 1.0)) == pytest.approx(0, abs=1e-6)
    wanted, total = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1)), 0.0
    for row, length in enumerate((4, 3, 2)):
        for side in (0, 1):
            ours, theirs = (F.log_softmax(found[row, :length, side], -1) for found in (logits, wanted))
            total += float((theirs.exp() * (theirs - ours)).sum())
    found = teacher_loss("span", logits, batch(targets, wanted), 1.0)
    assert float(found) == pytest.approx(total / 6, rel=1e-4)


def test_words_are_learned_where_they_are_labelled() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.full((3, 4), -100)
    targets[0, 1], targets[2, 0] = 3, 4
    expected = (F.cross_entropy(logits[0, 1], torch.tensor(3)) + F.cross_entropy(logits[2, 0], torch.tensor(4))) / 2
    assert float(task_loss("token", logits, batch(targets))) == pytest.approx(float(expected))
    wanted = logits.clone()
    wanted[1] += 5 * torch.randn(4, 5)  # nothing there is labelled
    assert float(teacher_loss("token", logits, batch(targets, wanted), 1.0)) == pytest.approx(0, abs=1e-6)
