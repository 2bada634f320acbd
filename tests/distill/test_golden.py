"""The golden curve: what a tiny training does is the same on every machine, and to the bit on one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_ray.data import Batch
from nas_ray.distill import LocalBlocks, prepare, train
from nas_ray.space import PathSpace
from tests.distill.configs import block_configs

GOLDEN = Path(__file__).with_name("golden.json")
COUNTS = {"calibrate": 5, "select": 2, "test": 1}
STEPS = 6


class Text:
    """Token batches: a function of split and index."""

    def batch(self, split: str, index: int) -> Batch:
        rng = np.random.default_rng([sum(map(ord, split)), index])
        return Batch(rng.integers(5, 395, size=(6, 16)), None, np.zeros((6, 16), np.int32))


def curves(teacher: Path, space: PathSpace, folder: Path) -> dict[str, Any]:
    """Training losses by step, the followed sample, and table losses of a few paths, by block."""
    configs = block_configs(
        space, teacher, folder, seed=3, basis="coordinates", steps=STEPS, checkpoint_every=100, evaluations=2,
        ridges=(1e-2, 1e-1), updates=3, sampling="prefixes", rate_exponent=1.5,
    )  # fmt: skip
    blocks, text, losses = LocalBlocks(configs), Text(), []
    prepare(blocks, text, COUNTS)  # type: ignore[arg-type]
    train(
        blocks, text, steps=STEPS, distinct=4, counts=COUNTS, in_flight=1,  # type: ignore[arg-type]
        progress=lambda _, loss: losses.append(loss),
    )  # fmt: skip
    paths = [path.path_id for path in space.paths[::17]]
    found = {
        "training": losses,
        "followed": [[loss for _, loss in history["curve"]] for history in blocks.call("history")],
        "table": blocks.score_each([paths] * space.num_blocks),
    }
    blocks.close()
    return found


def test_two_runs_are_equal_to_the_bit_and_follow_the_golden_curve(
    tiny_teacher_dir: Path, tiny_space: PathSpace, tmp_path: Path
) -> None:
    found = curves(tiny_teacher_dir, tiny_space, tmp_path / "first")
    assert curves(tiny_teacher_dir, tiny_space, tmp_path / "second") == found
    golden = json.loads(GOLDEN.read_text())
    assert found["training"] == pytest.approx(golden["training"], rel=1e-3)
    for kind in ("followed", "table"):
        for ours, theirs in zip(found[kind], golden[kind], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3)
