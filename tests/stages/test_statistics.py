"""Intervals of seeds and of test examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from nas_ray.stages.tasks._statistics import resampled, verdict


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([0.02, 0.03, 0.025], "better"), ([-0.02, -0.03, -0.025], "worse"), ([-0.01, 0.02, 0.03], "open"),
        ([0.02], "open"), ([0.02, 0.02, 0.02], "open"),
    ],
)  # fmt: skip
def test_what_differences_say(differences: list[float], said: str) -> None:
    assert verdict(differences)["verdict"] == said


def test_an_interval_over_examples_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.1, 1, 300)
    found = resampled(lambda at: float(values[list(at)].mean()), [str(n) for n in range(300)])
    wanted = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(4)).confidence_interval
    assert found["difference"] == values.mean()
    assert (found["low"], found["high"]) == pytest.approx(tuple(wanted), abs=0.015)


def test_examples_of_one_group_are_drawn_together() -> None:
    values = np.random.default_rng(3).normal(0.1, 1, 100)
    one = resampled(lambda at: float(values[list(at)].mean()), [str(n) for n in range(100)])
    many = resampled(lambda at: float(values[np.array(at) // 5].mean()), [str(n // 5) for n in range(500)])
    assert many["high"] - many["low"] == pytest.approx(one["high"] - one["low"], rel=0.15)
