"""Stand-alone trainings in a block worker: whole batches or an error, never a loss of fewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_ray.distill import LocalBlocks, StandAlonePlan, prepare
from nas_ray.errors import StageError
from nas_ray.space import PathSpace
from tests.distill.configs import block_configs
from tests.distill.test_worker import COUNTS, TEXT

PLAN = StandAlonePlan(steps=4, sequences=3, learning_rate=1e-3)
BATCH = 6 * 16 * (2 * 4 * 64 + 1)  # bytes of one batch of the text


@pytest.fixture
def fed(tiny_teacher_dir: Path, tiny_space: PathSpace, tmp_path: Path) -> Callable[[int], LocalBlocks]:
    """Blocks without a cache for training, fed with three batches, with room for as many bytes as it is told."""

    def feed(limit: int) -> LocalBlocks:
        blocks = LocalBlocks(block_configs(tiny_space, tiny_teacher_dir, tmp_path, cache_bytes=0))
        prepare(blocks, TEXT, COUNTS)
        blocks.call("expect_standalone", limit)
        for index in range(3):
            blocks.feed("standalone", index, TEXT.batch("train", index))
        return blocks

    return feed


def loss(blocks: LocalBlocks) -> Any:
    return blocks.call_one(1, "train_standalone", "32:M2-F4", PLAN, 3, "inherit", 0)


def test_its_states_need_no_room_in_the_cache_for_training(fed: Callable[[int], LocalBlocks]) -> None:
    blocks = fed(3 * BATCH)
    assert 0 < loss(blocks) < 1
    blocks.close()


def test_too_little_room_is_an_error_that_says_so(
    fed: Callable[[int], LocalBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = fed(2 * BATCH)
    with pytest.raises(StageError, match=r"3 batches cannot be kept: they are limited to .*ranking\.tokens"):
        loss(blocks)
    blocks.close()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas_ray.distill._store._write", full)
    blocks = fed(3 * BATCH)
    with pytest.raises(StageError, match="No space left on device"):
        loss(blocks)
    blocks.close()


def test_what_was_refused_before_does_not_count(fed: Callable[[int], LocalBlocks]) -> None:
    blocks = fed(0)
    blocks.call("expect_standalone", 3 * BATCH)
    assert loss(blocks) is None  # not fed again yet
    for index in range(3):
        blocks.feed("standalone", index, TEXT.batch("train", index))
    assert loss(blocks) is not None
    blocks.close()
