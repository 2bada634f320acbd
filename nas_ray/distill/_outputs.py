"""The maximum point's outputs, computed once for all students: a teacher's last hidden states, the features in front of
its masked-LM head's decoder, or both side by side.

Sequences are always computed in the same groups, so that an output does not depend on who asked for it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_ray.distill._student import TrainingText
from nas_ray.distill._trainer import autocasts
from nas_ray.teacher import TeacherSource, load_masked_lm, load_model

ErrorKind = Literal["hidden_state", "cross_entropy", "both"]
Array = NDArray[Any]


@dataclass(frozen=True)
class OutputsConfig:
    """How to compute outputs anywhere; ``cache_bytes`` of them are kept.

    ``precision`` is that of training text, as of the training itself; what students are judged by is fp32.
    """

    teacher: str  # where its files are
    error: ErrorKind
    cache_bytes: int
    device: str = "cpu"
    threads: int | None = None
    precision: str = "fp32"


class Outputs(Protocol):
    """Where the maximum point's outputs come from: this process or an actor."""

    def groups(self, rows: Mapping[int, TrainingText]) -> dict[int, Array]:
        """Outputs ``(sequences, tokens, size)`` of groups of sequences, by their number in the training text."""

    def once(self, rows: TrainingText) -> Array:
        """Outputs of sequences that nobody will ask for again."""

    def decoder(self) -> tuple[Array, Array] | None:
        """Weight ``(vocab, size)`` and bias that make logits of features; None for hidden states."""


class TeacherOutputs:
    """Outputs that this process computes and keeps."""

    def __init__(self, config: OutputsConfig) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.config = config
        self._kept: dict[int, Array] = {}
        self._bytes = 0

    def groups(self, rows: Mapping[int, TrainingText]) -> dict[int, Array]:
        return {number: self._group(number, text) for number, text in rows.items()}

    def once(self, rows: TrainingText) -> Array:
        return self._computed(rows, "fp32")

    @torch.no_grad()
    def _computed(self, rows: TrainingText, precision: str) -> Array:
        device = torch.device(self.config.device).type
        with torch.autocast(device, torch.bfloat16, enabled=autocasts(precision, device)):
            return self._forward(rows).float().cpu().numpy()

    def _forward(self, rows: TrainingText) -> Tensor:
        ids, mask = rows.rows(list(range(len(rows.ids))), self.config.device)
        if self.config.error == "hidden_state":
            attention = None if mask is None else mask.long()
            found: Tensor = self._model(input_ids=ids, attention_mask=attention).last_hidden_state
            return found
        features, hidden = self._model.outputs(ids, mask)
        return features if self.config.error == "cross_entropy" else torch.cat([hidden, features], -1)

    def decoder(self) -> tuple[Array, Array] | None:
        if self.config.error == "hidden_state":
            return None
        return self._model.weight.numpy(), self._model.bias.numpy()

    def _group(self, number: int, rows: TrainingText) -> Array:
        found = self._kept.get(number)
        if found is None:
            found = self._computed(rows, self.config.precision)
            if self._bytes + found.nbytes <= self.config.cache_bytes:
                self._kept[number] = found
                self._bytes += found.nbytes
        return found

    @cached_property
    def _model(self) -> Any:
        source, device = TeacherSource(self.config.teacher), self.config.device
        if self.config.error == "hidden_state":
            return load_model(source).to(device)
        found = load_masked_lm(source)
        found.model.to(device)
        return found


def outputs_of(outputs: Outputs, text: TrainingText, chosen: Sequence[int], group: int) -> Array:
    """Outputs of the sequences ``chosen`` of ``text``, which are computed ``group`` at a time; 0 behind the text."""
    rows = {number: text.part(number * group, (number + 1) * group) for number in {i // group for i in chosen}}
    found = outputs.groups(rows)
    return _padded([found[index // group][index % group] for index in chosen], text.width(chosen))


def _padded(rows: Sequence[Array], width: int) -> Array:
    """Outputs ``(tokens, size)`` of several sequences as one array, each cut or filled with 0 to ``width`` tokens."""
    whole = np.zeros((len(rows), width, rows[0].shape[-1]), rows[0].dtype)
    for row, found in zip(whole, rows, strict=True):
        row[: len(found)] = found[:width]
    return whole


def evaluation_arrays(outputs: Outputs, texts: Mapping[str, TrainingText], group: int) -> dict[str, Any]:
    """What judging needs of every split, as numpy arrays."""

    def targets(text: TrainingText) -> Array:
        found = [outputs.once(text.part(at, at + group)) for at in range(0, len(text.ids), group)]
        return _padded([row for rows in found for row in rows], text.ids.shape[1])

    return {
        "ids": {split: text.ids for split, text in texts.items()},
        "masks": {split: text.mask for split, text in texts.items()},
        "labels": {split: text.labels for split, text in texts.items()},
        "targets": {split: targets(text) for split, text in texts.items()},
        "decoder": outputs.decoder(),
    }
