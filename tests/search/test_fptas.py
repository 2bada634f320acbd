"""Bort's surrogates, W and order: anchors of the papers, the real model's own count, and exhaustive answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas_ray.search._fptas import Trained, every, how_many, intrinsic_order, statement, w_coefficient
from nas_ray.space import UniformArchitecture, UniformSpace
from nas_ray.spec import load_space
from nas_ray.tables import Surrogates

ROBERTA_LARGE = UniformArchitecture(24, 16, 1024, 4096)
BORT = UniformArchitecture(4, 8, 1024, 768)
LARGE = Surrogates(50265, 514, 512, num_token_types=1)


def bort() -> UniformSpace:
    space = load_space("bort")
    assert isinstance(space, UniformSpace)
    return space


def test_anchors_of_the_papers() -> None:
    assert LARGE.encoder_params(BORT) == 23_108_608
    assert LARGE.encoder_params(ROBERTA_LARGE) == 302_309_376
    order = intrinsic_order(bort(), LARGE, ROBERTA_LARGE)
    assert (len(order), bort().num_tuples) == (300, 360)
    sizes = [LARGE.params(a) for a in order]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("sizes", [(2, 4, 64, 96), (3, 2, 32, 128)])
def test_size_and_operations_are_those_of_the_real_model(sizes: tuple[int, int, int, int]) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import BertConfig, BertModel

    a = UniformArchitecture(*sizes)
    surrogates = Surrogates(100, 64, 16)
    config = BertConfig(
        vocab_size=100, max_position_embeddings=64, hidden_size=a.hidden, num_hidden_layers=a.depth,
        num_attention_heads=a.heads, intermediate_size=a.intermediate, attn_implementation="eager",
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False).eval()
    assert sum(p.numel() for p in model.parameters()) == surrogates.params(a)
    assert sum(p.numel() for p in model.encoder.parameters()) == surrogates.encoder_params(a)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 16, dtype=torch.long))
    assert counter.get_total_flops() == surrogates.operations(a)


def test_w_in_closed_form() -> None:
    maximum, floor = Trained(ROBERTA_LARGE, 100.0, 10.0, 0.0), 1e-3
    assert w_coefficient(Trained(BORT, 25.0, 4.0, 0.5), maximum, floor) == pytest.approx(0.75 * 0.6 / 0.5)
    assert w_coefficient(maximum, maximum, floor) == 0.0
    assert w_coefficient(Trained(BORT, 25.0, 4.0, 0.0), maximum, floor=0.1) == pytest.approx(4.5)
    assert w_coefficient(Trained(BORT, 120.0, 12.0, 0.5), maximum, floor) == 0.0
    assert w_coefficient(Trained(BORT, 25.0, 4.0, math.nan), maximum, floor) == -math.inf


def test_heads_enter_neither_size_nor_operations() -> None:
    few, many = (UniformArchitecture(4, heads, 768, 768) for heads in (4, 12))
    assert (LARGE.params(few), LARGE.operations(few)) == (LARGE.params(many), LARGE.operations(many))


@pytest.mark.parametrize("epsilon", [1, 2, 4, 6, 7, 300])
def test_every_epsilonth_of_the_order(epsilon: int) -> None:
    order = intrinsic_order(bort(), LARGE, ROBERTA_LARGE)
    chosen = every(order, epsilon)
    assert len(chosen) == math.ceil(300 / epsilon)
    assert chosen[0] == order[0]
    assert [order.index(a) for a in chosen] == list(range(0, 300, epsilon))
    for wrong in (0, 301):
        with pytest.raises(ValueError, match="accepted: 1 to 300"):
            every(order, wrong)


def test_epsilon_1_is_exhaustion_and_larger_ones_are_no_better() -> None:
    order = intrinsic_order(bort(), LARGE, ROBERTA_LARGE)
    rng = np.random.default_rng(0)
    maximum = Trained(ROBERTA_LARGE, LARGE.params(ROBERTA_LARGE), LARGE.operations(ROBERTA_LARGE), 0.0)
    trained = {
        a: Trained(a, LARGE.params(a), LARGE.operations(a), 3e9 / LARGE.operations(a) + 0.1 * float(rng.random()))
        for a in order
    }
    exhaustive = max(w_coefficient(t, maximum, 1e-3) for t in trained.values())
    found = [max(w_coefficient(trained[a], maximum, 1e-3) for a in every(order, e)) for e in (1, 2, 4, 6)]
    assert found[0] == exhaustive
    assert all(0 < w <= exhaustive for w in found)
    assert "50 of 300" in statement(6, 50, 300, 1000, 1)


def test_every_in_words() -> None:
    words = [how_many(epsilon) for epsilon in (1, 2, 3, 6, 11, 12, 21, 22, 113)]
    assert words == [
        "all", "every 2nd", "every 3rd", "every 6th", "every 11th", "every 12th", "every 21st", "every 22nd",
        "every 113th",
    ]  # fmt: skip
