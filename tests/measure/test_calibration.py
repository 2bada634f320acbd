"""From parts to whole models, on synthetic numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas_ray.measure._calibration import Calibration, calibrate

RNG = np.random.default_rng(0)
MODELS = [[float(part) for part in RNG.uniform(0.5, 2.0, count)] for count in RNG.integers(3, 18, 20)]
BY_SIZE = sorted(range(20), key=lambda i: sum(MODELS[i]))


def test_what_a_call_adds_is_found() -> None:
    true = Calibration(1.2, 0.3)
    found, accuracy = calibrate(MODELS, [true.total(parts) for parts in MODELS])
    assert (found.slope, found.call_ms) == pytest.approx((1.2, 0.3))
    assert accuracy.mape_percent == pytest.approx(0, abs=1e-9)
    assert accuracy.spearman == pytest.approx(1)
    assert accuracy.num_models == 10


def test_a_call_counts_once_in_a_whole_model() -> None:
    assert Calibration(2.0, 0.5).total([1.5, 2.5, 0.4]) == pytest.approx(2 * (0.5 + 1.0 + 2.0 + 0.0))


def test_an_exact_table_is_left_alone() -> None:
    assert calibrate(MODELS, [sum(parts) for parts in MODELS])[0] == Calibration()


def test_the_correction_is_kept_only_if_it_helps() -> None:
    models = [[float(v)] * 4 for v in range(2, 10)]
    measured = [sum(parts) * (1.08 if i % 4 < 2 else 0.92) for i, parts in enumerate(models)]
    assert calibrate(models, measured)[0] == Calibration()


def test_parts_that_are_slower_in_a_whole_have_no_call_below_0() -> None:
    found, _ = calibrate(MODELS, [sum(parts) + 0.2 * len(parts) for parts in MODELS])
    assert found.call_ms == 0
    assert found.slope > 1


def test_too_few_models_fit_nothing() -> None:
    found, accuracy = calibrate([[1.0], [2.0], [3.0], [4.0]], [2.0, 4.0, 6.0, 8.0])
    assert found == Calibration()
    assert accuracy.mape_percent == pytest.approx(50)


def test_the_order_is_never_turned_round() -> None:
    assert calibrate(MODELS, [100 - sum(parts) for parts in MODELS])[0].slope > 0


def test_the_error_is_measured_on_models_that_did_not_fit() -> None:
    true = Calibration(1.5, 0.1)
    measured = [true.total(parts) for parts in MODELS]
    for i in BY_SIZE[1::2]:  # the fit must not see these
        measured[i] *= 1.1
    found, accuracy = calibrate(MODELS, measured)
    assert (found.slope, found.call_ms) == pytest.approx((1.5, 0.1))
    assert accuracy.mape_percent == pytest.approx(100 * (1 - 1 / 1.1))


def test_spearman_with_ties_and_swaps() -> None:
    held = [5.0, 7.0, 7.0, 9.0]
    sums = [v for pair in zip([4.0, 6.0, 8.0, 10.0], [5.0, 7.0, 8.5, 11.0], strict=True) for v in pair]
    whole = [v for pair in zip([4.0, 6.0, 8.0, 10.0], held, strict=True) for v in pair]
    a, b = np.array([0, 1, 2, 3]), np.array([0, 1.5, 1.5, 3])
    assert calibrate([[v] for v in sums], whole)[1].spearman == pytest.approx(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_models_there_is_no_error(count: int) -> None:
    found, accuracy = calibrate(MODELS[:count], [1.0] * count)
    assert found == Calibration()
    assert math.isnan(accuracy.spearman)
    assert accuracy.num_models == count // 2
