"""One candidate, rung by rung: block losses, the stitched student, the student distilled; interrupted and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_ray.distill import Assignment, DistillPlan, Judge, JudgeConfig, TrainingText
from nas_ray.measure import EvaluatorConfig, ScoreSets, States, score_paths, split_calibration
from nas_ray.space import PathSpace, Rung
from tests.measure.conftest import published, teacher_space, tiny_teacher  # noqa: F401 - fixtures

LADDER = tuple(Rung(*r) for r in (("blocks", 1), ("blocks", 2), ("stitched", 2), ("distilled", 20), ("distilled", 60)))
ARCH, TEACHER = "e64/32:M2-F4/32:F4-M2", "e64/64:M4-F4-M4-F4/64:M4-F4-M4-F4"
RIDGES = (1e-3, 1e-1)


@pytest.fixture
def judge(
    tmp_path: Path,
    published: list[dict[str, Any]],  # noqa: F811
    teacher_space: PathSpace,  # noqa: F811
    tiny_teacher_dir: Path,
) -> Any:
    """Makes a judge of its own, as another process would."""

    def make(origin: str = "a", **plan: Any) -> Judge:
        documents = np.arange(16)[:, None].repeat(20, 1)
        evaluator = EvaluatorConfig("run", teacher_space, "inherit", str(tiny_teacher_dir), RIDGES, 8, documents)
        settings: dict[str, Any] = {
            "steps": (20, 60), "learning_rate": 1e-3, "sequences": 8, "weight_decay": 0.01, "warmup": 0.1, "clip": 1.0,
            "precision": "fp32", "seed": 0, "origin": origin, "folder": tmp_path / "students", **plan,
        }  # fmt: skip
        ids = np.random.default_rng(0).integers(5, 350, (160, 20)).astype(np.int32)
        text = TrainingText(ids, None)
        return Judge(JudgeConfig(evaluator, LADDER, 2, DistillPlan(**settings)), published, text)

    return make


def losses(judge: Judge, assignment: Assignment, first: int = 0) -> list[float]:
    candidate = judge.begin(assignment)
    return [candidate.loss(rung) for rung in range(first, len(LADDER))]


def test_distillation_goes_below_the_stitched_loss_and_leaves_shared_weights_alone(
    judge: Any,
    published: list[dict[str, Any]],  # noqa: F811
) -> None:
    before = {name: array.copy() for name, array in published[0]["weights"].items()}
    found = losses(judge(), Assignment("a", ARCH))
    assert found[4] < min(found[2:4])
    assert all((published[0]["weights"][name] == array).all() for name, array in before.items())
    assert losses(judge(), Assignment("b", ARCH))[:3] == found[:3]


def test_the_rung_of_blocks_is_the_sum_of_their_scores(judge: Any, teacher_space: PathSpace) -> None:  # noqa: F811
    one = judge()
    stitcher, expected = one.evaluator.stitcher, 0.0
    for block, path in enumerate(one.evaluator.architecture(ARCH).paths):
        calibrate, select = stitcher.splits["calibrate"], stitcher.splits["select"]
        fit = States(calibrate.targets[block], calibrate.targets[block + 1], calibrate.mask)
        judged = States(select.targets[block], select.targets[block + 1], select.mask)
        cut = split_calibration(48)
        sets = ScoreSets(fit.slice(0, cut), fit.slice(cut, 48), judged)
        expected += score_paths(stitcher.supernets[block], [path], sets, RIDGES)[path.path_id]
    first, second, *_ = losses(one, Assignment("a", ARCH))
    assert second == pytest.approx(expected, rel=1e-6)
    assert first != second


def test_resumed_at_every_rung_it_is_the_undisturbed_training_to_the_bit(judge: Any) -> None:
    whole = losses(judge(), Assignment("whole", ARCH))
    judge().begin(Assignment("cut", ARCH)).loss(3)
    assert losses(judge(), Assignment("cut", ARCH), first=4) == whole[4:]  # from the checkpoint
    assert losses(judge(), Assignment("cut", ARCH), first=4) == whole[4:]  # from the finished one
    assert judge().document_errors(Assignment("cut", ARCH)) == judge().document_errors(Assignment("whole", ARCH))
    lost = judge(folder=Path(judge().config.distill.folder).with_name("elsewhere"))
    assert losses(lost, Assignment("cut", ARCH), first=4) == whole[4:]  # no checkpoint: trained again


def test_checkpoints_of_other_weights_or_settings_are_not_continued(judge: Any) -> None:
    losses(judge(), Assignment("a", ARCH))
    fresh = losses(judge("b"), Assignment("other", ARCH))
    assert losses(judge("b"), Assignment("a", ARCH)) == fresh
    faster = losses(judge("b", learning_rate=1e-2), Assignment("a", ARCH))
    assert faster[:3] == fresh[:3]
    assert faster[3:] != fresh[3:]


def test_a_full_disk_ends_the_keeping_and_not_the_training(judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = losses(judge(), Assignment("whole", ARCH))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas_ray.distill._student.Checkpoints.save", full)
    assert losses(judge(), Assignment("full", ARCH)) == whole
    assert losses(judge(), Assignment("full", ARCH), first=4) == whole[4:]


def test_hyperparameters_of_its_own(judge: Any) -> None:
    plain = losses(judge(), Assignment("a", ARCH))
    own = losses(judge(), Assignment("b", ARCH, {"learning_rate": 1e-3, "sequences": 4}))
    same = losses(judge(learning_rate=1e-3, sequences=4), Assignment("c", ARCH))
    assert own == same
    assert own[3:] != plain[3:]


def test_the_teacher_has_nothing_to_learn(judge: Any) -> None:
    found = losses(judge(), Assignment("teacher", TEACHER))
    assert found == pytest.approx([0.0] * 5, abs=1e-10)


def test_every_sequence_once_an_epoch() -> None:
    text = TrainingText(np.arange(10)[:, None].repeat(3, 1).astype(np.int32), np.ones((10, 3), bool))
    ids, mask = zip(*(text.rows(text.chosen(1, step, 4)) for step in range(5)), strict=True)
    seen = torch.cat(ids)[:, 0].tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert all(m.shape == (4, 3) for m in mask)
