"""Progressive shrinking against a slow reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from fractions import Fraction
from pathlib import Path as File
from typing import Any

import numpy as np
import pytest

from nas_ray.distill import BlockConfig, LocalBlocks, ShrinkPlan, is_shrunk, path_bins, shrink_once
from nas_ray.space import OperationChoice, Path, PathSpace
from nas_ray.spec import load_space
from tests.distill.configs import block_configs, shrink_plan
from tests.distill.test_worker import run, same

SPACE = PathSpace(
    "s", 1, 3, (16, 32, 64), 16,
    (OperationChoice("attention"), OperationChoice("feed_forward"), OperationChoice("separable_conv")),
    (64,),
)  # fmt: skip
PLAN = shrink_plan(bins=5, epochs=8, warm_epochs=0, sample=6, keep=3, remove=0.5)


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


@pytest.mark.parametrize("num_bins", [1, 3, 10])
def test_the_papers_bands_against_a_slow_reference(num_bins: int) -> None:
    times = latencies()
    top = max(SPACE.paths, key=lambda path: path.num_params())
    times[top.path_id] *= 0.5  # so that some paths are slower than the largest
    size, time = Fraction(top.num_params(), num_bins), Fraction(times[top.path_id]) / num_bins
    expected = {
        b: inside
        for b in range(num_bins)
        if (inside := tuple(
            path for path in SPACE.paths
            if b * size < path.num_params() <= (b + 1) * size and b * time < times[path.path_id] <= (b + 1) * time
        ))
    }  # fmt: skip
    assert path_bins(SPACE.paths, times, num_bins, "band") == expected
    assert top in expected[num_bins - 1]
    assert any(times[path.path_id] > times[top.path_id] for path in SPACE.paths)  # these are in no bin


@pytest.mark.parametrize("rule", ["at_most", "band", "ignore"])
def test_bins_by_size_alone(rule: Any) -> None:
    """Where latency is ignored, or the same for all, every path has a bin."""
    times = {} if rule == "ignore" else dict.fromkeys((p.path_id for p in SPACE.paths), 0.0)
    assert path_bins(SPACE.paths, times, 4, rule) == bins(4)


def test_the_papers_space_has_unequal_bins() -> None:
    """Two-unit convolutions, parameters alone; three FFN-512 are exactly half of the largest path, six of them."""
    space = load_space("nas_bert")
    assert isinstance(space, PathSpace)
    found = path_bins(space.paths, {}, 10, "ignore")
    assert [len(paths) for paths in found.values()] == [46770, 17364, 13028, 8694, 5186, 4776, 1346, 445, 34, 7]
    left, plan = (
        {b: range(len(paths)) for b, paths in found.items()},
        shrink_plan(10, 56, 3, sample=2000, keep=10, remove=0.5),
    )
    epochs = 0
    while any(len(paths) > plan.keep for paths in left.values()):
        epochs += 1
        left = {b: range(len(p) - min(max(0, len(p) - 10), plan.quota(min(len(p), 2000)))) for b, p in left.items()}
    assert epochs == 53


def by_size(paths: Sequence[Path]) -> Mapping[str, float]:
    return {path.path_id: float(path.num_params()) for path in paths}


def bins(num_bins: int = 5) -> dict[int, tuple[Path, ...]]:
    return path_bins(SPACE.paths, dict.fromkeys((p.path_id for p in SPACE.paths), 0.0), num_bins)


def test_the_worst_of_the_sample_go() -> None:
    plan = shrink_plan(5, 8, 0, sample=1000, keep=3, remove=0.4)
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
    plan = shrink_plan(5, 8, 0, sample=6, keep=keep, remove=remove)
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
    plan = shrink_plan(1, 1, 0, sample=8, keep=2, remove=0.5)
    left, _ = shrink_once(
        {0: paths}, plan, lambda ps: {p.path_id: values[paths.index(p)] for p in ps}, np.random.default_rng(0)
    )
    assert left[0] == tuple(paths[i] for i in (0, 2, 4, 7))


def test_the_same_generator_shrinks_the_same() -> None:
    first, second = (shrink_once(bins(), PLAN, by_size, np.random.default_rng(9)) for _ in range(2))
    assert first == second


def test_a_number_instead_of_a_share() -> None:
    plan = shrink_plan(5, 8, 0, sample=20, keep=3, remove=7)
    left, _ = shrink_once(bins(), plan, by_size, np.random.default_rng(0))
    assert {n: len(p) for n, p in left.items()} == {n: max(min(3, len(p)), len(p) - 7) for n, p in bins().items()}


# -- operations -------------------------------------------------------------------------------------------------------

OPERATIONS = shrink_plan(5, 8, 0, sample=30, keep=3, remove=0.3, mode="operations")


def noise(paths: Sequence[Path]) -> Mapping[str, float]:
    """Losses with a mean that differs from place to place, and some that are no number."""
    found = {}
    for path in paths:
        seed = sum(map(ord, path.path_id))
        found[path.path_id] = float("nan") if seed % 41 == 0 else float(np.random.default_rng(seed).random())
    return found


def slowly(paths: list[Path], seen: Mapping[str, float], share: float, floor: int) -> set[str]:
    """The paths left after the worst operations went, one place at a time."""
    losses: dict[tuple[int, int, str], list[float]] = defaultdict(list)
    for path in paths:
        if path.path_id in seen:
            for layer, operation in enumerate(path.operations):
                loss = seen[path.path_id]
                losses[path.width, layer, operation.token].append(float("inf") if loss != loss else loss)
    left = {path.path_id: path for path in paths}
    while losses and len(left) > len(paths) - max(1, int(share * len(paths))):
        width, layer, token = max(losses, key=lambda place: np.mean(losses[place]))
        del losses[width, layer, token]
        without = {
            name: path
            for name, path in left.items()
            if not (path.width == width and [o.token for o in path.operations][layer : layer + 1] == [token])
        }
        left = without if len(without) >= floor else left
    return set(left)


@pytest.mark.parametrize("sample", [12, 30, 1000])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.8])
def test_operations_against_a_slow_reference(sample: int, share: float) -> None:
    plan = replace(OPERATIONS, sample=sample, remove=share)
    left: Mapping[int, Sequence[Path]] = bins()
    rng = np.random.default_rng(3)
    for _ in range(6):
        before = [path for paths in left.values() for path in paths]
        left, seen = shrink_once(left, plan, noise, rng)
        if not seen:
            break
        assert len(seen) == min(sample, len(before))
        after = [path for paths in left.values() for path in paths]
        assert {path.path_id for path in after} == slowly(before, seen, share, 15)
        assert [path for path in before if path in set(after)] == after  # order and bins stay


def test_an_operation_goes_with_every_path_that_holds_it() -> None:
    start = bins()
    left, _ = shrink_once(start, replace(OPERATIONS, sample=1000), noise, np.random.default_rng(0))
    places = {(p.width, k, o) for paths in left.values() for p in paths for k, o in enumerate(p.operations)}
    gone = {(p.width, k, o) for paths in start.values() for p in paths for k, o in enumerate(p.operations)} - places
    assert gone
    kept = {path for paths in left.values() for path in paths}
    for path in (path for paths in start.values() for path in paths):
        assert (path in kept) != any((path.width, k, o) in gone for k, o in enumerate(path.operations))


def test_operations_end_above_what_paths_would_leave() -> None:
    left, rng = bins(), np.random.default_rng(1)
    for _ in range(100):
        if is_shrunk(left, OPERATIONS):
            break
        left, seen = shrink_once(left, OPERATIONS, noise, rng)
        assert seen
        assert all(left.values())
    assert is_shrunk(left, OPERATIONS)
    assert 15 <= sum(map(len, left.values())) < 30
    assert shrink_once(left, OPERATIONS, noise, rng) == (left, {})


# -- none -------------------------------------------------------------------------------------------------------------


def test_none_evaluates_what_paths_begins_with_and_removes_nothing() -> None:
    start = path_bins(SPACE.paths, latencies(), 5)
    small = [n for n, paths in start.items() if len(paths) <= PLAN.keep]
    _, judged = shrink_once(start, PLAN, by_size, np.random.default_rng(4))
    left, seen = shrink_once(start, replace(PLAN, mode="none"), by_size, np.random.default_rng(4))
    assert left == start
    assert seen.keys() - judged.keys() == {p.path_id for n in small for p in start[n]}
    assert judged.keys() <= seen.keys()
    assert not is_shrunk(start, replace(PLAN, mode="none"))


def test_it_is_shrunk_when_nothing_more_would_go() -> None:
    left, rng = bins(), np.random.default_rng(1)
    assert not is_shrunk(left, PLAN)
    while not is_shrunk(left, PLAN):
        left, _ = shrink_once(left, PLAN, by_size, rng)
    assert shrink_once(left, PLAN, by_size, rng) == (left, {})


# -- in a block's training --------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tiny_teacher_dir: File, tiny_space: PathSpace, tmp_path: File) -> Callable[..., LocalBlocks]:
    """Both blocks of the tiny teacher, trained for 12 steps with the given plan."""

    def to_the_end(plan: ShrinkPlan, folder: str = "run", steps: int = 12) -> LocalBlocks:
        changes = {"steps": 12, "checkpoint_every": 2, "sample_paths": 4, "evaluations": 1, "ridges": (1e-2,)}
        blocks = LocalBlocks(block_configs(tiny_space, tiny_teacher_dir, tmp_path / folder, shrink=plan, **changes))
        run(blocks, steps)
        return blocks

    return to_the_end


STOPPING = shrink_plan(2, 6, 1, sample=60, keep=20, remove=0.9, latency="ignore", batches=1, stop=True)


def test_training_ends_when_nothing_more_will_go(trained: Callable[..., LocalBlocks]) -> None:
    blocks = trained(STOPPING)
    for worker in blocks.workers:
        assert 2 < len(worker.shrinking) < 6
        assert worker.shrinking[-1]["step"] == 2 * len(worker.shrinking)
        assert worker.curve[-1][0] == worker.shrinking[-1]["step"]
        assert worker.shrinking[-1]["remaining"] == len(worker.remaining()) <= 40
        assert is_shrunk(worker.bins, STOPPING)
    assert blocks.call("position") == [12, 12]
    blocks.close()
    first = trained(STOPPING, "broken", 5)  # the last checkpoint is that of step 4
    first.close()
    again = trained(STOPPING, "broken")
    assert same(again, blocks)
    again.close()
    finished = trained(STOPPING, "broken")
    assert same(finished, blocks)
    finished.close()


def test_none_trains_the_whole_space(trained: Callable[..., LocalBlocks], tiny_space: PathSpace) -> None:
    blocks = trained(replace(STOPPING, mode="none", sample=10))
    for worker in blocks.workers:
        assert [entry["epoch"] for entry in worker.shrinking] == [1, 2, 3, 4, 5, 6]
        assert {entry["remaining"] for entry in worker.shrinking} == {len(tiny_space.paths)}
        assert np.isnan(worker.shrinking[0]["mean"])
        assert all(0 < entry["best"] <= entry["mean"] for entry in worker.shrinking[1:])
        assert worker.remaining() == [path.path_id for path in tiny_space.paths]
    blocks.close()


def test_the_curve_goes_on_when_nothing_more_goes(trained: Callable[..., LocalBlocks]) -> None:
    plan = replace(STOPPING, mode="operations", stop=False)
    blocks = trained(plan)
    for worker in blocks.workers:
        assert is_shrunk(worker.bins, plan)
        assert all(entry["best"] > 0 for entry in worker.shrinking[1:])
        assert worker.shrinking[-1]["remaining"] == worker.shrinking[-2]["remaining"] >= 40
    blocks.close()


@pytest.mark.parametrize("settings", [BlockConfig, ShrinkPlan])
def test_what_the_spec_gives_has_no_default_below_it(settings: Any) -> None:
    optional = {f.name for f in fields(settings) if f.default is not MISSING or f.default_factory is not MISSING}
    assert optional <= {"latencies", "threads", "rank"}
