"""The maximum point's outputs, computed once for all students: a teacher's last hidden states, or its head's features.

Sequences are always computed in the same groups, so that an output does not depend on who asked for it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_ray.distill._student import TrainingText
from nas_ray.teacher import TeacherSource, load_masked_lm, load_model

ErrorKind = Literal["hidden_state", "cross_entropy"]
Array = NDArray[Any]


@dataclass(frozen=True)
class OutputsConfig:
    """How to compute outputs anywhere; ``group`` sequences at a time, of which ``cache_bytes`` are kept."""

    teacher: str  # where its files are
    error: ErrorKind
    group: int
    cache_bytes: int
    threads: int | None = None


class TeacherOutputs:
    """Outputs ``(sequences, tokens, size)`` of the sequences of ``text``."""

    def __init__(self, config: OutputsConfig, text: TrainingText) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.config, self.text = config, text
        self._groups: dict[int, Array] = {}
        self._bytes = 0

    def of(self, chosen: Sequence[int]) -> Array:
        """Outputs of the sequences ``chosen``."""
        size = self.config.group
        groups = {number: self._group(number) for number in sorted({index // size for index in chosen})}
        return np.stack([groups[index // size][index % size] for index in chosen])

    def of_text(self, text: TrainingText) -> Array:
        """Outputs of all sequences of another text; nothing is kept."""
        size = self.config.group
        return np.concatenate([self._compute(text, at, at + size) for at in range(0, len(text.ids), size)])

    def decoder(self) -> tuple[Array, Array] | None:
        """Weight ``(vocab, size)`` and bias that make logits of features; None for hidden states."""
        found = self._model
        return None if not hasattr(found, "weight") else (found.weight.numpy(), found.bias.numpy())

    def _group(self, number: int) -> Array:
        found = self._groups.get(number)
        if found is None:
            size = self.config.group
            found = self._compute(self.text, number * size, (number + 1) * size)
            if self._bytes + found.nbytes <= self.config.cache_bytes:
                self._groups[number] = found
                self._bytes += found.nbytes
        return found

    @torch.no_grad()
    def _compute(self, text: TrainingText, first: int, last: int) -> Array:
        ids, mask = text.rows(list(range(first, min(last, len(text.ids)))))
        if self.config.error == "cross_entropy":
            found: Tensor = self._model.features(ids, mask)
        else:
            attention = None if mask is None else mask.long()
            found = self._model(input_ids=ids, attention_mask=attention).last_hidden_state
        return found.numpy()

    @cached_property
    def _model(self) -> Any:
        source = TeacherSource(self.config.teacher)
        return load_masked_lm(source) if self.config.error == "cross_entropy" else load_model(source)


def evaluation_arrays(outputs: Any, texts: Mapping[str, TrainingText]) -> dict[str, Any]:
    """What judging needs of every split, as numpy arrays; ``outputs`` are in this process or an actor's."""
    return {
        "ids": {split: text.ids for split, text in texts.items()},
        "masks": {split: text.mask for split, text in texts.items()},
        "targets": {split: outputs.of_text(text) for split, text in texts.items()},
        "decoder": outputs.decoder(),
    }
