"""The card of a student, and its folder, as they are read back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from nas_ray.errors import ModelError
from nas_ray.modeling import NasRayModel
from nas_ray.student import read_card, read_student
from tests.tiny_student import CARD, write_student


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    CARD.write(tmp_path)
    assert read_card(tmp_path) == CARD
    card = dataclasses.replace(CARD, trial="0a1b", kind="uniform")
    card.write(tmp_path)
    assert read_card(tmp_path) == card


def test_what_a_later_version_adds_is_left_out(tmp_path: Path) -> None:
    CARD.write(tmp_path)
    file = tmp_path / "student.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mood": "good"}))
    assert read_card(tmp_path) == CARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"student.json: format 2; accepted: 1"),
        ({"kind": "odd"}, r'kind is "odd"; accepted: paths or uniform'),
        ({"steps": 1.5}, r"steps is 1.5; accepted: a whole number"),
        ({"run": None}, r"run is null; accepted: a text"),
        ({"costs": {"params": "many"}}, r"costs is .*; accepted: an object of finite numbers"),
        ({"metrics": {"loss": float("nan")}}, r"metrics is .*; accepted: an object of finite numbers"),
        ({"data": {"source": "x"}}, r"data is .*; accepted: a list of objects"),
        ({"latency_key": []}, r"latency_key is \[\]; accepted: an object"),
        ({"trial": 7}, r"trial is 7; accepted: a text"),
    ],
)
def test_a_wrong_card_is_told(tmp_path: Path, change: dict[str, object], message: str) -> None:
    CARD.write(tmp_path)
    file = tmp_path / "student.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        read_card(tmp_path)


def test_a_card_that_is_missing_or_torn_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no student\.json; accepted: a folder that `nas-ray retrain` wrote"):
        read_card(tmp_path)
    file = tmp_path / "student.json"
    file.write_text('{"format": 1, "run"')
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        read_card(tmp_path)
    file.write_text("[]")
    with pytest.raises(ModelError, match="not an object"):
        read_card(tmp_path)
    file.write_text('{"format": 1, "run": "x"}')
    with pytest.raises(ModelError, match="lacks candidate_id, arch_id"):
        read_card(tmp_path)


def test_a_folder_is_read_as_a_student(tmp_path: Path, tiny_teacher_dir: Path) -> None:
    found = read_student(write_student(tmp_path / "s", "paths", tiny_teacher_dir))
    assert isinstance(found.model, NasRayModel)
    assert not found.model.training
    assert (found.num_positions, found.card.candidate_id) == (128, "c0ffee")
    assert found.tokenizer("the old ship").input_ids[0] == found.tokenizer.cls_token_id
    assert all(weight.dtype == torch.float32 for weight in found.model.parameters())
