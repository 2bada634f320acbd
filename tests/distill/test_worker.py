"""Blocks on the tiny teacher: learning, exact continuation, replay, shrinking, and what a lost block costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_ray.data import Batch
from nas_ray.distill import (
    BlockConfig,
    BlockWorker,
    LocalBlocks,
    path_bins,
    prepare,
    settled,
    stratified_sample,
    train,
)
from nas_ray.errors import StageError
from nas_ray.measure import Stitcher, score_paths
from nas_ray.space import Architecture, PathSpace, parse_path
from nas_ray.space import Path as BlockPath
from nas_ray.teacher import load_teacher, resolve_teacher
from tests.distill.configs import block_configs, shrink_plan

COUNTS = {"calibrate": 5, "select": 2, "test": 1}
SPLITS = ("train", "calibrate", "select", "test")
DISTINCT = 4


class Text:
    """Token batches of a generated text, every third batch with padding: a function of split and index."""

    def batch(self, split: str, index: int) -> Batch:
        rng = np.random.default_rng([SPLITS.index(split), index])
        ids = np.minimum(rng.zipf(1.3, size=(6, 16)), 395).astype(np.int64) + 4
        mask = np.arange(16) < rng.integers(6, 17, size=(6, 1)) if index % 3 == 2 else None
        return Batch(ids, mask, np.zeros((6, 16), np.int32))


TEXT: Any = Text()


@pytest.fixture
def make(tiny_teacher_dir: Path, tiny_space: PathSpace, tmp_path: Path) -> Callable[..., list[BlockConfig]]:
    """Configurations of both blocks; keyword arguments change them."""

    def configs(folder: str = "run", **changes: Any) -> list[BlockConfig]:
        return block_configs(tiny_space, tiny_teacher_dir, tmp_path / folder, **changes)

    return configs


def run(blocks: Any, steps: int = 9, **options: Any) -> list[tuple[int, float]]:
    """Prepare if need be, train to ``steps``; the progress that was reported."""
    seen: list[tuple[int, float]] = []
    if not all(blocks.call("prepared")):
        prepare(blocks, TEXT, COUNTS)
    options = {"in_flight": 1, "distinct": DISTINCT, **options}
    train(
        blocks, TEXT, steps=steps, counts=COUNTS,
        progress=lambda step, loss: seen.append((step, loss)), **options,
    )  # fmt: skip
    return seen


def same(a: Any, b: Any) -> bool:
    """Whether two sets of blocks agree to the bit: weights, curves, remaining paths, steps."""
    for left, right in zip(a.workers, b.workers, strict=True):
        weights = zip(left.supernet.parameters(), right.supernet.parameters(), strict=True)
        if not all(torch.equal(x, y) for x, y in weights):
            return False
        if left.curve != right.curve or left.step != right.step:
            return False
        if json.dumps(left.shrinking) != json.dumps(right.shrinking):  # as text, since it holds NaN
            return False
        if left.remaining() != right.remaining() or left.basis != right.basis:
            return False
    return True


def test_prepare_says_what_must_be_beaten(make: Callable[..., Any]) -> None:
    blocks = LocalBlocks(make())
    assert not any(blocks.call("prepared"))
    lines = prepare(blocks, TEXT, COUNTS)
    assert all(blocks.call("prepared"))
    for line in lines:
        assert 0 < line["linear_loss"] < 1
        assert line["floors"][64] == pytest.approx(0, abs=1e-6)
        assert 0 < line["floors"][32] < 1
        assert line["variance"] > 0
        assert line["basis"] == "pca"
    blocks.close()


def test_blocks_see_the_teachers_states(make: Callable[..., Any], tiny_teacher_dir: Path) -> None:
    blocks = LocalBlocks(make())
    prepare(blocks, TEXT, COUNTS)
    teacher = load_teacher(resolve_teacher(str(tiny_teacher_dir)), 2)
    batches = [TEXT.batch("select", i) for i in range(2)]
    ids = torch.from_numpy(np.concatenate([b.ids for b in batches]))
    with torch.no_grad():
        states = teacher.hidden_states(ids)
    for number, shared in enumerate(blocks.publish()):
        np.testing.assert_allclose(shared["targets"]["select"], states[number + 1].numpy(), atol=1e-5)
    blocks.close()


@pytest.mark.parametrize(("start", "rate", "most"), [("inherit", 2e-3, 0.99), ("scratch", 5e-3, 0.97)])
def test_training_lowers_the_refitted_loss_on_unseen_text(
    make: Callable[..., Any], start: str, rate: float, most: float
) -> None:
    configs = make(start=start, steps=40, batches=40, evaluations=2, checkpoint_every=1000, learning_rate=rate)
    blocks = LocalBlocks(configs)
    seen = run(blocks, 40, distinct=40)
    assert [step for step, _ in seen] == list(range(1, 41))
    for history in blocks.call("history"):
        curve = history["curve"]
        assert [step for step, _ in curve] == [0, 20, 40]
        assert curve[-1][1] < curve[0][1] * most
        assert set(history["seconds"]) == {"teacher", "train", "evaluate"}
    assert [path.name for path in sorted(configs[0].checkpoint_dir.glob("*.json"))] == ["step-00000040.json"]
    blocks.close()


SHRINK = shrink_plan(bins=3, epochs=3, warm_epochs=1, sample=8, keep=4, remove=0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"shrink": None},
        {"shrink": SHRINK},
        {"shrink": SHRINK, "sampling": "prefixes", "updates": 3},
        {"sampling": "sandwich", "rate_exponent": 0.0, "updates": 2},
    ],
)
def test_a_rebuilt_run_equals_an_undisturbed_one(
    make: Callable[..., Any], tiny_space: PathSpace, changes: dict[str, Any]
) -> None:
    extra = {**changes, "latencies": {p.path_id: 1.0 + p.num_params() for p in tiny_space.paths}}
    straight = LocalBlocks(make("straight", **extra))
    run(straight)
    first = LocalBlocks(make("broken", **extra))
    run(first, 7)  # the last checkpoint is that of step 6
    first.close()
    second = LocalBlocks(make("broken", **extra))
    assert second.call("position") == [6, 6]
    assert not same(straight, second)
    run(second)
    assert same(straight, second)
    paths = second.workers[0].remaining()[::7]
    assert straight.score_each([paths, []]) == second.score_each([paths, []])
    third = LocalBlocks(make("broken", **extra))  # finished: only evaluation states are needed
    assert third.call("position") == [9, 9]
    run(third)
    assert same(straight, third)
    for blocks in (straight, second, third):
        blocks.close()


def test_updates_use_up_the_batch_part_by_part(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (config, _) = make(updates=3, steps=2)  # 6 sequences: parts of 2
    blocks = LocalBlocks([config])
    prepare(blocks, TEXT, COUNTS)
    worker, seen = blocks.workers[0], []
    assert worker.trainer is not None
    monkeypatch.setattr(worker.trainer, "step", lambda number, losses: seen.append((number, len(losses))) or [0.0])
    train(blocks, TEXT, steps=2, counts=COUNTS, distinct=2, in_flight=1, progress=lambda *_: None)
    assert seen == [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2)]
    blocks.close()


def test_prefixes_learn_with_the_whole_path(make: Callable[..., Any], tiny_space: PathSpace) -> None:
    worker = BlockWorker(make(sampling="prefixes")[0])
    hidden = torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(0))
    path = max(tiny_space.paths, key=lambda p: p.depth)
    outputs = worker.supernet.prefixes(hidden, path)
    assert len(outputs) == path.depth
    for depth, output in enumerate(outputs, start=1):
        short = BlockPath(path.width, path.operations[:depth])
        torch.testing.assert_close(output, worker.supernet(hidden, short))


def test_a_step_is_done_once_and_in_turn(make: Callable[..., Any]) -> None:
    blocks = LocalBlocks(make())
    prepare(blocks, TEXT, COUNTS)
    worker = blocks.workers[1]
    for index in (0, 1):
        blocks.feed("train", index, TEXT.batch("train", index))
    assert worker.train_step(1) == {"block": 1, "step": 0, "loss": None}  # too early
    assert worker.train_step(0)["step"] == 1
    weights = {name: tensor.clone() for name, tensor in worker.supernet.state_dict().items()}
    assert worker.train_step(0) == {"block": 1, "step": 1, "loss": None}  # repeated
    assert all(torch.equal(weights[name], tensor) for name, tensor in worker.supernet.state_dict().items())
    assert worker.train_step(5)["step"] == 1
    worker.cache.close()
    assert worker.train_step(1) == {"block": 1, "step": 1, "loss": None}  # its batch is gone
    blocks.close()


def test_an_unprepared_block_does_not_train(make: Callable[..., Any]) -> None:
    blocks = LocalBlocks(make())
    blocks.feed("train", 0, TEXT.batch("train", 0))
    assert [report["step"] for report in blocks.train(0)] == [0, 0]
    blocks.close()


def test_batches_streamed_again_are_not_counted_twice(make: Callable[..., Any]) -> None:
    blocks = LocalBlocks(make())
    prepare(blocks, TEXT, COUNTS)
    before = blocks.workers[0].sets.select.num_tokens
    blocks.feed("select", 1, TEXT.batch("select", 1))
    blocks.call("prepare")
    assert blocks.workers[0].sets.select.num_tokens == before
    blocks.close()


class Unlucky(LocalBlocks):
    """Loses a worker at given calls of ``train`` or ``feed``; it comes back from its checkpoint, as an actor would."""

    def __init__(self, configs: list[BlockConfig], lost: dict[tuple[str, int], int]) -> None:
        super().__init__(configs)
        self.configs, self.lost, self.counts = configs, dict(lost), {"train": 0, "feed": 0}

    def _count(self, kind: str) -> None:
        block = self.lost.get((kind, self.counts[kind]))
        self.counts[kind] += 1
        if block is not None:
            self.workers[block].close()
            self.workers[block] = BlockWorker(self.configs[block])

    def train(self, index: int) -> list[dict[str, Any]]:
        self._count("train")
        return super().train(index)

    def feed(self, split: str, index: int, batch: Batch) -> None:
        self._count("feed")
        super().feed(split, index, batch)


@pytest.mark.parametrize(
    ("lost", "in_flight"),
    [
        ({("train", 5): 1}, 1),
        ({("train", 4): 0}, 3),
        ({("train", 1): 0, ("train", 7): 1, ("train", 12): 0}, 2),  # the first before any checkpoint
        ({("feed", 3): 0}, 1),  # while the evaluation text is streamed
        ({("feed", 7): 1, ("feed", 8): 0}, 1),
    ],
)
def test_a_lost_block_goes_back_to_its_checkpoint(
    make: Callable[..., Any], lost: dict[tuple[str, int], int], in_flight: int
) -> None:
    straight = LocalBlocks(make("straight"))
    run(straight)
    unlucky = Unlucky(make("unlucky"), lost)
    seen = run(unlucky, in_flight=in_flight)
    assert unlucky.call("position") == [9, 9]
    assert seen[-1][0] == 9
    assert {step for step, _ in seen} == set(range(1, 10))
    assert same(straight, unlucky)
    straight.close()
    unlucky.close()


def test_blocks_lost_again_and_again_are_an_error(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_ray.distill._pipeline._MAX_SETBACKS", 3)
    unlucky = Unlucky(make(), {("feed", call): 1 for call in range(7, 5000, 8)})
    with pytest.raises(StageError, match="lost 3 times"):
        prepare(unlucky, TEXT, COUNTS)
    assert unlucky.counts["feed"] == 3 * 8
    hopeless = Unlucky(make(checkpoint_every=1000), {("train", call): 0 for call in range(1, 5000)})
    with pytest.raises(StageError, match="lost 3 times"):
        run(hopeless)
    unlucky.close()
    hopeless.close()


@pytest.mark.parametrize("cache_bytes", [0, 60_000, 10**7])
def test_replay_equals_streaming(make: Callable[..., Any], cache_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = LocalBlocks(make("streamed", cache_bytes=0))
    run(streamed)
    replayed = LocalBlocks(make("replayed", cache_bytes=cache_bytes))
    fed = []
    feed = replayed.feed
    monkeypatch.setattr(replayed, "feed", lambda s, i, b: (fed.append(i) if s == "train" else None, feed(s, i, b)))
    held = 0
    train_step = replayed.workers[0].train_step

    def watched(index: int) -> dict[str, Any]:
        nonlocal held
        held = len(replayed.workers[0].cached())
        return train_step(index)

    monkeypatch.setattr(replayed.workers[0], "train_step", watched)
    run(replayed)
    assert same(streamed, replayed)
    assert replayed.workers[0].cached() == []  # training has ended: the disk is free again
    assert held == {0: 0, 60_000: 1, 10**7: 4}[cache_bytes]
    assert len(fed) == 9 - 5 + (held < 4) * 5 - (held == 1) * 2
    streamed.close()
    replayed.close()


def test_shrinking_leaves_enough_and_scores_what_is_left(make: Callable[..., Any], tiny_space: PathSpace) -> None:
    plan = shrink_plan(bins=4, epochs=4, warm_epochs=1, sample=6, keep=3, remove=0.5)
    latencies = {path.path_id: 1.0 + path.num_params() for path in tiny_space.paths}
    blocks = LocalBlocks(make(shrink=plan, latencies=latencies, steps=8))
    run(blocks, 8)
    start = path_bins(tiny_space.paths, latencies, 4)
    for worker in blocks.workers:
        assert [entry["epoch"] for entry in worker.shrinking] == [1, 2, 3, 4]
        remaining = [entry["remaining"] for entry in worker.shrinking]
        assert remaining[0] == sum(map(len, start.values()))
        assert remaining[0] > remaining[1] > remaining[2] > remaining[3]
        assert all(len(worker.bins[n]) >= min(3, len(paths)) for n, paths in start.items())
        left = worker.remaining()
        assert sorted(left) == sorted(p.path_id for paths in worker.bins.values() for p in paths)
        gone = next(p.path_id for p in tiny_space.paths if p.path_id not in left)
        assert set(worker.score([*left[:2], gone])) == set(left[:2])
    blocks.close()


def test_scores_on_the_whole_space(make: Callable[..., Any], tiny_space: PathSpace) -> None:
    blocks = LocalBlocks(make())
    prepare(blocks, TEXT, COUNTS)
    found = blocks.call_one(1, "score")
    assert list(found) == [path.path_id for path in tiny_space.paths]
    assert all(0 < loss < 1.2 for loss in found.values())
    sample = [path.path_id for path in stratified_sample(tiny_space.paths, 6, 1)]
    mean = np.mean([found[name] for name in sample])
    assert blocks.workers[1].curve == [(0, pytest.approx(mean, rel=1e-6))]
    blocks.close()


def test_embeddings(make: Callable[..., Any]) -> None:
    blocks = LocalBlocks(make())
    prepare(blocks, TEXT, COUNTS)
    found = blocks.call_one(0, "score_embeddings", [16, 32, 64], 128)
    assert found["e64"] == 0
    assert 0 < found["e32"] < found["e16"] < 1
    blocks.close()


def test_published_blocks_can_be_stitched(
    make: Callable[..., Any], tiny_space: PathSpace, tiny_teacher_dir: Path
) -> None:
    blocks = LocalBlocks(make())
    run(blocks)
    shared = blocks.publish()
    teacher = load_teacher(resolve_teacher(str(tiny_teacher_dir)), 2)
    stitcher = Stitcher(tiny_space, "inherit", teacher, shared, (1e-3, 1e-1))
    assert stitcher.splits["select"].mask is None
    assert stitcher.splits["calibrate"].mask is not None
    paths = (parse_path("64:M4-F4", 16), parse_path("32:M2-F4-S3", 16))
    student = stitcher.assemble(Architecture(64, paths))
    error, count = stitcher.loss(student, 0, 2, 6)
    assert 0 < error / count / stitcher.variance < 1
    assert blocks.call_one(0, "score", ["64:M4-F4"])["64:M4-F4"] < 1  # the workers still score
    blocks.close()


def test_a_block_without_states_publishes_nothing_until_it_is_prepared(make: Callable[..., Any]) -> None:
    blocks = LocalBlocks(make())
    assert blocks.publish() == [None, None]
    run(blocks)
    blocks.workers[1] = BlockWorker(make()[1])  # as Ray restarts it: its weights are back, its states are not
    assert blocks.call("position") == [9, 9]
    assert blocks.publish()[1] is None
    shared = settled(blocks, TEXT, COUNTS, blocks.publish)
    assert all(set(found["targets"]) == set(COUNTS) for found in shared)
    blocks.close()


def test_scores_take_the_spec_s_precision_and_memory(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def watched(*arguments: Any, **options: Any) -> dict[str, float]:
        seen.append(options)
        return score_paths(*arguments, **options)

    monkeypatch.setattr("nas_ray.distill._worker.score_paths", watched)
    scores = []
    for precision in ("fp32", "bf16"):
        blocks = LocalBlocks(make(precision, score_precision=precision, score_bytes=12345))
        prepare(blocks, TEXT, COUNTS)
        scores.append(blocks.call_one(1, "score", ["32:M2-F4-S3", "64:M4-F4"]))
        assert all(options["precision"] == precision and options["memory_bytes"] == 12345 for options in seen)
        seen.clear()
        blocks.close()
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


@pytest.mark.parametrize("basis", ["auto", "coordinates"])
def test_the_basis_survives_a_restart(make: Callable[..., Any], basis: str) -> None:
    first = LocalBlocks(make(basis=basis, steps=3))
    chosen = [line["basis"] for line in prepare(first, TEXT, COUNTS)]
    assert set(chosen) <= {"pca", "coordinates"}
    run(first, 3)
    first.close()
    second = LocalBlocks(make(basis=basis, steps=3))
    assert [line["basis"] for line in prepare(second, TEXT, COUNTS)] == chosen
    second.close()


def test_a_gpu_that_is_not_there_is_said(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StageError, match="torch finds no GPU"):
        BlockWorker(make(device="cuda")[0])
