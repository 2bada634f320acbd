"""Blocks that train on two workers each: equal to the bit, whichever of them is lost, and to one on joined batches."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_ray.data import Batch
from nas_ray.distill import (
    BlockConfig,
    BlockWorker,
    LocalBlocks,
    ReplicaGroup,
    ShrinkPlan,
    join_replicas,
    prepare,
    step_paths,
    train,
)
from nas_ray.errors import SpecError
from nas_ray.space import PathSpace
from tests.distill.configs import block_configs, shrink_plan
from tests.distill.test_worker import COUNTS, DISTINCT, Text

HOST = "127.0.0.1"
WAIT = 240.0  # seconds for what takes one on an idle machine


class Plain(Text):
    """Training text without padding, in batches of ``joined`` of the other text's."""

    def __init__(self, joined: int = 1) -> None:
        self.joined = joined

    def batch(self, split: str, index: int) -> Batch:
        joined = self.joined if split == "train" else 1
        ids = np.concatenate([super(Plain, self).batch(split, index * joined + k).ids for k in range(joined)])
        return Batch(ids, None, np.zeros(ids.shape, np.int32))


class Replicated:
    """Blocks whose workers are threads with a queue each, as actors are; loses a worker at given steps."""

    def __init__(self, configs: list[BlockConfig], lost: Mapping[int, tuple[int, int]] | None = None) -> None:
        self.configs, self.num_blocks, self.replicas = configs, len(configs), configs[0].replicas
        self.lost, self.formed, self.released = dict(lost or {}), 0, False
        self.workers = [[self._worker(rank, c.block) for c in configs] for rank in range(self.replicas)]
        self.queues = [[ThreadPoolExecutor(1) for _ in configs] for _ in self.workers]

    def _worker(self, rank: int, block: int) -> BlockWorker:
        worker = BlockWorker(replace(self.configs[block], rank=rank))
        worker.group = ReplicaGroup(rank, self.replicas, timeout=WAIT)
        if worker.trainer is not None:
            worker.trainer.average = worker.group.average
        return worker

    def _ask(self, rank: int, block: int, method: str, *arguments: Any) -> Future[Any]:
        def call() -> Any:
            given = [a.result(WAIT) if isinstance(a, Future) else a for a in arguments]
            return getattr(self.workers[rank][block], method)(*given)

        return self.queues[rank][block].submit(call)

    def feed(self, split: str, index: int, batch: Batch) -> None:
        hidden: Any = batch.ids
        for block in range(self.num_blocks):
            rank = index % self.replicas if split == "train" else 0
            hidden = self._ask(rank, block, "forward", split, index, hidden, batch.mask)

    def train(self, index: int) -> list[Future[Any]]:
        if (lost := self.lost.pop(index, None)) is not None:
            rank, block = lost
            self.queues[rank][block].submit(self._lose, rank, block)
        return [self._ask(r, b, "train_step", index) for r in range(self.replicas) for b in range(self.num_blocks)]

    def _lose(self, rank: int, block: int) -> None:
        old = self.workers[rank][block]
        old.group.leave()
        old.close()
        self.workers[rank][block] = self._worker(rank, block)

    def result(self, ticket: list[Future[Any]]) -> list[dict[str, Any]]:
        return [future.result(WAIT) for future in ticket]

    def held(self) -> list[set[int]]:
        return [
            set.intersection(*(set(self._ask(rank, block, "cached").result()) for block in range(self.num_blocks)))
            for rank in range(self.replicas)
        ]

    def regroup(self) -> bool:
        for block in range(self.num_blocks):
            members = [workers[block] for workers in self.workers]
            if all(member.group.whole for member in members):
                continue
            self.formed += 1
            port = members[0].group.open(HOST)
            with ThreadPoolExecutor(self.replicas) as pool:
                if not all(pool.map(lambda member, port=port: join_replicas(member, HOST, port, HOST), members)):
                    return False
        return True

    def release(self) -> None:
        self.released = True

    def call(self, method: str, *arguments: Any) -> list[Any]:
        return [self._ask(0, block, method, *arguments).result() for block in range(self.num_blocks)]

    def close(self) -> None:
        for workers, queues in zip(self.workers, self.queues, strict=True):
            for worker, queue in zip(workers, queues, strict=True):
                worker.group.leave()
                worker.close()
                queue.shutdown()


@pytest.fixture
def make(tiny_teacher_dir: Path, tiny_space: PathSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Configurations of both blocks with two replicas; keyword arguments change them."""
    lock = threading.Lock()

    def alone(*arguments: Any) -> Any:  # it remembers its last answer for one worker a process, not for threads
        with lock:
            return step_paths(*arguments)

    monkeypatch.setattr("nas_ray.distill._worker.step_paths", alone)

    def configs(folder: str, **changes: Any) -> list[BlockConfig]:
        return block_configs(tiny_space, tiny_teacher_dir, tmp_path / folder, **{"replicas": 2, **changes})

    return configs


def run(
    blocks: Any, text: Any, steps: int = 9, in_flight: int = 2, distinct: int = DISTINCT
) -> list[tuple[int, float]]:
    seen: list[tuple[int, float]] = []
    prepare(blocks, text, COUNTS)
    train(
        blocks, text, steps=steps, counts=COUNTS, distinct=distinct, in_flight=2,
        progress=lambda step, loss: seen.append((step, loss)),
    )  # fmt: skip
    return seen


def weights(worker: BlockWorker) -> list[Tensor]:
    return list(worker.supernet.state_dict().values())


def assert_equal(a: BlockWorker, b: BlockWorker, *, curves: bool = True) -> None:
    """Two workers agree to the bit."""
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))
    assert (a.step, a.remaining()) == (b.step, b.remaining())
    assert not curves or a.curve == b.curve


PLAN = shrink_plan(bins=3, epochs=3, warm_epochs=1, sample=8, keep=4, remove=0.5)


@pytest.mark.parametrize("shrink", [None, PLAN])
@pytest.mark.parametrize(
    "lost",
    [
        {4: (1, 0)},  # a second replica
        {1: (0, 1), 7: (0, 0)},  # first ones, before and after a checkpoint
        {2: (1, 1), 5: (0, 1), 6: (1, 0)},
    ],
)
def test_lost_replicas_leave_no_trace(
    make: Any, tiny_space: PathSpace, shrink: ShrinkPlan | None, lost: dict[int, tuple[int, int]]
) -> None:
    extra = {"shrink": shrink, "latencies": {p.path_id: 1.0 + p.num_params() for p in tiny_space.paths}}
    straight, broken = Replicated(make("straight", **extra)), Replicated(make("broken", **extra), lost)
    seen = [run(straight, Text()), run(broken, Text())]
    assert straight.formed == 2
    assert broken.formed >= 2 + len(lost)
    assert not broken.lost
    assert [step for step, _ in seen[0]] == list(range(1, 10))
    assert {step for step, _ in seen[1]} == set(range(1, 10))
    for block in range(2):
        first = straight.workers[0][block]
        assert_equal(first, straight.workers[1][block], curves=False)
        assert_equal(first, broken.workers[0][block])
        assert_equal(first, broken.workers[1][block], curves=False)
        assert shrink is None or len(first.remaining()) < len(tiny_space.paths)
    for blocks in (straight, broken):
        assert blocks.released
        blocks.close()


def test_two_replicas_learn_as_one_worker_does_from_the_joined_batches(make: Any) -> None:
    options = {"steps": 24, "batches": 24, "checkpoint_every": 1000, "evaluations": 2}
    pair = Replicated(make("pair", **{**options, "batches": 48}))
    one = LocalBlocks(make("one", **options, replicas=1))
    seen = [run(pair, Plain(), 24, distinct=48), run(one, Plain(joined=2), 24, distinct=24)]
    np.testing.assert_allclose([loss for _, loss in seen[0]], [loss for _, loss in seen[1]], rtol=1e-2)
    for mine, theirs in zip(pair.workers[0], one.workers, strict=True):
        assert [step for step, _ in mine.curve] == [0, 12, 24]
        np.testing.assert_allclose([x for _, x in mine.curve], [x for _, x in theirs.curve], rtol=1e-2)
        assert mine.curve[-1][1] < mine.curve[0][1]
    pair.close()
    one.close()


def test_without_ray_there_is_one_worker_a_block(make: Any) -> None:
    with pytest.raises(SpecError, match="accepted without Ray: 1"):
        LocalBlocks(make("refused"))
