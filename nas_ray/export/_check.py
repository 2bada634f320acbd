"""An export computes what its source does, on short and long, single and padded texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nas_ray.errors import ExportError

LIMIT = 1e-4
"""The largest absolute difference that an fp32 export may have."""

Array = NDArray[Any]
Runner = Callable[[Array, Array], Sequence[Array]]
"""Ids and mask ``(batch, tokens)``, int64, to all that a model says."""

_TEXTS = (
    "The captain found the old lamp near the harbour.",
    "Economists said on Tuesday that the bank would raise its rate again.",
    "Two hours of my life that I will never get back.",
    "How do I reset the password of my account?",
    "Paris is the capital of France.",
    "She poured the soup, and the kettle whistled behind her.",
    "The engine failed twice before the train reached the valley.",
    "A good lesson begins with a question.",
)


class Exportable(Protocol):
    """A module of tensors ``inputs``, to tensors ``outputs``, all by name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]: ...


def feed(inputs: Sequence[str], ids: Array, mask: Array) -> dict[str, Array]:
    """What ``inputs`` name; token types, where they are read, are those of two texts of one length."""
    types = np.broadcast_to((np.arange(ids.shape[1]) >= ids.shape[1] // 2).astype(np.int64), ids.shape).copy()
    known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: known[name] for name in inputs}


def torch_runner(model: Exportable) -> Runner:
    """``model`` on arrays."""

    @torch.inference_mode()
    def run(ids: Array, mask: Array) -> list[Array]:
        tensors = map(torch.from_numpy, feed(model.inputs, ids, mask).values())
        return [found.numpy() for found in model(*tensors)]

    return run


def probes(vocab_size: int, num_positions: int) -> list[tuple[Array, Array]]:
    """Random ids and masks: one text and three, short and as long as the model takes, the last one padded."""
    rng = np.random.default_rng(0)
    found = []
    for batch in (1, 3):
        for tokens in sorted({min(5, num_positions), num_positions}):
            mask = np.ones((batch, tokens), np.int64)
            if batch > 1:
                mask[-1, max(1, tokens // 2) :] = 0
            found.append((rng.integers(vocab_size, size=mask.shape), mask))
    return found


def largest_difference(a: Runner, b: Runner, inputs: Sequence[tuple[Array, Array]]) -> float:
    """The largest absolute difference where there is text; infinite where one has no finite number."""
    largest = 0.0
    for ids, mask in inputs:
        for x, y in zip(a(ids, mask), b(ids, mask), strict=True):
            difference = np.abs(x - y)[mask.astype(bool)] if x.ndim == 3 else np.abs(x - y)
            largest = max(largest, float(difference.max()) if np.isfinite(difference).all() else float("inf"))
    return largest


def require_equal(difference: float, what: str) -> None:
    """Refuse an fp32 export that is not its source.

    Raises:
        ExportError: it differs by more than ``LIMIT``.
    """
    if not difference <= LIMIT:
        raise ExportError(f"{what} differs from its source by {difference:.2g}; accepted: at most {LIMIT:g}.")


@dataclass(frozen=True)
class Int8Difference:
    """How far int8 is from fp32 on a few English sentences."""

    largest: float
    """Of any hidden state."""
    mean_cosine: float
    """Between the two vectors of one sentence (mean over tokens)."""
    least_cosine: float


def texts(tokenizer: Any, num_positions: int) -> list[tuple[Array, Array]]:
    """Ids and mask of eight English sentences, in one batch."""
    found = tokenizer(list(_TEXTS), padding=True, truncation=True, max_length=min(32, num_positions))
    return [(np.asarray(found["input_ids"], np.int64), np.asarray(found["attention_mask"], np.int64))]


def int8_difference(fp32: Runner, int8: Runner, tokenizer: Any, num_positions: int) -> Int8Difference:
    """The difference on ``texts``."""
    ((ids, mask),) = texts(tokenizer, num_positions)
    a, b = fp32(ids, mask)[0], int8(ids, mask)[0]
    weights = mask[..., None] / mask.sum(1)[:, None, None]
    x, y = (a * weights).sum(1), (b * weights).sum(1)
    cosines = (x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return Int8Difference(float(np.abs(a - b)[mask.astype(bool)].max()), float(cosines.mean()), float(cosines.min()))
