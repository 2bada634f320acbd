"""Readouts in closed form against numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from nas_ray.blocks import Moments, Readout, TargetTile, Tokens, _ridge, fit_readout, prior_of
from nas_ray.blocks._ridge import _inverse, _penalised


def problem(n: int = 400, k: int = 7, d: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, k)) * rng.uniform(0.5, 2, k) + rng.normal(size=k)
    y = x @ np.random.default_rng(99).normal(size=(k, d)) + 3 + 0.3 * rng.normal(size=(n, d))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def with_one(x: torch.Tensor) -> np.ndarray:
    return np.hstack([x.numpy().astype(np.float64), np.ones((len(x), 1))])


@pytest.mark.parametrize("tile", [1, 64, 400, 1000])
@pytest.mark.parametrize("k", [1, 7, 96, 200])
def test_moments(k: int, tile: int) -> None:
    x, y = problem(k=k)
    found, a, b = Moments.of(x, y, tile), with_one(x), y.numpy().astype(np.float64)
    np.testing.assert_allclose(found.gram.numpy(), a.T @ a, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.cross.numpy(), a.T @ b, rtol=1e-5, atol=1e-2)
    assert torch.equal(found.gram, found.gram.T)
    assert found.square == pytest.approx((b**2).sum(), rel=1e-9)
    assert found.count == 400


def test_moments_over_uneven_tiles() -> None:
    x, y = problem()
    cuts = (0, 10, 150, 400)
    tiles = [(x[a:b], TargetTile.of(y[a:b])) for a, b in pairwise(cuts)]
    np.testing.assert_allclose(Moments.over(tiles).gram, Moments.of(x, y).gram, atol=1e-3)


@pytest.mark.parametrize("rows", [9000, 20_000])
def test_moments_of_many_rows(rows: int) -> None:
    x, y = problem(n=rows)
    found, a = Moments.of(x, y), with_one(x)
    gram = a.T @ a  # sums of fp32 products round differently from processor to processor
    np.testing.assert_allclose(found.gram.numpy(), gram, rtol=1e-5, atol=1e-6 * gram.max())
    np.testing.assert_allclose(found.cross.numpy(), a.T @ y.numpy().astype(np.float64), rtol=1e-5)
    assert found.count == rows


def test_a_batch_is_its_problems() -> None:
    y = problem(k=100)[1]
    features = torch.stack([problem(k=100, seed=seed)[0] for seed in range(3)])
    cuts = ((0, 120), (120, 300), (300, 400))
    tiles = [(features[:, a:b], TargetTile.of(y[a:b])) for a, b in cuts]
    fit, held = Moments.over(tiles[:2]), Moments.over(tiles[2:])
    tokens = Tokens(features[:, 300:], y[300:])
    prior = prior_of(torch.zeros(5, 100), y.mean(0))
    strengths = [1e-3, 1e-2, 1.0, 100.0]
    found = fit_readout(fit, held, prior, strengths)
    assert found.weight.shape == (3, 5, 100)
    for i, x in enumerate(features):
        one, other = Moments.of(x[:300], y[:300]), Moments.of(x[300:], y[300:])
        alone = fit_readout(one, other, prior, strengths)
        assert found.strength[i] == alone.strength  # type: ignore[index]
        np.testing.assert_allclose(found.stacked[i], alone.stacked, atol=1e-3)
        for compared in (held, tokens):
            assert float(compared.error(found)[i]) == pytest.approx(float(other.error(alone)), abs=1e-6 * other.square)


@pytest.mark.parametrize("size", [1, 64, 65, 129, 300])
def test_inverse_by_halves(size: int) -> None:
    rng = np.random.default_rng(0)
    root = torch.tensor(rng.normal(size=(2, 3, size, size)))
    matrix = root @ root.mT + 1e-3 * torch.eye(size)
    expected = torch.linalg.inv(matrix)
    np.testing.assert_allclose(_inverse(matrix), expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_both_ways_to_solve(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problem(k=150)
    fit, held, prior = Moments.of(x, y), Moments.of(*problem(k=150, seed=1)), prior_of(torch.ones(5, 150), y.mean(0))
    expected = fit_readout(fit, held, prior, [1e-4, 1e-2])

    def by_inverse(gram: torch.Tensor, residual: torch.Tensor, strengths: Sequence[float]) -> Iterator[torch.Tensor]:
        yield from _inverse(torch.stack([_penalised(gram, strength) for strength in strengths])) @ residual

    monkeypatch.setattr(_ridge, "_steps", by_inverse)
    np.testing.assert_allclose(fit_readout(fit, held, prior, [1e-4, 1e-2]).stacked, expected.stacked, atol=1e-9)


def test_error_is_that_of_the_residuals() -> None:
    x, y = problem()
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    readout = Readout(prior_of(weight, torch.arange(5.0)), 0.0)
    residual = with_one(x) @ readout.stacked.numpy() - y.numpy()
    assert Moments.of(x, y).error(readout) == pytest.approx((residual**2).sum(), rel=1e-6)
    assert Tokens(x, y).error(readout) == pytest.approx((residual**2).sum(), rel=1e-5)


def test_vanishing_strength_is_least_squares() -> None:
    x, y = problem()
    held = problem(seed=1)
    prior = prior_of(torch.zeros(5, 7), torch.zeros(5))
    found = fit_readout(Moments.of(x, y), Moments.of(*held), prior, [1e-9])
    expected = np.linalg.lstsq(with_one(x), y.numpy().astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(found.stacked.numpy(), expected, atol=2e-4)
    assert found.weight.shape == (5, 7)
    assert found.bias.shape == (5,)
    np.testing.assert_allclose(x @ found.weight.T + found.bias, with_one(x) @ found.stacked.numpy(), atol=1e-4)


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
def test_ridge_towards_the_prior(strength: float) -> None:
    x, y = problem()
    rng = np.random.default_rng(5)
    prior = torch.tensor(rng.normal(size=(8, 5)))
    found = fit_readout(Moments.of(x, y), Moments.of(x, y), prior, [strength])
    a = with_one(x)
    penalty = strength * (a[:, :7] ** 2).sum(0).mean() * np.diag([1.0] * 7 + [0.0])
    expected = prior.numpy() + np.linalg.solve(a.T @ a + penalty, a.T @ (y.numpy() - a @ prior.numpy()))
    np.testing.assert_allclose(found.stacked.numpy(), expected, atol=1e-4)
    assert found.strength == strength


def test_the_strength_is_chosen_on_held_out_tokens() -> None:
    x, y = problem(n=30, k=25)
    held = problem(n=500, k=25, seed=1)
    prior = prior_of(torch.zeros(5, 25), torch.zeros(5))
    fit, strengths = Moments.of(x, y), [1e-8, 1e-3, 1e-1, 10.0]
    for tokens in (Moments.of(*held), Tokens(*held)):
        found = fit_readout(fit, tokens, prior, strengths)
        errors = {s: tokens.error(fit_readout(fit, tokens, prior, [s])) for s in strengths}
        assert found.strength == min(errors, key=lambda s: errors[s])
        assert tokens.error(found) == pytest.approx(min(errors.values()))


def test_the_prior_stays_if_nothing_beats_it() -> None:
    x, y = problem()
    expected = np.linalg.lstsq(with_one(x), y.numpy().astype(np.float64), rcond=None)[0]
    prior = torch.tensor(expected)
    noise = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)) * 50
    found = fit_readout(Moments.of(x, noise), Moments.of(x, y), prior, [1e-4, 1e-2])
    assert torch.equal(found.stacked, prior)
    assert found.strength == float("inf")


def test_a_singular_gram() -> None:
    x, y = problem()
    x = torch.cat([x, x[:, :3], torch.zeros(400, 2)], 1)
    prior = prior_of(torch.zeros(5, 12), torch.zeros(5))
    found = fit_readout(Moments.of(x, y), Moments.of(x, y), prior, [0.0, 1e-6])
    least = np.linalg.lstsq(with_one(x), y.numpy().astype(np.float64), rcond=None)[0]
    best = ((with_one(x) @ least - y.numpy()) ** 2).sum()
    assert torch.isfinite(found.stacked).all()
    assert Moments.of(x, y).error(found) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_leave_the_prior(bad: float) -> None:
    x, y = problem()
    x[3, 2] = bad
    prior = prior_of(torch.zeros(5, 7), torch.zeros(5))
    assert torch.equal(fit_readout(Moments.of(x, y), Moments.of(x, y), prior, [1e-3]).stacked, prior)
