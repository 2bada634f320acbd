"""A student that is a teacher's copy computes what the teacher does, of every family, on padded text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from nas_ray.blocks import PathStudent
from nas_ray.student import load_student, save_model, stitched_model
from nas_ray.teacher import TeacherSource, load_model, load_teacher
from tests.teacher.conftest import TEACHERS


@pytest.mark.parametrize("name", TEACHERS)
@torch.no_grad()
def test_a_copy_of_a_teacher(name: str, tmp_path: Path) -> None:
    kind, config, settings = TEACHERS[name]
    inner = "hidden_dim" if "hidden_dim" in settings else "intermediate_size"  # a whole multiple, as a path needs it
    torch.manual_seed(0)
    getattr(transformers, kind)(getattr(transformers, config)(**{**settings, inner: 64})).save_pretrained(
        tmp_path / "teacher"
    )
    source = TeacherSource(str(tmp_path / "teacher"))
    teacher, whole = load_teacher(source, 2), load_model(source)
    student = PathStudent(teacher.embedding, list(teacher.blocks)).eval()
    save_model(stitched_model(student, teacher, "inherit", "copy"), tmp_path / "student")
    model = load_student(tmp_path / "student")
    ids = torch.randint(3, teacher.shape.vocab_size, (2, teacher.shape.num_positions))
    mask = torch.ones_like(ids)
    ids[1, 5:], mask[1, 5:] = int(teacher.config.pad_token_id), 0
    found, wanted = (encoder(input_ids=ids, attention_mask=mask).last_hidden_state for encoder in (model, whole))
    assert (found - wanted)[mask.bool()].abs().max() < 1e-5
    assert model.config.hidden_size == wanted.shape[-1]
