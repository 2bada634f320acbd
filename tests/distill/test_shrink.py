"""Progressive shrinking against a slow reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pytest

from nas_ray.distill import ShrinkPlan, path_bins, shrink_once
from nas_ray.space import OperationChoice, Path, PathSpace

SPACE = PathSpace(
    "s", 1, 3, (16, 32, 64), 16,
    (OperationChoice("attention"), OperationChoice("feed_forward"), OperationChoice("separable_conv")),
    (64,),
)  # fmt: skip
PLAN = ShrinkPlan(bins=5, epochs=8, warm_epochs=0, sample=6, keep=3, remove=0.5)


def latencies(seed: int = 0) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    return {path.path_id: path.num_params() * float(rng.uniform(0.5, 1.5)) for path in SPACE.paths}


@pytest.mark.parametrize("num_bins", [1, 3, 10])
def test_bins_against_a_slow_reference(num_bins: int) -> None:
    times = latencies()
    largest, slowest = max(p.num_params() for p in SPACE.paths), max(times.values())

    def band(value: float, most: float) -> int:
        return next(b for b in range(num_bins) if Fraction(value) <= Fraction(b + 1, num_bins) * Fraction(most))

    expected: dict[int, list[Path]] = {}
    for path in SPACE.paths:
        size, time = band(path.num_params(), largest), band(times[path.path_id], slowest)
        if time <= size:
            expected.setdefault(size, []).append(path)
    assert path_bins(SPACE.paths, times, num_bins) == {b: tuple(expected[b]) for b in sorted(expected)}


def test_edges_belong_to_the_lower_bin() -> None:
    paths = [Path(16, SPACE.paths[0].operations * k) for k in range(1, 11)]  # sizes 1/10, 2/10, ... of the largest
    times = {path.path_id: 0.1 * path.depth for path in paths}
    assert path_bins(paths, times, 10) == {k: (path,) for k, path in enumerate(paths)}


def test_without_latencies_to_tell_apart_nothing_is_dropped() -> None:
    found = path_bins(SPACE.paths, dict.fromkeys((p.path_id for p in SPACE.paths), 0.0), 4)
    assert sum(map(len, found.values())) == len(SPACE.paths)


def by_size(paths: Sequence[Path]) -> Mapping[str, float]:
    return {path.path_id: float(path.num_params()) for path in paths}


def bins(num_bins: int = 5) -> dict[int, tuple[Path, ...]]:
    return path_bins(SPACE.paths, dict.fromkeys((p.path_id for p in SPACE.paths), 0.0), num_bins)


def test_the_worst_of_the_sample_go() -> None:
    plan = ShrinkPlan(5, 8, 0, sample=1000, keep=3, remove=0.4)
    left, seen = shrink_once(bins(), plan, by_size, np.random.default_rng(0))
    for number, paths in bins().items():
        removed = sorted((p for p in paths if p not in left[number]), key=lambda p: p.num_params())
        expected = min(max(0, len(paths) - 3), max(1, int(len(paths) * 0.4)))
        assert len(removed) == expected
        assert all(p.path_id in seen for p in removed)
        if removed:
            assert removed[0].num_params() >= max(p.num_params() for p in left[number])
        assert [p for p in paths if p in left[number]] == list(left[number])  # the order stays


def test_only_what_was_evaluated_can_go() -> None:
    asked: list[Path] = []

    def losses(paths: Sequence[Path]) -> Mapping[str, float]:
        asked.extend(paths)
        return by_size(paths)

    left, seen = shrink_once(bins(), PLAN, losses, np.random.default_rng(0))
    removed = {p for n, paths in bins().items() for p in paths if p not in left[n]}
    assert removed <= set(asked)
    assert set(seen) == {p.path_id for p in asked}
    assert len(asked) == sum(min(6, len(paths)) for paths in bins().values() if len(paths) > PLAN.keep)


@pytest.mark.parametrize("keep", [1, 3, 10])
@pytest.mark.parametrize("remove", [0.01, 0.5, 0.99])
def test_it_ends_and_never_goes_below_keep(keep: int, remove: float) -> None:
    plan = ShrinkPlan(5, 8, 0, sample=6, keep=keep, remove=remove)
    left, rng = bins(), np.random.default_rng(1)
    for _ in range(200):
        before = sum(map(len, left.values()))
        left, seen = shrink_once(left, plan, by_size, rng)
        if not seen:
            break
        assert sum(map(len, left.values())) < before
    assert not seen
    assert {n: len(paths) for n, paths in left.items()} == {n: min(keep, len(p)) for n, p in bins().items()}


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    paths = SPACE.paths[:8]
    values = [0.3, float("nan"), 0.1, float("inf"), 0.2, float("nan"), 0.4, 0.0]
    plan = ShrinkPlan(1, 1, 0, sample=8, keep=2, remove=0.5)
    left, _ = shrink_once(
        {0: paths}, plan, lambda ps: {p.path_id: values[paths.index(p)] for p in ps}, np.random.default_rng(0)
    )
    assert left[0] == tuple(paths[i] for i in (0, 2, 4, 7))


def test_the_same_generator_shrinks_the_same() -> None:
    first, second = (shrink_once(bins(), PLAN, by_size, np.random.default_rng(9)) for _ in range(2))
    assert first == second
