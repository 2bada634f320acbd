"""Gaussian process regression with a sum of rational quadratic kernels, one a part of the features.

Results of stopped candidates are used too: they differ from finished ones by an offset that is learned, and are
less exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from nas_ray.search._pareto import Floats, Mask
from nas_ray.search._surrogate_features import Part

_LENGTH = 2.0
_OFFSET = 1.0  # variance of the offset of stopped candidates, in units of that of the values
_STOPPED_NOISE = 0.05
_JITTER = 1e-6


@dataclass(frozen=True)
class Weights:
    """Shares of the parts' kernels by role, and the variance of the noise."""

    shares: tuple[float, float, float, float]  # group (all together), summary, flat, prior
    noise: float


CHOICES = tuple(
    Weights((1.0, summary, flat, 1.0), noise)
    for (summary, flat), noise in product(((1.0, 0.1), (0.2, 0.1), (0.2, 1.0)), (0.003, 0.03, 0.2))
)
_ROLES = ("group", "summary", "flat", "prior")


class Kernels:
    """Kernel matrices of the parts between all rows so far; a new row costs one row more."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._rows = np.zeros((0, 0))
        self._grams = np.zeros((len(_ROLES), 0, 0))

    def grow(self, rows: Floats) -> None:
        """Take all rows; those that were there must be the same."""
        known = len(self._rows)
        if len(rows) == known:
            return
        new = self._between(rows, rows[known:])  # (roles, all, new)
        grown = np.zeros((len(_ROLES), len(rows), len(rows)))
        grown[:, :known, :known] = self._grams
        grown[:, :, known:] = new
        grown[:, known:, :known] = new[:, :known].transpose(0, 2, 1)
        self._rows, self._grams = rows, grown

    def gram(self, weights: Weights, count: int) -> Floats:
        """Between the first ``count`` rows."""
        found: Floats = np.tensordot(weights.shares, self._grams[:, :count, :count], axes=1)
        return found

    def cross(self, weights: Weights, rows: Floats) -> Floats:
        """Between all rows so far and ``rows``."""
        found: Floats = np.tensordot(weights.shares, self._between(self._rows, rows), axes=1)
        return found

    def variance(self, weights: Weights) -> float:
        """Of any row, before anything is known of it."""
        roles = {part.role for part in self._parts}
        return sum(share for share, role in zip(weights.shares, _ROLES, strict=True) if role in roles)

    def _between(self, a: Floats, b: Floats) -> Floats:
        found = np.zeros((len(_ROLES), len(a), len(b)))
        for part in self._parts:
            found[_ROLES.index(part.role)] += _rational_quadratic(a[:, part.columns], b[:, part.columns])
        found[0] /= max(1, sum(part.role == "group" for part in self._parts))
        return found


def _rational_quadratic(a: Floats, b: Floats) -> Floats:
    scale = 1.0 / (2 * _LENGTH**2 * a.shape[1])
    found: Floats = a @ b.T
    found *= -2.0
    found += (a**2).sum(axis=1)[:, None]
    found += (b**2).sum(axis=1)[None]
    np.maximum(found, 0.0, out=found)
    found *= scale
    found += 1.0
    return np.reciprocal(found, out=found)


class Posterior:
    """The process after values ``(rows, outputs)``; ``stopped`` are the rows of a lower rung."""

    def __init__(self, kernels: Kernels, values: Floats, stopped: Mask, weights: Weights) -> None:
        self._kernels, self._weights = kernels, weights
        reference = values[~stopped] if not stopped.all() else values
        self._mean, self._scale = reference.mean(axis=0), _scale(reference)
        gram = _observed(kernels.gram(weights, len(values)), stopped, weights)
        self._lower = cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
        self._alpha = cho_solve((self._lower, True), (values - self._mean) / self._scale, check_finite=False)

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations ``(rows, outputs)`` of finished candidates, without noise."""
        cross = self._kernels.cross(self._weights, rows)
        means = self._mean + self._scale * (cross.T @ self._alpha)
        whitened = solve_triangular(self._lower, cross, lower=True, overwrite_b=True, check_finite=False)
        variance = self._kernels.variance(self._weights) - np.einsum("ij,ij->j", whitened, whitened)
        return means, np.sqrt(np.maximum(variance, 1e-9))[:, None] * self._scale


def likeliest(kernels: Kernels, values: Floats, stopped: Mask) -> Weights:
    """The choice of weights under which ``values`` of the first rows are likeliest, their scale left free."""
    scaled = (values - values.mean(axis=0)) / _scale(values)
    return max(CHOICES, key=lambda weights: _likelihood(kernels, scaled, stopped, weights))


def _likelihood(kernels: Kernels, values: Floats, stopped: Mask, weights: Weights) -> float:
    lower = cholesky(_observed(kernels.gram(weights, len(values)), stopped, weights), lower=True, check_finite=False)
    whitened = solve_triangular(lower, values, lower=True, check_finite=False)
    fit = np.log(np.maximum((whitened**2).mean(axis=0), 1e-12)).sum() * len(values) / 2
    return -float(fit + values.shape[1] * np.log(np.diag(lower)).sum())


def _observed(gram: Floats, stopped: Mask, weights: Weights) -> Floats:
    gram = gram + _OFFSET * np.outer(stopped, stopped)
    gram[np.diag_indices_from(gram)] += weights.noise + _STOPPED_NOISE * stopped + _JITTER
    return gram


def _scale(values: Floats) -> Floats:
    deviation = values.std(axis=0)
    found: Floats = np.where(deviation > 1e-12 * np.maximum(1.0, np.abs(values).max(axis=0)), deviation, 1.0)
    return found
