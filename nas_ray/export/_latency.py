"""Latency of an export and of its teacher here and now, at the key of the table that estimated it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nas_ray._machine import num_cores, processor
from nas_ray.export._check import feed
from nas_ray.measure import Timing, interleaved


@dataclass(frozen=True)
class Key:
    """What a latency holds for."""

    processor: str
    runtime: str
    dtype: str
    device: str
    threads: int
    sequence_length: int
    batch_size: int

    @property
    def text(self) -> str:
        """In words."""
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return (
            f"{self.batch_size} x {self.sequence_length} tokens, {threads}, {self.runtime}, {self.dtype}, "
            f"{self.processor}"
        )


def key_here(found: Mapping[str, Any], runtime: str, num_positions: int) -> Key:
    """The table's key as this machine can measure it: fp32 on the CPU, no longer than the student's positions."""
    return Key(
        processor(),
        runtime,
        "fp32",
        "cpu",
        int(found.get("threads") or num_cores()),
        min(int(found.get("sequence_length") or 128), num_positions),
        int(found.get("batch_size") or 1),
    )


def differences(table: Mapping[str, Any], here: Key) -> list[str]:
    """Where the table was measured otherwise than ``here``: its estimate is of something else."""
    found = []
    for name in ("runtime", "dtype", "device", "processor", "threads", "sequence_length", "batch_size"):
        then, now = table.get(name), getattr(here, name)
        if then is not None and then != now:
            found.append(f"{name} {then} in the table, {now} here")
    return found


def ids_of(key: Key, vocab_size: int) -> Any:
    """Token ids ``(batch, tokens)`` as tables are measured with."""
    shape = (key.batch_size, key.sequence_length)
    return np.arange(shape[0] * shape[1], dtype=np.int64).reshape(shape) % vocab_size


def torch_call(model: Any, key: Key, vocab_size: int) -> Callable[[], object]:
    """One eager forward pass."""
    ids = torch.from_numpy(ids_of(key, vocab_size))
    return lambda: model(input_ids=ids)


def onnx_call(session: Any, key: Key, vocab_size: int) -> Callable[[], object]:
    """One run of a session."""
    ids = ids_of(key, vocab_size)
    found = feed([each.name for each in session.get_inputs()], ids, np.ones_like(ids))
    return lambda: session.run(None, found)


def time_calls(calls: Mapping[str, Callable[[], object]], key: Key, repeats: int) -> dict[str, Timing]:
    """Each of ``calls``, in rounds over all of them."""
    with _threads(key.threads):
        return {name: Timing.of(found) for name, found in interleaved(calls, repeats, "cpu").items()}


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
