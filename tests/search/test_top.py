"""The exact best T against brute force and against an integer program."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from nas_ray.search import Choice, exact_front, exact_top
from tests.search.test_front import Slots, make_seam, random_slots, total


def listed(slots: Slots, seam: Any, bounds: list[Any], count: int) -> list[float]:
    totals = [total(chosen, seam) for chosen in product(*slots)]
    within = [t[0] for t in totals if all(b is None or v <= b for v, b in zip(t, bounds, strict=True))]
    return sorted(within)[:count]


@pytest.mark.parametrize("seed", range(150))
def test_the_best_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    metrics = int(rng.integers(1, 5))
    slots = random_slots(rng, int(rng.integers(1, 5)), 6, metrics)
    if rng.random() < 0.5:  # sums that hardly ever tie
        slots = [
            [Choice(c.name, c.boundary, (c.values[0] + float(rng.random()), *c.values[1:])) for c in slot]
            for slot in slots
        ]
    bounds = [None if rng.random() < 0.5 else float(rng.integers(2, 24)) for _ in range(metrics)]
    seam, count = make_seam(metrics), int(rng.integers(1, 40))
    found = exact_top(slots, seam, bounds, count)
    np.testing.assert_allclose([point.values[0] for point in found.points], listed(slots, seam, bounds, count))
    assert found.guarantee.startswith("exact")
    assert len({point.names for point in found.points}) == len(found.points)
    by_name = {choice.name: choice for slot in slots for choice in slot}
    for point in found.points:
        values = total(tuple(by_name[name] for name in point.names), seam)
        np.testing.assert_allclose(values, point.values)
        assert all(b is None or v <= b for v, b in zip(point.values, bounds, strict=True))


def test_a_dominated_choice_may_cost_more_than_any_other_and_is_not_taken_for_safe() -> None:
    rng = np.random.default_rng([1091, 1])  # nine of 3,000 such draws told apart whether that was seen to
    metrics = int(rng.integers(2, 5))
    slots = random_slots(rng, int(rng.integers(2, 5)), 6, metrics)
    bounds = [None] + [float(rng.integers(2, 24)) if rng.random() < 0.8 else None for _ in range(metrics - 1)]
    seam, count = make_seam(metrics), int(rng.integers(1, 40))
    found = exact_top(slots, seam, bounds, count)
    np.testing.assert_allclose([point.values[0] for point in found.points], listed(slots, seam, bounds, count))


def test_forbidden_seams_and_values_that_are_not_finite() -> None:
    def seam(before: int, after: int | None) -> tuple[float, ...]:
        return (float("inf"),) * 2 if before == 1 and after == 1 else (0.0, 0.0)

    slots = [
        [Choice("a", 1, (0.0, 1.0)), Choice("b", 0, (1.0, 1.0)), Choice("nan", 0, (float("nan"), 0.0))],
        [Choice("c", 1, (0.0, 1.0)), Choice("d", 0, (5.0, 1.0)), Choice("inf", 0, (0.0, float("inf")))],
    ]
    found = exact_top(slots, seam, [None, 9.0], 5)
    assert [point.names for point in found.points] == [("b", "c"), ("a", "d"), ("b", "d")]
    assert exact_top(slots, seam, [None, 1.0], 5).points == ()


def test_what_meets_a_bound_but_for_rounding_is_left_out_and_ends() -> None:
    slots = [[Choice("a", 0, (1.0, 0.1))], [Choice("b", 0, (1.0, 0.2)), Choice("c", 0, (2.0, 0.1))]]
    found = exact_top(slots, lambda a, b: (0.0, 0.0), [None, 0.3], 5)  # 0.1 + 0.2 > 0.3
    assert [point.names for point in found.points] == [("a", "c")]
    assert [point.names for point in exact_top(slots, lambda a, b: (0.0, 0.0), [None, 0.3], 1).points] == [("a", "c")]


def test_a_metric_that_does_not_count_may_be_anything() -> None:
    slots = [[Choice("a", 0, (1.0, 1.0, float("nan")))], [Choice("b", 0, (1.0, 2.0, float("inf")))]]
    found = exact_top(slots, lambda a, b: (0.0, 0.0, 0.0), [None, 9.0, None], 2)
    assert [point.names for point in found.points] == [("a", "b")]


def integer_program(slots: Slots, seam: Any, bounds: list[Any]) -> float | None:
    """The optimum by ``scipy.optimize.milp``: one variable a choice, and one a pair of boundaries at each seam."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    columns: list[tuple[float, ...]] = [choice.values for slot in slots for choice in slot]
    starts = np.cumsum([0, *[len(slot) for slot in slots]])
    equal: list[tuple[dict[int, float], float]] = [
        ({int(i): 1.0 for i in range(starts[s], starts[s + 1])}, 1.0) for s in range(len(slots))
    ]
    for s, (here, after) in enumerate(zip(slots, [*slots[1:], None], strict=True)):
        befores = dict.fromkeys(c.boundary for c in here)
        afters = [None] if after is None else list(dict.fromkeys(c.boundary for c in after))
        number = {pair: len(columns) + k for k, pair in enumerate(product(befores, afters))}
        columns += [seam(*pair) for pair in number]
        for b in befores:  # the seams that leave a boundary are as many as its choices
            leaving: dict[int, float] = {i: 1.0 for pair, i in number.items() if pair[0] == b}
            equal.append((leaving | {int(starts[s]) + i: -1.0 for i, c in enumerate(here) if c.boundary == b}, 0.0))
        for a in afters if after is not None else []:
            arriving: dict[int, float] = {i: 1.0 for pair, i in number.items() if pair[1] == a}
            assert after is not None
            equal.append(
                (arriving | {int(starts[s + 1]) + i: -1.0 for i, c in enumerate(after) if c.boundary == a}, 0.0)
            )
    table = np.array(columns)
    matrix = np.zeros((len(equal), len(columns)))
    for row, (entries, _) in enumerate(equal):
        matrix[row, list(entries)] = list(entries.values())
    constraints = [LinearConstraint(matrix, [v for _, v in equal], [v for _, v in equal])]
    constraints += [LinearConstraint(table[:, j], -np.inf, b) for j, b in enumerate(bounds) if b is not None]
    solved = milp(table[:, 0], constraints=constraints, integrality=np.ones(len(columns)), bounds=Bounds(0, 1))
    return float(solved.fun) if solved.success else None


@pytest.mark.parametrize("seed", range(200))
def test_the_optimum_is_that_of_an_integer_program(seed: int) -> None:
    """4 to 12 blocks of 5 to 100 choices, 1 to 3 bounds, three widths whose maps cost."""
    rng = np.random.default_rng([seed, 2])
    metrics = 1 + int(rng.integers(1, 4))
    slots = [
        [
            Choice(f"{s}.{c}", int(rng.integers(3)), tuple(map(float, rng.integers(1, 60, size=metrics))))
            for c in range(int(rng.integers(5, 101)))
        ]
        for s in range(int(rng.integers(4, 13)))
    ]
    seam = make_seam(metrics)
    least = exact_front(slots, seam, [None] * metrics, [1]).points[0].values[1]
    bounds = [None, *(float(round(least * factor)) for factor in rng.uniform(0.7, 3.0, size=metrics - 1))]
    top, expected = exact_top(slots, seam, bounds, 3).points, integer_program(slots, seam, bounds)
    front = exact_front(slots, seam, bounds, [0]).points
    if expected is None:
        assert not top
        assert not front
    else:
        assert top[0].values[0] == front[0].values[0] == pytest.approx(expected)
