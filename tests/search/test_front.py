"""The exact solver against brute force, and what it promises when it thins."""

from __future__ import annotations

import re
import time
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from nas_ray.errors import InfeasibleError
from nas_ray.search import (
    Choice,
    exact_front,
    non_dominated,
    require_feasible,
    smallest_reachable,
    spread,
)

Slots = list[list[Choice]]


def make_seam(metrics: int) -> Any:
    """Adds something wherever boundaries differ, and behind the last slot."""

    def seam(before: int, after: int | None) -> tuple[float, ...]:
        cost = 0 if before == after else 1 + (before * 3 + (0 if after is None else after) * 5) % 4
        return (0.0,) + (float(cost),) * (metrics - 1)

    return seam


def random_slots(rng: np.random.Generator, slots: int, choices: int, metrics: int) -> Slots:
    return [
        [
            Choice(f"{s}.{c}", int(rng.integers(3)), tuple(map(float, rng.integers(6, size=metrics))))
            for c in range(int(rng.integers(1, choices + 1)))
        ]
        for s in range(slots)
    ]


def total(chosen: tuple[Choice, ...], seam: Any) -> np.ndarray:
    values = np.array(chosen[0].values)
    for before, after in pairwise(chosen):
        values = values + seam(before.boundary, after.boundary) + after.values
    return values + seam(chosen[-1].boundary, None)


def brute_force(slots: Slots, seam: Any, bounds: list[Any], minimise: list[int]) -> set[tuple[float, ...]]:
    totals = np.array([total(chosen, seam) for chosen in product(*slots)])
    within = totals[[all(b is None or v <= b for v, b in zip(t, bounds, strict=True)) for t in totals]]
    objectives = within[:, minimise]
    return {tuple(row) for row in objectives[non_dominated(objectives)]} if len(within) else set()


@pytest.mark.parametrize("seed", range(120))
def test_front_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metrics = int(rng.integers(2, 5))
    slots = random_slots(rng, int(rng.integers(1, 5)), 6, metrics)
    bounds = [None if rng.random() < 0.5 else float(rng.integers(4, 24)) for _ in range(metrics)]
    minimise = sorted(rng.choice(metrics, size=int(rng.integers(1, metrics + 1)), replace=False).tolist())
    seam = make_seam(metrics)
    front = exact_front(slots, seam, bounds, minimise)
    expected = brute_force(slots, seam, bounds, minimise)
    found = [tuple(point.values[j] for j in minimise) for point in front.points]
    assert found == sorted(expected)
    assert front.guarantee.startswith("exact")
    by_name = {choice.name: choice for slot in slots for choice in slot}
    for point in front.points:  # the names add up to the values
        assert tuple(total(tuple(by_name[name] for name in point.names), seam)) == point.values


def test_values_that_are_not_finite_are_left_out() -> None:
    slots = [[Choice("nan", 0, (float("nan"), 1.0)), Choice("ok", 0, (1.0, 2.0))]]
    front = exact_front(slots, lambda a, b: (0.0, 0.0), [None, None], [0, 1])
    assert [point.names for point in front.points] == [("ok",)]
    assert exact_front([[slots[0][0]]], lambda a, b: (0.0, 0.0), [None, None], [0]).points == ()


def test_a_metric_that_does_not_count_may_be_unknown() -> None:
    slots = [[Choice("a", 0, (1.0, float("nan")))]]
    assert exact_front(slots, lambda a, b: (0.0, 0.0), [None, None], [0]).points[0].names == ("a",)


def test_an_infinite_seam_is_forbidden() -> None:
    slots = [[Choice("a", 0, (0.0, 1.0)), Choice("b", 1, (5.0, 1.0))], [Choice("c", 1, (0.0, 1.0))]]
    front = exact_front(slots, lambda a, b: (0.0, np.inf if b == 1 and a == 0 else 0.0), [None, None], [0, 1])
    assert [point.names for point in front.points] == [("b", "c")]


def test_a_bound_that_is_met_exactly_in_floats_is_kept() -> None:
    slots = [[Choice(f"{s}", 0, (1.0, 0.1))] for s in range(10)]
    sums = 0.1
    for _ in range(9):
        sums += 0.1
    assert len(exact_front(slots, lambda a, b: (0.0, 0.0), [None, sums], [0]).points) == 1


def family(metrics: int, choices: int) -> Slots:
    """Like a table of paths: smooth trade-offs with noise at five widths."""
    rng = np.random.default_rng(0)

    def choice(slot: int, width: int, number: int) -> Choice:
        size = rng.uniform(0.1, 1)
        loss = float(np.exp(-3 * size * np.sqrt(width / 512)) * (1 + 0.1 * rng.normal()))
        values = (loss, float(int(size * 12 * width**2)), float(size * width * (1 + 0.2 * rng.normal())))
        return Choice(f"{slot}/{width}/{number}", width, values[:metrics])

    widths = (128, 192, 256, 384, 512)
    return [[choice(s, w, c) for w in widths for c in range(choices // 5)] for s in range(4)]


def width_seam(metrics: int) -> Any:
    return lambda a, b: (0.0, float(a * (b or 384)), 0.01 * (a != b))[:metrics]


def test_four_slots_of_480_choices_take_well_under_ten_seconds() -> None:
    start = time.perf_counter()
    front = exact_front(family(2, 480), width_seam(2), [None, None], [0, 1])
    assert time.perf_counter() - start < 5
    assert len(front.points) > 100
    assert front.guarantee.startswith("exact")


def test_thinning_keeps_its_promise() -> None:
    slots, seam = family(3, 60), width_seam(3)
    exact = exact_front(slots, seam, [None] * 3, [0, 1, 2])
    thin = exact_front(slots, seam, [None] * 3, [0, 1, 2], metrics=("loss", "params", "ms"), max_points=100)
    assert exact.guarantee.startswith("exact")
    assert thin.guarantee.startswith("thinned to 100")
    errors = [float(e) for e in re.findall(r"by at most ([0-9.e+-]+)", thin.guarantee)]
    assert len(errors) == 2
    found = np.array([point.values for point in thin.points])
    for point in exact.points:
        allowed = np.add(point.values, (1e-9, 1.001 * errors[0], 1.001 * errors[1]))
        assert (found <= allowed).all(axis=1).any()
    assert 0 < errors[0] < 0.2 * np.ptp([point.values[1] for point in exact.points])


def test_smallest_reachable_is_exact() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        slots, seam = random_slots(rng, 3, 5, 3), make_seam(3)
        totals = np.array([total(chosen, seam) for chosen in product(*slots)])
        assert smallest_reachable(slots, seam, [None] * 3, 1) == totals[:, 1].min()
        bound = float(np.median(totals[:, 2]))
        least = totals[totals[:, 2] <= bound][:, 1].min()
        assert smallest_reachable(slots, seam, [None, 0.0, bound], 1) == least
        assert smallest_reachable(slots, seam, [None, None, totals[:, 2].min() - 1], 1) is None


def test_infeasible_bounds_name_the_nearest_reachable_value() -> None:
    slots = [[Choice("a", 0, (0.0, 10.0, 1.0)), Choice("b", 0, (0.0, 1.0, 10.0))]] * 2
    names = ("loss", "params", "latency_ms")

    def seam(before: int, after: int | None) -> tuple[float, ...]:
        return 0.0, 0.0, 0.0

    require_feasible(slots, seam, [None, 20, 2], names)
    require_feasible(slots, seam, [None, None, None], names)
    with pytest.raises(InfeasibleError, match=r"params: found the bound 1; the smallest reachable value is 2\."):
        require_feasible(slots, seam, [None, 1, 30], names)
    with pytest.raises(InfeasibleError, match=r"params: .* under the other bounds is 20.* latency_ms: .* is 20"):
        require_feasible(slots, seam, [None, 5, 5], names)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="no slots"):
        exact_front([], lambda a, b: (), [], [0])
    with pytest.raises(ValueError, match="metrics; accepted: 1"):
        exact_front([[Choice("a", 0, (1.0, 2.0))]], lambda a, b: (0.0,), [None], [0])


def test_spread_is_even_over_log_size() -> None:
    sizes = [float(2**i) for i in range(9)] + [250.0, 251.0, 252.0]
    assert spread(sizes, 5, float) == [1, 4, 16, 64, 256]
    assert spread(sizes, 1, float) == [1]
    assert spread(sizes, 0, float) == []
    assert spread(sizes, 99, float) == sorted(sizes)
    assert len(set(spread([1.0, 100.0, 101.0, 102.0], 3, float))) == 3
