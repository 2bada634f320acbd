"""Sentence embeddings and probes against closed forms and slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from nas_ray.measure import (
    Reference,
    Sentences,
    above_chance,
    chance,
    embeddings,
    fit_probe,
    fold_hits,
    rank_agreement,
)

LENGTHS = np.array([3, 1, 5, 2, 5, 4])
SENTENCES = Sentences(np.arange(LENGTHS.sum()).astype(np.uint16), LENGTHS)


def encode(ids: Tensor, mask: Tensor) -> Tensor:
    """Two numbers a token; padding gets large ones, which must not count."""
    states = torch.stack([ids.double(), (ids % 3).double() - 1], -1)
    return torch.where(mask[..., None], states, 1e6)


def test_texts_are_padded_in_order_of_length() -> None:
    seen = []
    for chosen, ids, mask in SENTENCES.batches(tokens=8):
        assert ids.numel() <= 8 or len(chosen) == 1
        for number, row, there in zip(chosen, ids, mask, strict=True):
            seen.append(number)
            ends = np.cumsum(LENGTHS)
            assert row[there].tolist() == list(range(ends[number] - LENGTHS[number], ends[number]))
    assert sorted(seen) == list(range(6))
    assert [LENGTHS[number] for number in seen] == sorted(LENGTHS)


def test_embeddings_are_means_over_each_text() -> None:
    found = embeddings(encode, SENTENCES)
    for number, text in enumerate(np.split(np.arange(20), np.cumsum(LENGTHS)[:-1])):
        assert found[number] == pytest.approx([text.mean(), (text % 3 - 1).mean()], abs=1e-5)


def test_a_teacher_is_its_own_equal_and_the_mean_has_loss_1() -> None:
    reference = Reference(encode, SENTENCES)
    same = reference.compare(encode)
    assert same.loss == pytest.approx(0.0)
    assert same.cosines == pytest.approx(np.ones(6))
    assert same.embeddings == pytest.approx(reference.embeddings)
    rows = np.stack([np.arange(20), np.arange(20) % 3 - 1], 1)
    mean = torch.from_numpy(rows.mean(0))
    assert reference.variance == pytest.approx(((rows - rows.mean(0)) ** 2).mean())
    assert reference.compare(lambda ids, _: mean.expand(*ids.shape, 2)).loss == pytest.approx(1.0)


def test_errors_and_cosines_of_one_text() -> None:
    reference = Reference(encode, SENTENCES)
    found = reference.compare(lambda ids, mask: encode(ids, mask) + torch.tensor([1.0, 0.0]))
    assert found.errors == pytest.approx(np.full(6, 0.5 / reference.variance), rel=1e-5)
    a, b = embeddings(encode, SENTENCES)[2], embeddings(encode, SENTENCES)[2] + [1, 0]
    assert found.cosines[2] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)
    assert found.tokens.tolist() == LENGTHS.tolist()


def test_rank_agreement_is_scipys_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 4))
    b = a + rng.normal(size=(12, 4))

    def pairs(x: np.ndarray) -> list[float]:
        unit = [v / np.linalg.norm(v) for v in x]
        return [float(unit[i] @ unit[j]) for i in range(12) for j in range(i + 1, 12)]

    assert rank_agreement(a, b) == pytest.approx(spearmanr(pairs(a), pairs(b)).statistic)
    assert rank_agreement(a, 3 * a) == pytest.approx(1.0)


def clouds(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    centres = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]], dtype=np.float32)
    return centres[labels] + rng.normal(size=(count, 4)).astype(np.float32), labels


def test_probe_is_scikit_learns_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = clouds(200)
    z = (x - x.mean(0)) / x.std(0)
    theirs = linear_model.LogisticRegression(C=1 / (0.05 * len(y)), tol=1e-8, max_iter=1000).fit(z, y)
    mine = fit_probe(x, y, 3, strength=0.05)
    assert mine.weight.numpy() == pytest.approx(theirs.coef_, abs=1e-3)
    other, _ = clouds(100, seed=1)
    assert (mine.predict(other) == theirs.predict((other - x.mean(0)) / x.std(0))).all()


def test_probe_does_not_depend_on_scale() -> None:
    x, y = clouds(100)
    other, _ = clouds(50, seed=1)
    scaled = fit_probe(x * np.float32(100), y, 3).predict(other * np.float32(100))
    assert (scaled == fit_probe(x, y, 3).predict(other)).all()


def test_folds_judge_each_example_once_by_the_others() -> None:
    x, y = clouds(300)
    hits = fold_hits(x, y, 3, 10, seed=0)
    assert hits.shape == (300,)
    assert 0.75 < hits.mean() < 1.0
    assert (fold_hits(x, y, 3, 10, seed=0) == hits).all()
    noise = np.random.default_rng(2).normal(size=(300, 4)).astype(np.float32)
    assert fold_hits(noise, y, 3, 10, seed=0).mean() < 0.45  # seeing its own label would lift it


def test_share_of_the_teachers_accuracy_above_chance() -> None:
    labels = np.array([0, 0, 0, 1])
    assert chance(labels) == 0.75
    assert above_chance(0.8, teacher=0.9, by_chance=0.5) == pytest.approx(0.75)
    assert above_chance(0.9, teacher=0.9, by_chance=0.5) == 1.0
