"""A student's training says how far it is while it is between two judgements."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nas_ray.distill import DistillPlan, StudentTraining, steps_done


def training(folder: Path, origin: str = "start") -> StudentTraining:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    plan = DistillPlan((4, 8), 1e-2, 2, 0.0, 0.1, 1.0, "fp32", 0, origin, folder)
    return StudentTraining(
        model, plan, "student", lambda step: [lambda: model(torch.ones(2, 4) * step).square().mean()]
    )


def test_how_far_it_is_is_told_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_done(tmp_path, "student") == 0
    training(tmp_path).advance(4)
    assert steps_done(tmp_path, "student") == 0  # over within seconds
    monkeypatch.setattr("nas_ray.distill._student._EVERY_S", 0.0)
    told = training(tmp_path)
    assert told.step == 4  # from its checkpoint
    told.advance(7)
    assert steps_done(tmp_path, "student") == 7
    (tmp_path / "student" / "step-now").write_text("")  # as it is written anew
    assert steps_done(tmp_path, "student") == 0


def test_training_of_other_weights_forgets_how_far_the_last_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_ray.distill._student._EVERY_S", 0.0)
    training(tmp_path).advance(8)
    assert steps_done(tmp_path, "student") == 8
    assert training(tmp_path, "another").step == 0
    assert steps_done(tmp_path, "student") == 0
