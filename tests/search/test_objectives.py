"""Signs, bounds and unknown metrics."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from nas_ray.errors import SpecError
from nas_ray.search import Constraint, Objective, minimised, violation


def test_max_is_negated() -> None:
    assert minimised([Objective("loss"), Objective("acc", "max")], {"loss": 2.0, "acc": 0.75}) == (2.0, -0.75)


def test_violation_is_relative_and_zero_on_the_bound() -> None:
    constraints = [Constraint("params", 100), Constraint("latency_ms", 10.0)]
    assert violation(constraints, {"params": 100, "latency_ms": 10.0}) == 0
    assert violation(constraints, {"params": 150, "latency_ms": 5.0}) == 0.5
    assert violation(constraints, {"params": math.nan, "latency_ms": 5.0}) == math.inf
    assert Constraint("params", 0).violation({"params": 3}) == 3


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"unknown metric 'parms'; known: loss, params. Did you mean 'params'"):
        violation([Constraint("parms", 1)], {"params": 1, "loss": 1})
    with pytest.raises(SpecError, match="unknown metric 'los'"):
        minimised([Objective("los")], {"loss": 1})
    with pytest.raises(SpecError, match="unknown mode 'mix'"):
        Objective("loss", cast(Any, "mix"))
