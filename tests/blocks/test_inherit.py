"""Inheritance: exact where sizes agree, better than random initialisation where they do not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from nas_ray.blocks import BlockSupernet, Inheritance, Layer, probe_path, reduced_embedding
from nas_ray.measure import ScoreSets, States, score_paths
from nas_ray.space import OperationChoice, PathSpace, teacher_path
from nas_ray.teacher import TeacherBlock, cut, numerics_of, weights_of


def model(family: str) -> Any:
    from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    if family == "bert":
        config = BertConfig(
            vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
            initializer_range=0.15,
        )  # fmt: skip
        return uneven(BertModel(config, add_pooling_layer=False))
    small = DistilBertConfig(vocab_size=50, dim=64, n_layers=2, n_heads=4, hidden_dim=256, initializer_range=0.15)
    return uneven(DistilBertModel(small))


def uneven(network: Any) -> Any:
    """Some coordinates of much more variance than others, as trained encoders have them."""
    network.eval().requires_grad_(False)
    gains = torch.linspace(2, 0.1, 64)[torch.randperm(64)]
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.copy_(gains)
    return network


def space(widths: tuple[int, ...] = (32, 64), layers: int = 4, ratio: int = 4) -> PathSpace:
    return PathSpace(
        "s", 1, layers, widths, 16,
        (
            OperationChoice("attention"),
            OperationChoice("feed_forward", ratio=1),
            OperationChoice("feed_forward", ratio=ratio),
            OperationChoice("separable_conv", kernel=3),
        ),
        (64,),
    )  # fmt: skip


class Setting:
    """A block of two layers, its states, and the inheritance from it."""

    def __init__(self, family: str, masked: bool = False, sequences: int = 40) -> None:
        teacher = cut(model(family), 1)
        self.teacher = teacher
        self.block: TeacherBlock = teacher.blocks[0]
        generator = torch.Generator().manual_seed(1)
        ids = torch.randint(0, 50, (sequences, 24), generator=generator)
        self.mask = torch.rand(sequences, 24, generator=generator) > 0.2 if masked else None
        with torch.no_grad():
            self.x, self.y = teacher.hidden_states(ids, self.mask)
        self.numerics = numerics_of(teacher.config)
        layers = [Layer(**vars(weights)) for weights in weights_of(self.block)]
        mask = None if self.mask is None else self.mask[:24]
        self.source = Inheritance(layers, self.x[:24], mask, 16, self.numerics)

    def sets(self) -> ScoreSets:
        def part(a: int, b: int) -> States:
            return States(self.x, self.y, self.mask).slice(a, b)

        return ScoreSets(part(0, 24), part(24, 32), part(32, 40))


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(request.param)


def test_states_are_the_teachers(setting: Setting) -> None:
    assert len(setting.source.states) == 5
    torch.testing.assert_close(setting.source.states[-1], setting.y[:24], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_the_teachers_own_path_has_loss_0(family: str, masked: bool) -> None:
    setting, here = Setting(family, masked), space()
    supernet = BlockSupernet(here, 64, setting.numerics, seed=0)
    setting.source.initialise(supernet, here, 64, setting.source.basis(64, "pca"))
    path = teacher_path(setting.teacher.shape, 1, 16)
    assert path is not None
    assert path.path_id == "64:M4-F4-M4-F4"
    with torch.no_grad():
        error = (supernet(setting.x, path, setting.mask) - setting.y).square()
    kept = error if setting.mask is None else error[setting.mask]
    assert float(kept.mean()) < 1e-10
    assert score_paths(supernet, [path], setting.sets(), (1e-3, 1e-1))[path.path_id] < 1e-9


@pytest.mark.parametrize("kind", ["pca", "coordinates"])
def test_basis(setting: Setting, kind: str) -> None:
    width = 32
    basis = setting.source.basis(width, kind)
    assert basis.shape == (64, width)
    gram = basis.T @ basis
    if kind == "coordinates":
        torch.testing.assert_close(gram, torch.eye(width))
        assert sorted(basis.sum(0).tolist()) == [1.0] * width
    else:  # orthonormal but for the direction that LayerNorm's mean takes
        torch.testing.assert_close(gram, torch.eye(width) - 1 / width, atol=1e-5, rtol=0)
        assert float(basis.sum(1).abs().max()) < 1e-5
        assert int(torch.linalg.matrix_rank(basis, atol=1e-4)) == width - 1
    assert torch.equal(basis, setting.source.basis(width, kind))


def test_the_principal_basis_keeps_most_variance(setting: Setting) -> None:
    rows = [state.reshape(-1, 64) - state.reshape(-1, 64).mean(0) for state in setting.source.states]

    def lost(basis: torch.Tensor) -> float:
        """Share of the variance outside ``basis``, averaged over the states."""
        return sum(float((r - r @ basis @ basis.T).square().sum() / r.square().sum()) for r in rows) / len(rows)

    assert lost(setting.source.basis(33, "pca")) < lost(setting.source.basis(32, "coordinates"))
    assert torch.equal(setting.source.basis(64, "pca"), torch.eye(64))


@pytest.mark.parametrize("kind", ["pca", "coordinates"])
def test_narrow_paths_beat_random_initialisation(setting: Setting, kind: str) -> None:
    here = space()
    random = BlockSupernet(here, 64, setting.numerics, seed=0)
    inherited = BlockSupernet(here, 64, setting.numerics, seed=0)
    setting.source.initialise(inherited, here, 32, setting.source.basis(32, kind))
    path = probe_path(here, 32)
    assert path.path_id == "32:M2-F4-M2-F4"
    before, after = (
        score_paths(net, [path], setting.sets(), (1e-3, 1e-2, 1e-1, 1.0))[path.path_id] for net in (random, inherited)
    )
    assert after < 0.9 * before


def test_operations_of_every_size_can_be_filled(setting: Setting) -> None:
    here = space((32, 96), layers=3, ratio=8)  # wider than the teacher, more heads and neurons than it has
    supernet = BlockSupernet(here, 64, setting.numerics, seed=0)
    for kind in ("pca", "coordinates"):
        for width in here.widths:
            setting.source.initialise(supernet, here, width, setting.source.basis(width, kind))
        assert all(torch.isfinite(p).all() for p in supernet.parameters())
        losses = score_paths(supernet, here.paths[::9], setting.sets(), (1e-3, 1e-1))
        assert all(0 < loss < 1.5 for loss in losses.values())


def test_neighbours_inherit_from_the_same_layer(setting: Setting) -> None:
    here = space()
    supernet = BlockSupernet(here, 64, setting.numerics, seed=0)
    setting.source.initialise(supernet, here, 32, setting.source.basis(32, "pca"))
    states = [supernet.operation(32, position, "M2").state_dict()["qkv.weight"] for position in range(4)]
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[2], states[3])
    assert not torch.equal(states[1], states[2])


@pytest.mark.parametrize("size", [16, 50, 64, 80])
def test_reduced_embedding(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    words, positions = torch.randn(100, 64, generator=generator), torch.randn(10, 64, generator=generator)
    words[:, 20:] *= 0.05
    module = reduced_embedding(words, positions, size, 1e-12).requires_grad_(False)
    ids = torch.arange(8)[None]
    assert module(ids).shape == (1, 8, size)
    assert torch.isfinite(module(ids)).all()
    sums = module.words.weight[:8] + module.positions.weight[:8]
    whole = words[:8] + positions[:8]
    share = float(sums.square().sum() / whole.square().sum())
    assert share == pytest.approx(1, abs=1e-5) if size >= 64 else 0.2 < share < 1
    lengths = math.sqrt(float(module.words.weight.square().sum()))
    assert lengths <= math.sqrt(float((words - words.mean(0)).square().sum())) * 1.0001
