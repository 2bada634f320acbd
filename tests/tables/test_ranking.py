"""Kendall's tau against scipy, over like sizes only, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas_ray.tables import kendall_tau

VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12)


@given(VALUES)
def test_one_block_is_scipys_tau_b(pairs: list[tuple[int, int]]) -> None:
    score, truth = ([float(p[k]) for p in pairs] for k in (0, 1))
    expected = kendalltau(score, truth).statistic
    found = kendall_tau({0: score}, {0: truth}).value
    assert found == pytest.approx(expected, nan_ok=True)


def test_blocks_are_pooled_without_pairs_across_them() -> None:
    found = kendall_tau({0: [1, 2, 3], 1: [30, 20, 10]}, {0: [1, 2, 3], 1: [1, 2, 3]})
    assert found.value == 0
    assert found.pairs == 6


def test_only_pairs_of_like_size_count() -> None:
    score, truth, sizes = [1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0], [100.0, 109.0, 500.0, 1000.0]
    found = kendall_tau({0: score}, {0: truth}, within=({0: sizes}, 0.1))
    assert (found.value, found.pairs) == (-1.0, 1)


def test_the_interval_holds_the_value_and_narrows_with_more_paths() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (10, 160):
        truth = rng.normal(size=count)
        score = truth + rng.normal(scale=0.5, size=count)
        tau = kendall_tau({0: score.tolist()}, {0: truth.tolist()})
        assert tau.low < tau.value < tau.high
        widths.append(tau.high - tau.low)
    assert widths[1] < widths[0] / 2


def test_nothing_to_compare_is_no_number() -> None:
    tau = kendall_tau({0: [1.0, 1.0]}, {0: [1.0, 2.0]})
    assert np.isnan(tau.value)
    assert np.isnan(tau.low)
