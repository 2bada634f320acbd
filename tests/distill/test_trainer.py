"""The training step: its schedule, what it touches, and exact continuation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas_ray.distill import Schedule, Trainer, has_native_bf16, normalised_mse


def test_schedule() -> None:
    schedule = Schedule(peak=1.0, steps=10, warmup=0.2)
    assert [schedule.rate(step) for step in range(10)] == pytest.approx([0.5, 1.0, *(k / 8 for k in range(8, 0, -1))])
    assert Schedule(2.0, 4, 0.0).rate(0) == 2.0  # at least one step of warm-up, at the peak
    assert Schedule(1.0, 5, 0.2).rate(5) == 0.0
    assert Schedule(1.0, 0, 0.1).rate(3) == 0.0


def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})


def trainer(module: nn.Module, **changes: object) -> Trainer:
    options: dict[str, object] = {"weight_decay": 0.1, "clip": 1.0, "precision": "fp32", **changes}
    return Trainer(module, Schedule(1e-2, 20, 0.1), **options)  # type: ignore[arg-type]


def loss_of(module: nn.Module, name: str, step: int) -> Callable[[], Tensor]:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return lambda: module[name](x).square().mean()  # type: ignore[index]


def test_only_touched_weights_change() -> None:
    module = network()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    train = trainer(module)
    train.step(0, [loss_of(module, "a", 0), loss_of(module, "b", 0)])
    changed = {name for name, p in module.named_parameters() if not torch.equal(before[name], p)}
    assert changed == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert all(p.grad is None for p in module.parameters())
    train.step(1, [loss_of(module, "c", 0)])
    assert not torch.equal(before["c.weight"], module["c"].weight)  # type: ignore[arg-type]


def test_a_step_is_adamw_on_the_mean_loss() -> None:
    module, other = network(), network()
    found = trainer(module, clip=1e9).step(0, [loss_of(module, "a", 0), loss_of(module, "b", 1)])
    losses = [loss_of(other, "a", 0)(), loss_of(other, "b", 1)()]
    assert found == pytest.approx([float(loss.detach()) for loss in losses])
    touched = [*other["a"].parameters(), *other["b"].parameters()]
    reference = torch.optim.AdamW(touched, lr=5e-3, betas=(0.9, 0.98), weight_decay=0.1)
    (sum(losses) / 2).backward()  # type: ignore[union-attr]
    reference.step()
    for a, b in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped_together(monkeypatch: pytest.MonkeyPatch) -> None:
    module, norms = network(), []
    clip = torch.nn.utils.clip_grad_norm_

    def watch(parameters: list[nn.Parameter], most: float) -> Tensor:
        found = clip(parameters, most)
        norms.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm())
        return found

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watch)
    trainer(module, clip=1e-3).step(0, [loss_of(module, "a", 0), loss_of(module, "b", 0)])
    assert float(norms[0]) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("exponent", [0.0, 1.5])
def test_widths_are_clipped_each_by_itself_whatever_their_rates(exponent: float) -> None:
    module = network()
    widths = {"a": 32, "b": 64, "c": 64}
    train = trainer(
        module, clip=1e-3, weight_decay=0.0, width=lambda name: widths[name[0]], scale=lambda w: (64 / w) ** exponent
    )
    train.optimizer = torch.optim.SGD(train.optimizer.param_groups, lr=1.0)  # moves by the clipped gradient
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    train.step(1, [loss_of(module, name, 0) for name in "abc"])  # at the peak of the rate
    for names, width in (("a", 32), ("bc", 64)):
        moved = [(p.detach() - before[name]).flatten() for name, p in module.named_parameters() if name[0] in names]
        assert float(torch.cat(moved).norm()) == pytest.approx(1e-2 * (64 / width) ** exponent * 1e-3, rel=1e-2)


def test_state_continues_to_the_bit() -> None:
    def run(module: nn.Module, train: Trainer, steps: range) -> None:
        for step in steps:
            train.step(step, [loss_of(module, "abc"[step % 3], step)])

    straight = network()
    run(straight, trainer(straight), range(12))
    first = network()
    stopped = trainer(first)
    run(first, stopped, range(5))
    weights = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    state = {name: tensor.clone() for name, tensor in stopped.state().items()}
    second = network()
    second.load_state_dict(weights)
    resumed = trainer(second)
    resumed.load_state(state)
    run(second, resumed, range(5, 12))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), second.parameters(), strict=True))


def test_bf16_keeps_weights_in_fp32() -> None:
    module = network()
    train = trainer(module, precision="bf16")
    assert train.autocast
    train.step(0, [loss_of(module, "a", 0)])
    assert all(p.dtype == torch.float32 for p in module.parameters())
    assert isinstance(has_native_bf16("cpu"), bool)
    assert not trainer(module, precision="fp32").autocast


def test_normalised_mse() -> None:
    target = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    variance = float((target - target.mean((0, 1))).square().mean())
    mean = target.mean((0, 1)).expand_as(target)
    assert float(normalised_mse(mean, target, None, variance)) == pytest.approx(1, rel=1e-5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    noisy = torch.where(mask[..., None], target + 1, float("inf"))
    assert float(normalised_mse(noisy, target, mask, 2.0)) == pytest.approx(0.5, rel=1e-5)
