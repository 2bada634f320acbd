"""The training loop's one step, for every stage that trains: AdamW, linear warm-up and decay, clipping, autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nas_ray._machine import keep_compiled_kernels, keep_freed_memory
from nas_ray.blocks import BlockSupernet
from nas_ray.distill._config import BlockConfig
from nas_ray.distill._replicas import ReplicaGroup
from nas_ray.distill._store import Boundary
from nas_ray.modeling import NasRayPreTrainedModel
from nas_ray.space import Path

_BETAS = (0.9, 0.98)

keep_compiled_kernels()  # here, since it is too late after the first product


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up over the first ``warmup`` share of ``steps``, then linear decay to 0."""

    peak: float
    steps: int
    warmup: float

    def rate(self, step: int) -> float:
        """The learning rate of step ``step``, counted from 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return self.peak * (step + 1) / rise
        return self.peak * max(0.0, (self.steps - step) / max(1, self.steps - rise))


def has_native_bf16(device: str) -> bool:
    """Whether ``device`` multiplies bf16 in hardware."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, lambda: False)()) for probe in probes)


def autocasts(precision: str, device: str) -> bool:
    """Whether a training of this ``precision`` computes in bf16."""
    return precision == "bf16" or (precision == "auto" and has_native_bf16(device))


def _attend_by_parts(module: nn.Module) -> None:
    """In bf16 on a CPU the backward pass of fused attention takes 3 to 5 times as long; ours knows that itself."""
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and not isinstance(part, NasRayPreTrainedModel):
            part.set_attn_implementation("eager")


class Trainer:
    """Optimises the weights that a step's losses touch; the others are not even decayed.

    ``width`` says by name which width a weight belongs to: widths share nothing, so the gradients of each are clipped
    by themselves, and ``scale`` multiplies the learning rate of each.
    """

    def __init__(
        self,
        module: nn.Module,
        schedule: Schedule,
        *,
        weight_decay: float,
        clip: float,
        precision: str,
        device: str = "cpu",
        width: Callable[[str], int] = lambda _: 0,
        scale: Callable[[int], float] = lambda _: 1.0,
        average: Callable[[Sequence[Tensor]], None] | None = None,
    ) -> None:
        self.names = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.schedule, self.clip, self.device = schedule, clip, device
        self.average = average  # in place, over processes that take the same step on other batches
        self.autocast = autocasts(precision, device)
        if not device.startswith("cuda"):
            keep_freed_memory()
            if self.autocast:
                _attend_by_parts(module)
        widths = {name: width(name) for name in self.names}
        groups = [
            {"params": [p for name, p in self.names.items() if widths[name] == value], "scale": scale(value)}
            for value in sorted(set(widths.values()))
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=schedule.peak, betas=_BETAS, weight_decay=weight_decay, fused=True
        )

    def step(self, step: int, losses: Iterable[Callable[[], Tensor]]) -> list[float]:
        """One update on the mean of ``losses``, each computed and differentiated in turn; returns their values."""
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        todo = list(losses)
        for compute in todo:
            with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.autocast):
                loss = compute()
            (loss / len(todo)).backward()  # type: ignore[no-untyped-call]
            found.append(float(loss.detach()))
        touched = [p for p in self.names.values() if p.grad is not None]
        if self.average is not None:
            values = torch.tensor(found, device=self.device)
            self.average([*(p.grad for p in touched if p.grad is not None), values])
            found = values.tolist()
        for group in self.optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], self.clip)
            group["lr"] = self.schedule.rate(step) * group["scale"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return found

    def state(self) -> dict[str, Tensor]:
        """The optimizer's own tensors, not copies, under ``<moment>/<parameter>`` names."""
        return {
            f"{key}/{name}": torch.as_tensor(value)
            for name, parameter in self.names.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        for full, value in tensors.items():
            key, _, name = full.partition("/")
            parameter = self.names[name]
            self.optimizer.state[parameter][key] = value.to(parameter.device, copy=True)


def block_trainer(config: BlockConfig, supernet: BlockSupernet, hidden: int, group: ReplicaGroup) -> Trainer:
    """The trainer of a block's supernet; narrow widths learn faster, replicas average their gradients."""
    return Trainer(
        supernet, Schedule(config.learning_rate, config.steps * config.updates, config.warmup),
        weight_decay=config.weight_decay, clip=config.clip, precision=config.precision, device=config.device,
        width=supernet.width_of, scale=lambda width: (hidden / width) ** config.rate_exponent,
        average=group.average if config.replicas > 1 else None,
    )  # fmt: skip


def path_loss(supernet: BlockSupernet, path: Path, boundary: Boundary, variance: float, *, prefixes: bool) -> Tensor:
    """Loss of ``path`` on ``boundary``; the mean over all its prefixes if they learn with it."""
    inputs, targets, mask = boundary.inputs, boundary.targets, boundary.mask
    outputs = supernet.prefixes(inputs, path, mask) if prefixes else [supernet(inputs, path, mask)]
    return torch.stack([normalised_mse(output, targets, mask, variance) for output in outputs]).mean()


def normalised_mse(output: Tensor, target: Tensor, mask: Tensor | None, variance: float) -> Tensor:
    """Mean squared error over text positions divided by the target's ``variance``; 1.0 = predicting the mean."""
    error = (output.float() - target).square().mean(-1)
    return (error.mean() if mask is None else error[mask].mean()) / variance
