"""A student that is a teacher's copy computes what the teacher does, of every family, on padded text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from nas_ray.blocks import PathStudent
from nas_ray.modeling import NasRayConfig, NasRayModel
from nas_ray.student import load_student, save_model, scale_as, stitched_model, untrained_model
from nas_ray.teacher import TeacherSource, load_model, load_teacher
from tests.teacher.conftest import TEACHERS


def teacher_of(name: str, folder: Path, gain: float = 1.0, bias: float = 0.0) -> TeacherSource:
    """A tiny teacher of a family, its layer norms with this ``gain`` and ``bias``."""
    kind, config, settings = TEACHERS[name]
    inner = "hidden_dim" if "hidden_dim" in settings else "intermediate_size"  # a whole multiple, as a path needs it
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**{**settings, inner: 64}))
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.data.fill_(gain)
            module.bias.data.fill_(bias)
    model.save_pretrained(folder / "teacher")
    return TeacherSource(str(folder / "teacher"))


@pytest.mark.parametrize("name", TEACHERS)
@torch.no_grad()
def test_a_copy_of_a_teacher(name: str, tmp_path: Path) -> None:
    source = teacher_of(name, tmp_path)
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


@pytest.mark.parametrize("name", TEACHERS)
@torch.no_grad()
def test_untrained_it_says_states_of_the_teachers_scale(name: str, tmp_path: Path) -> None:
    teacher = load_teacher(teacher_of(name, tmp_path, gain=0.3, bias=0.5), 2)
    hidden = teacher.shape.hidden
    layers: list[dict[str, Any]] = [{"kind": "feed_forward", "width": hidden, "ratio": 1}]
    ids = torch.randint(3, teacher.shape.vocab_size, (2, 8))

    def states(model: Any, wanted: bool) -> tuple[float, float]:
        if wanted:
            scale_as(model, teacher)
        found = model.eval()(ids).last_hidden_state
        return float(found.std()), float(found.mean())

    def path(layers: list[dict[str, Any]]) -> NasRayModel:
        return untrained_model(NasRayConfig(teacher.shape.vocab_size, 16, hidden, layers), 0)

    def plain(width: int) -> transformers.BertModel:
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=teacher.shape.vocab_size,
            hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
        )
        return transformers.BertModel(config, add_pooling_layer=False)

    theirs = teacher.hidden_states(ids)[-1]
    wanted = pytest.approx((float(theirs.std()), float(theirs.mean())), rel=0.1)
    for make in (lambda: path(layers), lambda: plain(hidden)):
        assert states(make(), False) == (pytest.approx(1.0, rel=0.1), pytest.approx(0.0, abs=1e-6))
        assert states(make(), True) == wanted
    mapped = [*layers, {"kind": "map", "before": hidden, "after": 2 * hidden}]
    wider = [*mapped, {"kind": "feed_forward", "width": 2 * hidden, "ratio": 1}]
    for other in (lambda: path(mapped), lambda: path(wider), lambda: path([]), lambda: plain(2 * hidden)):
        assert states(other(), True) == states(other(), False)
