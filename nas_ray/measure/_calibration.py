"""From parts timed alone to whole models: what calling each part alone adds, and what is slower in a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from nas_ray.measure._correlation import spearman
from nas_ray.tables import LatencyCheck


@dataclass(frozen=True)
class Calibration:
    """A whole model takes ``slope`` x (``call_ms`` + the sum of what each part takes beyond ``call_ms``)."""

    slope: float = 1.0
    call_ms: float = 0.0

    def total(self, parts: Iterable[float]) -> float:
        """Milliseconds of a whole model by those of its parts, each timed alone."""
        return self.slope * (self.call_ms + sum(max(0.0, part - self.call_ms) for part in parts))


def calibrate(models: Sequence[Sequence[float]], whole: Sequence[float]) -> tuple[Calibration, LatencyCheck]:
    """Fitted to every other model by size, and the error on the rest.

    The correction is kept only if it lowers the mean error of the models that fitted it left out one by one.

    Args:
        models: of each model the milliseconds of its parts, each timed alone.
        whole: the milliseconds of each model.
    """
    order = sorted(range(len(models)), key=lambda i: sum(models[i]))
    fitted, held = order[::2], order[1::2]
    best = Calibration()
    if len(fitted) >= 3:
        left_out = [_fit(models, whole, [j for j in fitted if j != i]).total(models[i]) for i in fitted]
        if _error(left_out, whole, fitted) < _error([best.total(models[i]) for i in fitted], whole, fitted):
            best = _fit(models, whole, fitted)
    predicted = [best.total(models[i]) for i in held]
    rank = spearman(np.array(predicted), np.array([whole[i] for i in held]))
    return best, LatencyCheck(rank, _error(predicted, whole, held) * 100, len(held))


def _fit(models: Sequence[Sequence[float]], whole: Sequence[float], rows: Sequence[int]) -> Calibration:
    """Least squares of relative errors, neither number below 0."""
    terms = np.array([(sum(models[i]), 1 - len(models[i])) for i in rows]) / np.array([[whole[i]] for i in rows])
    (slope, product), _ = nnls(terms, np.ones(len(rows)))
    return Calibration(float(slope), float(product / slope)) if slope > 0 else Calibration()


def _error(predicted: Sequence[float], whole: Sequence[float], rows: Sequence[int]) -> float:
    """Mean relative error."""
    true = np.array([whole[i] for i in rows])
    return float(np.mean(np.abs(np.array(predicted) / true - 1))) if len(true) else float("nan")
