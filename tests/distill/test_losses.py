"""Losses of retrained students by hand, and the text that they are computed on."""

from __future__ import annotations

from math import e, log

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nas_ray.distill import Losses, TrainingText
from nas_ray.distill._losses import Decoder, divergence, word_errors
from nas_ray.distill._measures import Batch


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_kullback_leiblers(temperature: float) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(5, 11), torch.randn(5, 11)
    p, q = (F.softmax(found / temperature, -1) for found in (theirs, ours))
    expected = (p * (p / q).log()).sum(-1) * temperature**2
    assert torch.allclose(divergence(ours, theirs, temperature), expected, atol=1e-6)
    assert divergence(theirs, theirs, temperature).abs().max() < 1e-6


def test_its_gradient_is_that_of_the_cross_entropy_with_the_teacher() -> None:
    torch.manual_seed(1)
    theirs, slopes = torch.randn(4, 9), []
    for loss in (
        lambda found: divergence(found, theirs, 1.0).mean(),
        lambda found: -(F.softmax(theirs, -1) * F.log_softmax(found, -1)).sum(-1).mean(),
    ):
        ours = torch.linspace(-1, 1, 36).reshape(4, 9).requires_grad_(True)
        slopes += torch.autograd.grad(loss(ours), ours)
    assert torch.allclose(*slopes, atol=1e-7)


def test_word_errors_and_the_decoder() -> None:
    decoder = Decoder(torch.eye(3), torch.tensor([0.0, 0.0, 1.0]))
    logits = decoder(torch.zeros(1, 3))
    assert float(word_errors(logits, torch.tensor([2]))) == pytest.approx(log((2 + e) / e))


def test_what_losses_need() -> None:
    assert Losses(masked_lm=1.0).of_words
    assert not Losses(masked_lm=1.0).of_teacher
    assert Losses(logits=1.0).of_teacher
    assert Losses(embedding=1.0).of_states


def lengths(text: TrainingText, chosen: list[int]) -> list[int]:
    assert text.mask is not None
    return text.mask[chosen].sum(1).tolist()


@pytest.fixture
def uneven() -> TrainingText:
    """403 sequences of 1 to 30 tokens; each token is the number of its sequence."""
    rng = np.random.default_rng(0)
    mask = np.arange(30) < rng.integers(1, 31, size=(403, 1))
    ids = np.where(mask, np.arange(403)[:, None], 0).astype(np.int32)
    return TrainingText(ids, mask, np.where(mask, ids, -100).astype(np.int32))


def test_sequences_of_a_step_have_similar_lengths(uneven: TrainingText) -> None:
    spread = [max(found) - min(found) for step in range(100) if (found := lengths(uneven, uneven.chosen(1, step, 4)))]
    assert np.mean(spread) < 2
    steps = [uneven.chosen(1, step, 4) for step in range(100)]
    seen = [sequence for step in steps for sequence in step]
    assert len(set(seen)) == 400  # three wait for another epoch
    middles = [np.mean(lengths(uneven, step)) for step in steps]
    assert abs(np.corrcoef(middles, range(100))[0, 1]) < 0.3  # long and short ones come in random order
    assert set(seen) != {sequence for step in range(100, 200) for sequence in uneven.chosen(1, step, 4)}
    assert steps == [uneven.chosen(1, step, 4) for step in range(100)]
    assert uneven.num_tokens(1, 3, 4) == sum(sum(lengths(uneven, step)) for step in steps[:3])


def test_padding_that_all_have_is_not_read(uneven: TrainingText) -> None:
    chosen = uneven.chosen(1, 0, 4)
    ids, mask = uneven.rows(chosen)
    labels = uneven.hidden(chosen)
    assert mask is not None
    assert labels is not None
    assert ids.shape == mask.shape == labels.shape == (4, max(lengths(uneven, chosen)))
    assert (ids[mask] == labels[mask]).all()
    assert mask.sum(1).tolist() == lengths(uneven, chosen)


def test_parts_of_a_batch_keep_what_belongs_together() -> None:
    ids = torch.arange(24).reshape(4, 6)
    batch = Batch(ids, None, None, ids + 1)
    first, second = batch.parts(2)
    assert (first.labels == first.ids + 1).all()  # type: ignore[operator]
    assert torch.equal(second.ids, ids[2:])
    assert first.mask is None
    assert first.target is None
