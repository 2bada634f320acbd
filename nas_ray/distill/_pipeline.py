"""Driving the blocks of a teacher: hidden states flow from block to block, whatever the blocks run on."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nas_ray.distill._config import BlockConfig
from nas_ray.distill._worker import BlockWorker
from nas_ray.errors import SpecError, StageError

if TYPE_CHECKING:
    from nas_ray.data import Batch, TokenBatches

EVALUATION_SPLITS = ("calibrate", "select", "test")
_MAX_SETBACKS = 50


class Blocks(Protocol):
    """The block workers of one run, in this process or as Ray actors."""

    num_blocks: int
    replicas: int  # workers of a block while it trains; all other calls go to the first

    def feed(self, split: str, index: int, batch: Batch) -> None:
        """Send one batch through all blocks, each keeping its boundary; *train* goes to the replicas in turn."""

    def train(self, index: int) -> Any:
        """Start step ``index`` on every block; the ticket goes to ``result``."""

    def result(self, ticket: Any) -> list[dict[str, Any]]:
        """The reports of a started step, one a worker."""

    def held(self) -> list[set[int]]:
        """By replica, the training batches that no block needs to be fed again."""

    def regroup(self) -> bool:
        """Bring the replicas of each block together, in the state of the first; False if one was lost meanwhile."""

    def release(self) -> None:
        """End all replicas but the first: nothing is trained any more."""

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call ``method`` of every block worker at once; results in order."""

    def call_one(self, block: int, method: str, *arguments: Any) -> Any:
        """Call ``method`` of one block worker."""

    def score_each(self, path_ids: list[list[str]]) -> list[dict[str, float] | None]:
        """Score the given paths of every block, all blocks at once; None of a block that is not prepared."""

    def publish(self) -> list[Any]:
        """The shared arrays of every block, as they are passed to candidates; None of one that is not prepared."""

    def close(self) -> None:
        """End the workers."""


class LocalBlocks:
    """All blocks in this process, without Ray: for tests and debugging."""

    replicas = 1

    def __init__(self, configs: list[BlockConfig]) -> None:
        if (replicas := configs[0].replicas) > 1:
            raise SpecError(
                f"{replicas} workers a block need cluster.executor ray; accepted without Ray: 1",
                key="supernet.replicas",
            )
        self.workers = [BlockWorker(config) for config in configs]
        self.num_blocks = len(configs)

    def feed(self, split: str, index: int, batch: Batch) -> None:
        hidden: Any = batch.ids
        for worker in self.workers:
            hidden = worker.forward(split, index, hidden, batch.mask)

    def train(self, index: int) -> list[dict[str, Any]]:
        return [worker.train_step(index) for worker in self.workers]

    def result(self, ticket: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return ticket

    def held(self) -> list[set[int]]:
        return [set.intersection(*map(set, self.call("cached")))]

    def regroup(self) -> bool:
        return True

    def release(self) -> None:
        """Nothing: there is one worker a block."""

    def call(self, method: str, *arguments: Any) -> list[Any]:
        return [getattr(worker, method)(*arguments) for worker in self.workers]

    def call_one(self, block: int, method: str, *arguments: Any) -> Any:
        return getattr(self.workers[block], method)(*arguments)

    def score_each(self, path_ids: list[list[str]]) -> list[dict[str, float] | None]:
        return [worker.score(ids) for worker, ids in zip(self.workers, path_ids, strict=True)]

    def publish(self) -> list[Any]:
        return self.call("publish")

    def close(self) -> None:
        self.call("close")


def prepare(blocks: Blocks, batches: TokenBatches, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Stream the evaluation splits, then initialise every supernet; returns each block's baselines.

    A block that was restarted meanwhile has lost what it was fed; then everything is streamed again.

    Raises:
        StageError: blocks were lost again and again.
    """
    for _ in range(_MAX_SETBACKS):
        blocks.call("forget", EVALUATION_SPLITS)
        for split in EVALUATION_SPLITS:
            for index in range(counts[split]):
                blocks.feed(split, index, batches.batch(split, index))
        baselines = blocks.call("prepare", {split: counts[split] for split in EVALUATION_SPLITS})
        if all(blocks.call("prepared")):
            return baselines
    raise _lost()


def inherited_arrays(
    configs: Sequence[BlockConfig], batches: TokenBatches, counts: Mapping[str, int]
) -> list[dict[str, Any]]:
    """What ``publish`` gives of supernets that have the teacher's weights and were not trained; all in this process."""
    with tempfile.TemporaryDirectory(prefix="nas_ray-blocks-") as folder:
        untrained: dict[str, Any] = {"start": "inherit", "replicas": 1, "shrink": None, "sample_paths": 1}
        blocks = LocalBlocks(
            [replace(config, checkpoint_dir=Path(folder) / str(config.block), **untrained) for config in configs]
        )
        try:
            prepare(blocks, batches, counts)
            return blocks.publish()
        finally:
            blocks.close()


def train(
    blocks: Blocks,
    batches: TokenBatches,
    *,
    steps: int,
    distinct: int,
    counts: Mapping[str, int],
    in_flight: int,
    progress: Callable[[int, float], None],
) -> None:
    """Train every block to ``steps``; ``progress`` gets the steps done by all and the mean loss.

    Step i takes one batch of each replica: i * replicas and those after it. A block that was restarted says where its
    checkpoint stands, and training goes on from there: blocks that are ahead do not repeat a step. A block that lost
    another replica than its first goes on from where that one is.
    """
    replicas = blocks.replicas
    step = min(blocks.call("position"))
    if step < steps:
        step = _gather(blocks, batches, counts)
    tickets: deque[tuple[int, Any]] = deque()
    held: list[set[int]] = [set()] * replicas
    setbacks = 0
    while step < steps or tickets:
        while step < steps and len(tickets) < in_flight:
            for number in range(step * replicas, (step + 1) * replicas):
                batch = number % distinct
                if batch == 0 and number:
                    held = blocks.held()
                if number < distinct or batch not in held[number % replicas]:
                    blocks.feed("train", number, batches.batch("train", batch))
            tickets.append((step, blocks.train(step)))
            step += 1
        index, ticket = tickets.popleft()
        reports = blocks.result(ticket)
        losses = [report["loss"] for report in reports if report["loss"] is not None]
        if all(report["step"] > index for report in reports):
            progress(index + 1, float(np.mean(losses)) if losses else float("nan"))
            if all(report["step"] >= steps for report in reports):
                step = steps  # shrinking has ended the training of every block: nothing more is started
            continue
        setbacks += 1
        if setbacks > _MAX_SETBACKS:
            raise _lost()
        for _, other in tickets:
            blocks.result(other)
        tickets.clear()
        held = [set()] * replicas
        step = _gather(blocks, batches, counts)
    blocks.release()
    blocks.call("end_training")


def _gather(blocks: Blocks, batches: TokenBatches, counts: Mapping[str, int]) -> int:
    """The step from which all blocks go on, once each is prepared and has all its replicas."""
    for _ in range(_MAX_SETBACKS):
        if not all(blocks.call("prepared")):
            prepare(blocks, batches, counts)
        if blocks.regroup():
            step: int = min(blocks.call("position"))
            return step
    raise _lost()


def settled(
    blocks: Blocks, batches: TokenBatches, counts: Mapping[str, int], ask: Callable[[], list[Any]]
) -> list[Any]:
    """The answers of ``ask``; asked again, after preparing all blocks, while a restarted one answers None.

    Raises:
        StageError: blocks were lost again and again.
    """
    for _ in range(_MAX_SETBACKS):
        answers = ask()
        if all(answer is not None for answer in answers) and all(blocks.call("prepared")):
            return answers
        prepare(blocks, batches, counts)
    raise _lost()


def _lost() -> StageError:
    return StageError("supernet", f"blocks were lost {_MAX_SETBACKS} times; look at the Ray logs, then resume.")
