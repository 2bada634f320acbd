"""What embeddings know of labels: logistic regression on frozen embeddings, in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Array = NDArray[Any]

STRENGTH = 0.01  # of the L2 penalty, an example: what a grid on *select* preferred for the teacher, docs/benchmarks.md
_ITERATIONS = 500


@dataclass(frozen=True)
class Probe:
    """A fitted classifier of embeddings."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def predict(self, features: Array) -> NDArray[np.int64]:
        """The class of each of ``features`` ``(n, size)``."""
        x = (torch.from_numpy(features).double() - self.mean) / self.scale
        return (x @ self.weight.T + self.bias).argmax(1).numpy()


def fit_probe(features: Array, labels: Array, num_classes: int, strength: float = STRENGTH) -> Probe:
    """Multinomial logistic regression of ``labels`` ``(n,)`` on standardised ``features`` ``(n, size)``.

    It minimises the mean cross-entropy plus ``strength`` / 2 times the squared weights, biases left out: what
    scikit-learn's ``LogisticRegression(C=1 / (strength * n))`` does.
    """
    x, y = torch.from_numpy(features).double(), torch.from_numpy(labels.astype(np.int64))
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-12)
    x = (x - mean) / scale
    weight = torch.zeros(num_classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, tolerance_grad=1e-6, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(x @ weight.T + bias, y) + strength / 2 * weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Probe(mean, scale, weight.detach(), bias.detach())


def fold_hits(
    features: Array, labels: Array, num_classes: int, folds: int, seed: int, strength: float = STRENGTH
) -> NDArray[np.bool_]:
    """Whether each example is classified right by a probe fitted on the other ``folds`` - 1 of equal random parts."""
    part = np.random.default_rng([seed, 13]).permutation(len(labels)) % folds
    hits = np.zeros(len(labels), dtype=bool)
    for fold in range(folds):
        probe = fit_probe(features[part != fold], labels[part != fold], num_classes, strength)
        hits[part == fold] = probe.predict(features[part == fold]) == labels[part == fold]
    return hits


def chance(labels: Array) -> float:
    """Accuracy of always naming the most frequent of ``labels``."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def above_chance(accuracy: float, teacher: float, by_chance: float) -> float:
    """The share of the teacher's accuracy above chance that a student reaches: 1 = as good as the teacher."""
    return (accuracy - by_chance) / (teacher - by_chance)
