"""Prefix-tree scores against a slow reference, and the lines that every report prints beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nas_ray.blocks import BlockSupernet, Readout, prior_of
from nas_ray.measure import ScoreSets, States, linear_loss, rank_floors, refit, score_paths
from nas_ray.measure._scores import _parent_bytes
from nas_ray.modeling import Numerics
from nas_ray.space import OperationChoice, Path, PathSpace

RIDGES = (1e-4, 1e-2, 1.0)
SPACE = PathSpace(
    "s", 1, 3, (16, 24), 8,
    (
        OperationChoice("attention"),
        OperationChoice("feed_forward", ratio=2),
        OperationChoice("separable_conv", kernel=3),
    ),
    (24,),
)  # fmt: skip


def block(masked: bool, space: PathSpace = SPACE, hidden: int = 24) -> tuple[BlockSupernet, ScoreSets]:
    """A random supernet with large weights, and states whose padding is noise."""
    supernet = BlockSupernet(space, hidden, Numerics(), seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    mixing = torch.randn(hidden, hidden, generator=generator) / hidden**0.5

    def states(sequences: int) -> States:
        x = torch.randn(sequences, 12, hidden, generator=generator)
        y = torch.tanh(x @ mixing) + 0.1 * torch.randn(x.shape, generator=generator) + 0.5
        if not masked:
            return States(x, y)
        mask = torch.arange(12) < torch.randint(3, 13, (sequences, 1), generator=generator)
        return States(x, torch.where(mask[..., None], y, 1e3), mask)

    return supernet, ScoreSets(states(30), states(10), states(12))


def slow_score(supernet: BlockSupernet, path: Path, sets: ScoreSets) -> float:
    """The path run whole on each set; readouts by numpy's solver; errors from written outputs."""
    rows = []
    for states in sets.all:
        with torch.no_grad():
            features = supernet.features(states.inputs, path, states.mask)
        keep = torch.ones(states.inputs.shape[:2], dtype=torch.bool) if states.mask is None else states.mask
        x, y = features[keep].double().numpy(), states.targets[keep].double().numpy()
        rows.append((np.hstack([x, np.ones((len(x), 1))]), y))
    (a, b), (held, held_y), (select, select_y) = rows
    _, leave = supernet.maps(path)
    prior = np.vstack([leave.weight.detach().double().numpy().T, leave.bias.detach().double().numpy()])
    candidates = [prior]
    for ridge in RIDGES:
        penalty = np.eye(len(prior)) * ridge * (a[:, :-1] ** 2).sum(0).mean()
        penalty[-1, -1] = 0
        candidates.append(prior + np.linalg.solve(a.T @ a + penalty, a.T @ (b - a @ prior)))
    best = min(candidates, key=lambda w: ((held @ w - held_y) ** 2).sum())
    return float(((select @ best - select_y) ** 2).mean() / select_y.var(0).mean())


@pytest.mark.parametrize("masked", [False, True])
def test_scores_equal_path_by_path(masked: bool) -> None:
    supernet, sets = block(masked)
    found = score_paths(supernet, SPACE.paths, sets, RIDGES, tile_tokens=48)
    assert list(found) == [path.path_id for path in SPACE.paths]
    assert len(set(found.values())) == len(found)
    for path in SPACE.paths:
        assert found[path.path_id] == pytest.approx(slow_score(supernet, path, sets), abs=1e-5)


def test_few_held_out_tokens() -> None:
    supernet, sets = block(True)
    sets = replace(sets, held_out=sets.held_out.slice(0, 2))
    assert sets.held_out.num_tokens < 24
    for parents in (1, 5):
        found = score_paths(supernet, SPACE.paths[::7], sets, RIDGES, parents=parents, tile_tokens=12)
        for path in SPACE.paths[::7]:
            assert found[path.path_id] == pytest.approx(slow_score(supernet, path, sets), abs=1e-5)


@pytest.mark.parametrize("tile_tokens", [1, 30, 144, 10_000])
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_do_not_matter(masked: bool, tile_tokens: int) -> None:
    supernet, sets = block(masked)
    paths = SPACE.paths[::5]
    expected = score_paths(supernet, paths, sets, RIDGES)
    found = score_paths(supernet, paths, sets, RIDGES, tile_tokens=tile_tokens)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_subset_scores_the_same() -> None:
    supernet, sets = block(True)
    whole = score_paths(supernet, SPACE.paths, sets, RIDGES)
    chosen = [SPACE.paths[i] for i in (70, 3, 38, 4)]
    counted: list[int] = []
    found = score_paths(supernet, chosen, sets, RIDGES, progress=counted.append)
    assert found == {path.path_id: whole[path.path_id] for path in chosen}
    assert counted == [1, 2, 3, 4]
    assert score_paths(supernet, [], sets, RIDGES) == {}


def test_a_prefix_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    supernet, sets = block(False)
    calls = []
    operation = supernet.operation
    monkeypatch.setattr(supernet, "operation", lambda *place: calls.append(place) or operation(*place))
    score_paths(supernet, SPACE.paths, sets, RIDGES)
    assert len(calls) == len(SPACE.paths) == 2 * (3 + 9 + 27)


ALTERNATING = replace(
    SPACE,
    choices=(*SPACE.choices[:2], OperationChoice("feed_forward", ratio=1)),
    alternate=True,
)


@pytest.mark.parametrize("parents", [2, 3, 7, 1000])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "paths",
    [SPACE.paths, [SPACE.paths[i] for i in (70, 3, 38, 4, 5, 17)], ALTERNATING.paths],
    ids=["whole", "subset", "alternating"],
)
def test_groups_of_parents_do_not_matter(paths: Sequence[Path], masked: bool, parents: int) -> None:
    supernet, sets = block(masked, ALTERNATING if paths is ALTERNATING.paths else SPACE)
    one = score_paths(supernet, paths, sets, RIDGES)
    counted: list[int] = []
    many = score_paths(supernet, paths, sets, RIDGES, parents=parents, tile_tokens=50, progress=counted.append)
    assert list(many) == list(one) == [path.path_id for path in paths]
    assert many == pytest.approx(one, abs=1e-5)
    assert counted == sorted(set(counted))
    assert counted[-1] == len(paths)


@pytest.mark.parametrize("room", [0, 1, 5, 1000])
def test_memory_bounds_the_parents(room: int) -> None:
    supernet, sets = block(False)
    one = _parent_bytes(sets, 24, 3, len(RIDGES))
    paths = [path for path in SPACE.paths if path.width == 24]
    largest = 0

    def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, len(inputs[0]))

    for module in supernet.operations.values():
        module.register_forward_pre_hook(note)
    found = score_paths(supernet, paths, sets, RIDGES, parents=1000, memory_bytes=room * one, tile_tokens=12)
    assert min(room, 9) / 2 < largest <= max(room, 1)  # tiles of one sequence; nine prefixes of two operations
    assert found == pytest.approx(score_paths(supernet, paths, sets, RIDGES), abs=1e-5)


@pytest.mark.parametrize("parents", [1, 4])
def test_bf16_operations(parents: int) -> None:
    supernet, sets = block(True)
    expected = score_paths(supernet, SPACE.paths, sets, RIDGES)
    found = score_paths(supernet, SPACE.paths, sets, RIDGES, precision="bf16", parents=parents)
    assert found != expected
    assert found == pytest.approx(expected, abs=0.02)


def test_scores_leave_no_gradient_and_no_change() -> None:
    supernet, sets = block(False)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    score_paths(supernet, SPACE.paths[:3], sets, RIDGES)
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    assert all(p.grad is None for p in supernet.parameters())


@pytest.mark.parametrize("masked", [False, True])
def test_refit(masked: bool) -> None:
    supernet, sets = block(masked)
    path = SPACE.paths[50]
    with torch.no_grad():
        features = [supernet.features(s.inputs, path, s.mask) for s in sets.all]
    _, leave = supernet.maps(path)
    readout: Readout = refit(features[:2], sets, prior_of(leave.weight.detach(), leave.bias.detach()), RIDGES)
    output = features[2] @ readout.weight.T + readout.bias
    error = sets.select.rows((output - sets.select.targets).square()).mean() / sets.select.variance()
    assert float(error) == pytest.approx(slow_score(supernet, path, sets), abs=1e-5)


def test_variance_is_the_loss_of_the_mean() -> None:
    _, sets = block(True)
    kept = sets.select.targets[sets.select.mask].numpy()  # type: ignore[index]
    assert sets.select.variance() == pytest.approx(kept.var(0).mean(), rel=1e-5)
    assert sets.select.num_tokens == len(kept)


@pytest.mark.parametrize("masked", [False, True])
def test_linear_loss_is_least_squares(masked: bool) -> None:
    _, sets = block(masked)
    keep = [np.ones(s.inputs.shape[:2], bool) if s.mask is None else s.mask.numpy() for s in sets.all]
    x, y = (
        [getattr(s, name).numpy()[k] for s, k in zip(sets.all, keep, strict=True)] for name in ("inputs", "targets")
    )
    one = [np.hstack([rows, np.ones((len(rows), 1))]) for rows in x]
    weight = np.linalg.lstsq(one[0], y[0], rcond=None)[0]
    expected = ((one[2] @ weight - y[2]) ** 2).mean() / y[2].var(0).mean()
    assert linear_loss(sets, (1e-9,)) == pytest.approx(expected, abs=1e-4)


def test_linear_loss_of_a_linear_block_is_0() -> None:
    x = torch.randn(30, 12, 6, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    sets = ScoreSets(*(States(part, part @ weight + 2) for part in (x[:10], x[10:20], x[20:])))
    assert linear_loss(sets, (1e-10,)) == pytest.approx(0, abs=1e-5)


def test_rank_floors() -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0))).Q
    signs = torch.tensor([[a, b, c, d] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)])
    rows = (signs * torch.tensor([4.0, 3.0, 2.0, 1.0])) @ turn + 5  # variances 16, 9, 4, 1 along turned axes
    states = States(rows[None], rows[None])
    floors = rank_floors(ScoreSets(states, states, states), [1, 2, 3, 4, 9])
    assert floors == pytest.approx({1: 14 / 30, 2: 5 / 30, 3: 1 / 30, 4: 0, 9: 0}, abs=1e-6)


def test_no_path_goes_below_its_floor() -> None:
    supernet, sets = block(False)
    floors = rank_floors(sets, SPACE.widths)
    found = score_paths(supernet, SPACE.paths, sets, RIDGES)
    assert all(found[path.path_id] >= floors[path.width] - 1e-6 for path in SPACE.paths)
