"""A teacher that was cut is the teacher: to the bit, and weight by weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from nas_ray.space import Architecture, parts, teacher_path
from nas_ray.teacher import (
    activation,
    cut,
    has_masked_lm_head,
    load_model,
    load_teacher,
    resolve_teacher,
    teacher_shape,
    weights_of,
)
from tests.teacher.conftest import TEACHERS

Make = Callable[..., Path]


def inputs(padding: str, pad: int) -> tuple[Tensor, Tensor | None]:
    ids = torch.as_tensor(np.random.default_rng(0).integers(5, 60, size=(3, 11)))
    if padding == "none":
        return ids, None
    mask = torch.ones_like(ids)
    if padding == "padded":
        mask[1, 7:] = 0
        mask[2, 3:] = 0
        ids[mask == 0] = pad
    return ids, mask


@pytest.mark.parametrize("padding", ["none", "all ones", "padded"])
@pytest.mark.parametrize("name", TEACHERS)
def test_composition_is_the_uncut_encoder(make_teacher: Make, name: str, padding: str) -> None:
    folder = make_teacher(name)
    teacher = load_teacher(resolve_teacher(str(folder)), 2)
    ids, mask = inputs(padding, teacher.config.pad_token_id)
    with torch.no_grad():
        uncut = AutoModel.from_pretrained(folder).eval()(ids, attention_mask=mask, output_hidden_states=True)
        states = teacher.hidden_states(ids, mask)
        same = teacher.hidden_states(ids, None if mask is None else mask.bool())
    assert len(states) == 3
    for state, expected in zip(states, uncut.hidden_states[::2], strict=True):
        assert torch.equal(state, expected)
    assert torch.equal(states[-1], uncut.last_hidden_state)
    assert all(torch.equal(a, b) for a, b in zip(states, same, strict=True))


@pytest.mark.parametrize("num_blocks", [1, 2, 4])
def test_any_number_of_blocks(make_teacher: Make, num_blocks: int) -> None:
    teacher = load_teacher(resolve_teacher(str(make_teacher("bert"))), num_blocks)
    ids, mask = inputs("padded", 0)
    whole = load_teacher(resolve_teacher(str(make_teacher("bert"))), 1)
    assert len(teacher.blocks) == num_blocks
    with torch.no_grad():
        assert torch.equal(teacher.hidden_states(ids, mask)[-1], whole.hidden_states(ids, mask)[-1])


@pytest.mark.parametrize("name", TEACHERS)
def test_closed_form_is_the_count(make_teacher: Make, name: str) -> None:
    source = resolve_teacher(str(make_teacher(name)))
    teacher = load_teacher(source, 2)
    shape = teacher_shape(source.config)
    assert shape == teacher.shape
    assert shape.embedding_params == sum(p.numel() for p in teacher.embedding.parameters())
    assert shape.encoder_params == sum(p.numel() for block in teacher.blocks for p in block.parameters())
    assert shape.embedding_params + shape.encoder_params == sum(p.numel() for p in load_model(source).parameters())
    assert (shape.hidden, shape.num_layers, shape.heads, shape.intermediate, shape.vocab_size) == (32, 4, 2, 48, 60)


@pytest.mark.parametrize("name", TEACHERS)
def test_positions_that_a_text_can_take(make_teacher: Make, name: str) -> None:
    """As many as the closed form says: one more does not fit, and the table that students inherit has as many rows."""
    teacher = load_teacher(resolve_teacher(str(make_teacher(name))), 2)
    positions = teacher.shape.num_positions
    words, added = teacher.embedding.tables(positions)
    assert words.shape[0] == teacher.shape.vocab_size
    assert added.shape == (positions, words.shape[1])
    assert len(teacher.embedding.tables(positions + 1)[1]) == positions
    assert teacher.embedding(torch.full((1, positions), 7)).shape == (1, positions, 32)
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        teacher.embedding(torch.full((1, positions + 1), 7))


@pytest.mark.parametrize("name", TEACHERS)
def test_tables_are_what_the_embedding_adds(make_teacher: Make, name: str) -> None:
    teacher = load_teacher(resolve_teacher(str(make_teacher(name))), 2)
    ids = inputs("none", 0)[0]
    words, added = teacher.embedding.tables(ids.shape[1])
    with torch.no_grad():
        hidden = teacher.embedding.embeddings.LayerNorm(words[ids] + added)
        if teacher.embedding.project is not None:
            hidden = teacher.embedding.project(hidden)
    torch.testing.assert_close(hidden, teacher.embedding(ids))


@pytest.mark.parametrize("name", TEACHERS)
def test_layer_weights_are_all_weights(make_teacher: Make, name: str) -> None:
    teacher = load_teacher(resolve_teacher(str(make_teacher(name))), 2)
    found = [weights_of(block) for block in teacher.blocks]
    assert [len(layers) for layers in found] == [2, 2]
    named = {id(p) for layers in found for layer in layers for part in vars(layer).values() for p in part.parameters()}
    assert named == {id(p) for block in teacher.blocks for p in block.parameters()}
    first = found[0][0]
    assert first.up.weight.shape == first.down.weight.T.shape == (48, 32)


def test_weights_are_frozen_and_shared(make_teacher: Make) -> None:
    model = load_model(resolve_teacher(str(make_teacher("bert"))))
    teacher = cut(model, 2)
    assert not model.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in model.parameters())
    assert teacher.blocks[1].layers[0] is model.encoder.layer[2]


def test_half_precision_files_are_read_as_fp32(make_teacher: Make, tmp_path: Path) -> None:
    AutoModel.from_pretrained(make_teacher("bert")).half().save_pretrained(tmp_path)
    model = load_model(resolve_teacher(str(tmp_path)))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", TEACHERS)
def test_masked_lm_heads(make_teacher: Make, name: str) -> None:
    saved_with_head = {
        "bert, masked-LM",
        "bert, pretraining",
        "roberta",
        "distilbert, sinusoidal",
        "electra, small embedding",
    }
    assert has_masked_lm_head(resolve_teacher(str(make_teacher(name))).config) == (name in saved_with_head)


def test_activation(make_teacher: Make) -> None:
    kinds = {name: activation(resolve_teacher(str(make_teacher(name))).config) for name in TEACHERS}
    assert kinds.pop("bert, masked-LM") == "tanh"
    assert set(kinds.values()) == {"none"}


def test_the_teachers_own_path_is_counted_to_the_weight(tiny_teacher_dir: Path, tiny_space: Any) -> None:
    from nas_ray.tables import params_table

    teacher = load_teacher(resolve_teacher(str(tiny_teacher_dir)), 2)
    frozen = teacher_path(teacher.shape, 2, 16)
    assert frozen is not None
    found = parts(Architecture(64, (frozen, frozen)), teacher.shape, "inherit", frozen)
    modules = (teacher.embedding, *teacher.blocks)
    assert params_table(tiny_space, teacher.shape).total(found) == sum(
        p.numel() for m in modules for p in m.parameters()
    )


def test_loading_is_silent(
    make_teacher: Make, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No progress bar, no report of the head that is not needed; the user's own settings are kept."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        for name in ("bert, pretraining", "electra, small embedding"):
            load_teacher(resolve_teacher(str(make_teacher(name))), 2)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(before)
        logging.disable_progress_bar()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
