"""Sampling of paths: a function of its arguments, spread as promised."""

from __future__ import annotations

from collections import Counter

import pytest

from nas_ray.distill import step_paths, stratified_sample
from nas_ray.space import OperationChoice, PathSpace

SPACE = PathSpace(
    "s", 1, 3, (16, 32, 64), 16,
    (OperationChoice("attention"), OperationChoice("feed_forward"), OperationChoice("separable_conv")),
    (64,),
)  # fmt: skip


def test_step_paths_depend_on_seed_block_and_step_alone() -> None:
    first = step_paths(SPACE.paths, 4, seed=1, block=0, step=7, law="depths")
    step_paths(SPACE.paths[:5], 4, seed=1, block=0, step=7, law="depths")
    assert step_paths(SPACE.paths, 4, seed=1, block=0, step=7, law="depths") == first
    assert step_paths(list(SPACE.paths), 4, seed=1, block=0, step=7, law="depths") == first
    others = [step_paths(SPACE.paths, 4, *key, "depths") for key in ((2, 0, 7), (1, 1, 7), (1, 0, 8))]
    assert all(other != first for other in others)


def test_a_list_that_grows_is_grouped_anew() -> None:
    paths = [SPACE.paths[0]]
    step_paths(paths, 1, 0, 0, 0, "depths")
    paths[0] = SPACE.paths[-1]
    assert step_paths(paths, 1, 0, 0, 0, "depths") == [SPACE.paths[-1]]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_widths_take_turns(count: int) -> None:
    widths = [path.width for step in range(6) for path in step_paths(SPACE.paths, count, 0, 0, step, "depths")]
    assert widths == [(16, 32, 64)[k % 3] for k in range(6 * count)]


def test_depths_are_equally_likely() -> None:
    found = Counter(path.depth for step in range(300) for path in step_paths(SPACE.paths, 3, 0, 0, step, "depths"))
    assert sum(found.values()) == 900
    assert all(abs(found[depth] - 300) < 60 for depth in (1, 2, 3))  # 4 standard deviations


def test_uniform_over_all_paths_prefers_the_deepest() -> None:
    found = Counter(path.depth for step in range(300) for path in step_paths(SPACE.paths, 3, 0, 0, step, "paths"))
    assert abs(found[3] - 900 * 27 / 39) < 60


def test_prefixes_are_drawn_with_the_whole_paths() -> None:
    drawn = {path for step in range(300) for path in step_paths(SPACE.paths, 3, 0, 0, step, "prefixes")}
    assert drawn == {path for path in SPACE.paths if path.depth == 3}
    left = (SPACE.paths[0], SPACE.paths[1], *(p for p in SPACE.paths if p.width == 64 and p.depth == 1))
    assert SPACE.paths[0].operations == SPACE.paths[1].operations[:1]
    shrunk = {path for step in range(60) for path in step_paths(left, 2, 0, 0, step, "prefixes")}
    assert shrunk == set(left[1:])


def test_sandwich_trains_both_ends_of_every_width() -> None:
    found = [step_paths(SPACE.paths, 3, 0, 0, step, "sandwich") for step in range(4)]
    for place, width in enumerate((16, 32, 64)):
        sizes = sorted(path.num_params() for path in SPACE.paths if path.width == width)
        assert [found[turn][place].num_params() for turn in (0, 1)] == [sizes[-1], sizes[0]]
    assert len({path for paths in found[2:] for path in paths}) > 3


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40, 117, 500])
def test_stratified_sample(count: int) -> None:
    found = stratified_sample(SPACE.paths, count, seed=3)
    assert found == stratified_sample(tuple(reversed(SPACE.paths)), count, seed=3)
    assert len(set(found)) == len(found) == min(count, len(SPACE.paths))
    shares = Counter(path.width for path in found)
    assert max(shares.values()) - min(shares.values()) <= 1 or len(shares) < 3
    if 3 < count < len(SPACE.paths):
        assert found != stratified_sample(SPACE.paths, count, seed=4)


def test_a_stratified_sample_spans_the_sizes() -> None:
    found = [path.num_params() for path in stratified_sample(SPACE.paths, 30, seed=0) if path.width == 64]
    every = sorted(path.num_params() for path in SPACE.paths if path.width == 64)
    for k in range(10):
        low, high = every[k * len(every) // 10], every[min(len(every) - 1, (k + 1) * len(every) // 10)]
        assert any(low <= size <= high for size in found)


def test_what_a_small_width_cannot_give_goes_to_the_others() -> None:
    paths = (*[p for p in SPACE.paths if p.width == 16][:2], *[p for p in SPACE.paths if p.width == 32])
    shares = Counter(path.width for path in stratified_sample(paths, 20, seed=0))
    assert shares == {16: 2, 32: 18}
