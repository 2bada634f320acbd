"""Multi-objective halving: closed forms, a slow reference, every edge case, and its speed."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.errors import SpecError
from nas_ray.search import Asha, Objective, ranks

OBJECTIVES = (Objective("loss"), Objective("params"))


def make(eta: float = 2, min_per_bin: int = 1, objectives: Iterable[Objective] = OBJECTIVES, **options: object) -> Asha:
    return Asha([1, 3, 9], objectives=list(objectives), eta=eta, min_per_bin=min_per_bin, cost="params", **options)  # type: ignore[arg-type]


def of(loss: float, params: float) -> dict[str, float]:
    return {"loss": loss, "params": params}


def among_slowly(rows: list[tuple[float, ...]], values: tuple[float, ...], count: int) -> bool:
    """Ranks by non-dominated sorting of everything, the net by its definition, all in fractions of the ranges."""
    rank_of = dict(zip(rows, ranks(np.array(rows)).tolist(), strict=True))
    numbers = Counter(rows)
    before = sum(numbers[row] for row in numbers if rank_of[row] < rank_of[values])
    front = sorted(row for row in numbers if rank_of[row] == rank_of[values])
    spans = [max(column) - min(column) or 1.0 for column in zip(*front, strict=True)]

    def distance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return sum(((x - y) / span) ** 2 for x, y, span in zip(a, b, spans, strict=True))

    net = [front.pop(0)]
    while net[-1] != values:
        before += numbers[net[-1]]
        farthest = max(min(distance(row, taken) for taken in net) for row in front)
        net.append(next(row for row in front if min(distance(row, taken) for taken in net) == farthest))
        front.remove(net[-1])
    return before < count


# Multiples of 1/8 and spans of powers of two would hide rounding; whole numbers give many ties and equal rows.
ROWS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=40)


@given(ROWS, st.sampled_from([1.5, 2.0, 3.0, math.inf]), st.integers(1, 4))
def test_decisions_are_those_of_a_slow_reference(rows: list[tuple[int, int]], eta: float, grace: int) -> None:
    asha, arrived = make(eta, grace), []
    for i, (loss, params) in enumerate(rows):
        arrived.append((float(loss), float(params)))
        expected = len(arrived) < grace or among_slowly(arrived, arrived[-1], max(1, int(len(arrived) / eta)))
        assert asha.report(f"c{i}", 0, of(*arrived[-1])) is expected


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
def test_three_objectives_too(rows: list[tuple[int, int, int]]) -> None:
    asha = make(objectives=[Objective("loss"), Objective("params"), Objective("flops", "max")])
    arrived = []
    for i, (loss, params, flops) in enumerate(rows):
        arrived.append((float(loss), float(params), -float(flops)))
        expected = among_slowly(arrived, arrived[-1], max(1, len(arrived) // 2))
        assert asha.report(f"c{i}", 0, {**of(loss, params), "flops": flops}) is expected


@given(ROWS)
def test_with_loss_alone_it_is_scalar_halving(rows: list[tuple[int, int]]) -> None:
    """A cost that is the same for all adds nothing."""
    several, one = make(3, 2), make(3, 2, objectives=OBJECTIVES[:1])
    for i, (loss, _) in enumerate(rows):
        assert several.report(f"c{i}", 0, of(loss, 7)) is one.report(f"c{i}", 0, of(loss, 7))


def test_a_dominated_candidate_is_stopped_and_both_ends_of_the_front_go_on() -> None:
    asha = make(eta=2, min_per_bin=4)
    assert asha.report("large", 0, of(0.1, 100))
    assert asha.report("small", 0, of(0.9, 10))
    assert asha.report("dominated", 0, of(0.95, 50))  # grace
    assert not asha.report("dominated too", 0, of(0.9, 20))
    assert asha.report("smallest", 0, of(2.0, 1))  # 2 of 5: the best loss, then the farthest from it
    assert not asha.report("between", 0, of(0.5, 50))  # 3 of 6: it is the last of the front's four to be taken
    assert not make(eta=2, objectives=OBJECTIVES[:1]).report("x", 2, of(1, 1))  # completed


def test_the_net_starts_at_the_least_loss_and_takes_the_farthest() -> None:
    line = [(float(i), float(8 - i)) for i in range(9)]
    # taken in this order: 0, 8, 4, 2 (ties: least loss first), 6, 1, ...
    for count, taken in [(1, {0}), (2, {0, 8}), (3, {0, 8, 4}), (4, {0, 8, 4, 2}), (5, {0, 8, 4, 2, 6})]:
        asha = make(eta=9 / count)
        asha.restore((f"c{i}", 0, of(*row)) for i, row in enumerate(line))
        assert {i for i, row in enumerate(line) if asha.report(f"c{i}", 0, of(*row))} == taken


def test_scales_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((200, 2))
    plain, scaled = make(3), make(3)
    for i, (loss, params) in enumerate(rows.tolist()):
        assert plain.report(f"c{i}", 0, of(loss, params)) is scaled.report(f"c{i}", 0, of(loss, 2.0**20 * params))


def test_equal_candidates_go_on_together() -> None:
    asha = make(eta=4, min_per_bin=4)
    assert [asha.report(f"c{i}", 0, of(1, 1)) for i in range(8)] == [True] * 8
    assert not asha.report("worse", 0, of(1, 2))
    assert asha.report("better", 0, of(1, 0.5))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_finite_objective_stops_and_counts_as_arrived(bad: float) -> None:
    asha = make(eta=2, min_per_bin=3)
    assert not asha.report("a", 0, of(bad, 1))
    assert not asha.report("b", 0, of(1, bad))
    assert asha.report("first", 0, of(5, 5))  # the only one with values
    assert asha.report("front", 0, of(4, 6))  # 2 of 4
    assert not asha.report("dominated", 0, of(6, 6))
    counted = make(eta=2, min_per_bin=1)
    for i in range(3):
        assert not counted.report(f"bad {i}", 0, of(bad, 1))
    assert counted.report("first", 0, of(5, 5))
    assert counted.report("second", 0, of(6, 6))  # 2 of 5 go on


def test_a_candidate_alone_goes_on() -> None:
    assert make(eta=math.inf).report("only", 0, of(9, 9))
    assert make(eta=math.inf).report("only", 1, of(9, 9))


def test_a_late_joiner_is_compared_with_all_before_it() -> None:
    asha = make(eta=2, min_per_bin=2)
    asha.restore((f"c{i}", 1, of(i, i)) for i in range(9))
    assert not asha.report("late", 1, of(5.5, 5.5))
    assert asha.report("late and good", 1, of(-1, -1))
    assert asha.report("late to an empty rung", 0, of(99, 99))


def test_a_failed_trial_keeps_what_it_reported() -> None:
    """It failed after rung 0: its values still stand there, and it is missing at rung 1."""
    asha = make(eta=2, min_per_bin=1)
    assert asha.report("failed later", 0, of(0, 0))
    assert not asha.report("second", 0, of(1, 1))
    assert asha.report("another", 1, of(1, 1))


def test_enqueued_ones_are_judged_among_themselves_at_the_first_rung() -> None:
    asha = make(eta=2, apart={"p1", "p2", "p3"}, apart_rungs=1)
    assert asha.report("p1", 0, of(0, 0))
    assert not asha.report("p2", 0, of(1, 1))
    assert asha.report("a", 0, of(9, 9))
    assert asha.report("p1", 1, of(0, 0))
    assert not asha.report("a", 1, of(9, 9))


def test_bins_keep_sizes_apart() -> None:
    asha = make(eta=2, bin_edges=(10.0,))
    assert asha.report("small", 0, of(5, 1))
    assert asha.report("large", 0, of(9, 20))  # dominated, but of another bin
    assert not asha.report("large too", 0, of(9.5, 21))


def test_a_repeated_report_replaces() -> None:
    asha, fresh = make(2), make(2)
    rows = [(5, 1), (4, 2), (3, 3), (3, 3), (6, 6), (1, 9)]
    for i, row in enumerate(rows):
        asha.report(f"c{i}", 0, of(0, 0) if i % 2 else of(*row))
    for i in range(1, len(rows), 2):
        asha.report(f"c{i}", 0, of(*rows[i]))
    fresh.restore((f"c{i}", 0, of(*row)) for i, row in enumerate(rows))
    probes = [(i, j) for i in range(8) for j in range(8)]
    for i, probe in enumerate(probes):
        assert asha.report(f"p{i}", 0, of(*probe)) is fresh.report(f"p{i}", 0, of(*probe))


@pytest.mark.parametrize("cut", [0, 1, 30, 119])
def test_restored_reports_lead_to_the_same_decisions(cut: int) -> None:
    rng = np.random.default_rng(3)
    reports = [
        (f"c{i}", int(rng.integers(2)), of(float(rng.integers(30)), float(rng.integers(1, 30)))) for i in range(120)
    ]
    options = {"eta": 3, "min_per_bin": 2, "bin_edges": (10.0,), "apart": {"c3", "c4", "c5"}}
    whole, resumed = make(**options), make(**options)  # type: ignore[arg-type]
    expected = [whole.report(*report) for report in reports]
    resumed.restore(reports[:cut])
    assert [resumed.report(*report) for report in reports[cut:]] == expected[cut:]
    assert True in expected
    assert False in expected


def test_a_missing_objective_is_named() -> None:
    with pytest.raises(SpecError, match="unknown metric 'params'"):
        make().report("a", 0, {"loss": 1.0})


def test_ten_thousand_reports_take_less_than_two_milliseconds_each() -> None:
    """One bin, the worst case; loss falls with size as it does for real."""
    rng = np.random.default_rng(0)
    sizes = rng.random(10_000)
    losses = np.exp(-sizes) + 0.3 * rng.random(10_000)
    asha = make(3, 3)
    began = time.process_time()
    for i, (loss, size) in enumerate(zip(losses.tolist(), sizes.tolist(), strict=True)):
        asha.report(f"c{i}", 0, of(loss, size))
    assert (time.process_time() - began) / 10_000 < 2e-3
