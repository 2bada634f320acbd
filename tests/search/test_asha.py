"""Decisions on arrival, in closed form."""

from __future__ import annotations

import math

import pytest

from nas_ray.search import Asha, log_edges


def of(loss: float, size: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "encoder_params": size}


def test_top_third_goes_on_after_the_grace() -> None:
    asha = Asha([1, 3, 9], eta=3, min_per_bin=3)
    losses = [5.0, 6.0, 5.5, 4.0, 4.5, 4.2, 4.0]
    found = [asha.report(f"c{i}", 0, of(loss)) for i, loss in enumerate(losses)]
    # n = 1, 2: grace; 3: best of 3; 4, 5: best only; 6: best two; 7: a tie with the best passes
    assert found == [True, True, False, True, False, True, True]


def test_bins_and_rungs_are_judged_apart() -> None:
    asha = Asha([1, 3, 9], eta=2, min_per_bin=2, bin_edges=(10.0,))
    assert asha.report("good-large", 0, of(0.1, 100.0))
    assert asha.report("small", 0, of(5.0))
    assert not asha.report("large", 0, of(0.2, 100.0))
    assert asha.report("smaller", 0, of(4.0, 2.0))
    assert not asha.report("on-the-edge", 0, of(0.3, 10.0))  # belongs above
    assert asha.report("smaller", 1, of(9.0, 2.0))


def test_nan_is_stopped_and_counts_as_arrived() -> None:
    asha = Asha([1, 3], eta=2, min_per_bin=3)
    assert not asha.report("a", 0, of(math.nan))
    assert not asha.report("b", 0, of(math.inf))
    assert asha.report("c", 0, of(1.0))
    assert asha.report("d", 0, of(0.5))


def test_last_rung_completes() -> None:
    asha = Asha([1, 3], eta=3, min_per_bin=1)
    assert asha.report("a", 0, of(1.0))
    assert not asha.report("a", 1, of(1.0))
    assert asha.rungs == (1, 3)
    assert not Asha([5]).report("a", 0, of(1.0))


def test_references_are_never_stopped_nor_compared_with() -> None:
    asha = Asha([1, 3], eta=2, min_per_bin=1, exempt=["teacher"])
    assert asha.report("teacher", 0, of(0.0))
    assert asha.report("a", 0, of(9.0))
    assert asha.report("teacher", 0, of(math.nan))
    assert not asha.report("teacher", 1, of(0.0))  # completed


def test_enqueued_are_judged_among_themselves() -> None:
    asha = Asha([1, 3], eta=2, min_per_bin=2, apart=["s1", "s2"])
    assert asha.report("s1", 0, of(0.1))
    assert not asha.report("s2", 0, of(0.2))
    assert asha.report("a", 0, of(9.0))
    assert asha.report("b", 0, of(8.0))


def test_a_repeated_report_replaces() -> None:
    asha = Asha([1, 3], eta=2, min_per_bin=2, bin_edges=(10.0,))
    for _ in range(5):
        assert asha.report("a", 0, of(1.0))  # still alone: grace
    assert asha.report("b", 0, of(0.5))
    assert asha.report("a", 0, of(0.1))
    assert asha.report("a", 0, of(0.1, 99.0))  # moved to another bin, and left the first
    assert asha.report("b", 0, of(7.0))


@pytest.mark.parametrize("cut", [0, 1, 9, 25])
def test_restored_records_lead_to_the_same_decisions(cut: int) -> None:
    reports = [(f"c{i}", i % 2, of(float((i * 7) % 11), float(1 + i % 5))) for i in range(40)]
    whole, resumed = (Asha([1, 3, 9], eta=3, min_per_bin=2, bin_edges=(3.0,)) for _ in range(2))
    expected = [whole.report(*report) for report in reports]
    resumed.restore(reports[:cut])
    assert [resumed.report(*report) for report in reports[cut:]] == expected[cut:]


def test_eta_at_its_ends() -> None:
    nobody = Asha([1, 3], eta=1, min_per_bin=1)
    assert all(nobody.report(f"c{i}", 0, of(float(i))) for i in range(9))
    best = Asha([1, 3], eta=math.inf, min_per_bin=1)
    assert [best.report(f"c{i}", 0, of(loss)) for i, loss in enumerate([3, 4, 2, 2])] == [
        True,
        False,
        True,
        True,
    ]


def test_log_edges() -> None:
    assert log_edges(1, 1000, 3) == pytest.approx((10, 100))
    assert log_edges(5, 5, 1) == ()
    with pytest.raises(ValueError, match="accepted"):
        log_edges(0, 5, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rungs": []},
        {"rungs": [3, 1]},
        {"rungs": [0, 1]},
        {"rungs": [1], "eta": 0.5},
        {"rungs": [1], "min_per_bin": 0},
        {"rungs": [1], "objectives": []},
    ],
)
def test_misuse_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="accepted"):
        Asha(**arguments)
    with pytest.raises(ValueError, match="rung 2"):
        Asha([1, 3]).report("a", 2, of(1.0))
