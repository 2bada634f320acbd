"""How far a plain student is from the maximum point: by hidden states, or by predictions of hidden words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.blocks import Readout, UniformStudent, build_prediction_head, linear_of, prior_of
from nas_ray.distill._trainer import normalised_mse
from nas_ray.measure import ScoreSets, States, refit, split_calibration

Array = NDArray[Any]

ROWS = 8  # sequences that are evaluated at a time


class Batch(NamedTuple):
    """Ids, mask and labels ``(sequences, tokens)`` of a training step, and the maximum point's outputs; None where
    there is no padding, nothing is hidden, or nobody asks for outputs."""

    ids: Tensor
    mask: Tensor | None
    target: Tensor | None
    labels: Tensor | None = None

    def parts(self, count: int) -> list[Batch]:
        """``count`` equal parts of its sequences."""
        split = [[None] * count if found is None else found.chunk(count) for found in self]
        return [Batch(*part) for part in zip(*split, strict=True)]


class Measure(Protocol):
    """An error: its trained head, its loss in training, its value at a rung, and that of every token of a split."""

    def head(self, student: UniformStudent, seed: int) -> nn.Module:
        """What is trained behind the student and is no part of it."""

    def loss(self, output: Tensor, head: nn.Module, batch: Batch) -> Tensor:
        """The loss of a training step, from the student's ``output`` on it."""

    def error(self, student: UniformStudent, head: nn.Module) -> float:
        """On the split *select*."""

    def token_errors(self, student: UniformStudent, head: nn.Module, split: str) -> tuple[Array, Array]:
        """Errors ``(sequences, tokens)`` on ``split``, and where there are any."""


class Evaluation:
    """The arrays of the evaluation splits, as tensors."""

    def __init__(self, arrays: Mapping[str, Any], device: str = "cpu") -> None:
        def tensor(array: Any, kind: Any = None) -> Tensor:
            return torch.from_numpy(np.array(array, dtype=kind)).to(device)

        self.ids = {split: tensor(ids, np.int64) for split, ids in arrays["ids"].items()}
        self.masks = {split: None if mask is None else tensor(mask) for split, mask in arrays["masks"].items()}
        self.targets = {split: tensor(found) for split, found in arrays["targets"].items()}
        self.labels = {
            split: None if found is None else tensor(found, np.int64) for split, found in arrays["labels"].items()
        }

    @torch.no_grad()
    def features(self, student: nn.Module, split: str) -> Tensor:
        """The student's hidden states on ``split``; 0 behind the longest text of some rows."""
        ids, mask = self.ids[split], self.masks[split]
        found = []
        for at in range(0, len(ids), ROWS):
            some = None if mask is None else mask[at : at + ROWS]
            width = ids.shape[1] if some is None else max(1, int(some.any(0).nonzero().max()) + 1)
            states = student(ids[at : at + ROWS, :width], None if some is None else some[:, :width])
            found.append(F.pad(states, (0, 0, 0, ids.shape[1] - width)))
        return torch.cat(found)

    def states(self, split: str) -> States:
        """Targets of ``split``, which stand for its inputs too."""
        return States(self.targets[split], self.targets[split], self.masks[split])

    def text(self, split: str) -> Tensor:
        """True where there is text."""
        return self.states(split).text


class HiddenStateError:
    """Share of the variance of the maximum point's last hidden state that the best linear readout of the student's does
    not explain: 1.0 = predicting the mean. The readout is fitted on *calibrate*; nothing of it belongs to the student.
    """

    def __init__(self, evaluation: Evaluation, ridges: tuple[float, ...]) -> None:
        self.evaluation, self.ridges = evaluation, ridges
        calibrate, select = evaluation.states("calibrate"), evaluation.states("select")
        self.cut = split_calibration(len(calibrate.targets))
        held_out = calibrate.slice(self.cut, len(calibrate.targets))
        self.sets = ScoreSets(calibrate.slice(0, self.cut), held_out, select)
        self.size = calibrate.targets.shape[-1]
        self.variance = self.sets.fit.variance()

    def head(self, student: nn.Module, seed: int) -> nn.Module:
        readout = self._readout(student)  # of the untrained student
        return linear_of(readout.weight, readout.bias)

    def loss(self, output: Tensor, head: nn.Module, batch: Batch) -> Tensor:
        assert batch.target is not None
        return normalised_mse(head(output), batch.target, batch.mask, self.variance)

    def error(self, student: nn.Module, head: nn.Module) -> float:
        found, there = self.token_errors(student, head, "select")
        return float(found[there].mean())

    @torch.no_grad()
    def token_errors(self, student: nn.Module, head: nn.Module, split: str) -> tuple[Array, Array]:
        readout = self._readout(student)
        output = self.evaluation.features(student, split) @ readout.weight.T + readout.bias
        error = (output - self.evaluation.targets[split]).square().mean(-1).double()
        return (error / self.evaluation.states(split).variance()).cpu().numpy(), self.evaluation.text(
            split
        ).cpu().numpy()

    def _readout(self, student: nn.Module) -> Readout:
        features = self.evaluation.features(student, "calibrate")
        mean = self.sets.fit.rows(self.sets.fit.targets).mean(0)
        prior = prior_of(features.new_zeros(self.size, features.shape[-1]), mean)
        return refit((features[: self.cut], features[self.cut :]), self.sets, prior, self.ridges)


class PredictionError:
    """Cross-entropy (nats) with the maximum point's predictions, at hidden words where inputs are masked, else
    everywhere; never below the entropy of these predictions."""

    def __init__(self, evaluation: Evaluation, decoder: tuple[Array, Array], mask_id: int) -> None:
        self.evaluation, self.mask_id = evaluation, mask_id
        device = evaluation.ids["select"].device
        self.weight, self.bias = (torch.from_numpy(np.array(found)).to(device) for found in decoder)

    def head(self, student: UniformStudent, seed: int) -> nn.Module:
        words = student.encoder.embeddings.word_embeddings.weight
        return build_prediction_head(student.encoder.config, words, seed)

    def loss(self, output: Tensor, head: nn.Module, batch: Batch) -> Tensor:
        places = self._places(batch.ids, batch.mask)
        if not places.any():  # a short batch without a hidden word teaches nothing
            return output.sum() * 0.0
        assert batch.target is not None
        return self._cross_entropy(head(output[places]), batch.target[places]).mean()

    def error(self, student: UniformStudent, head: nn.Module) -> float:
        found, there = self.token_errors(student, head, "select")
        return float(found[there].mean()) if there.any() else float("nan")

    @torch.no_grad()
    def token_errors(self, student: UniformStudent, head: nn.Module, split: str) -> tuple[Array, Array]:
        places = self._places(self.evaluation.ids[split], self.evaluation.masks[split])
        features, target = self.evaluation.features(student, split), self.evaluation.targets[split]
        found = torch.zeros(places.shape, dtype=torch.float64, device=places.device)
        for row in range(len(places)):  # logits are words wide
            at = places[row]
            if at.any():
                found[row, at] = self._cross_entropy(head(features[row, at]), target[row, at]).double()
        return found.cpu().numpy(), places.cpu().numpy()

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of predictions ``(n, vocab)`` with those that the features ``(n, size)`` stand for."""
        with torch.autocast(logits.device.type, enabled=False):
            wanted = F.softmax(target @ self.weight.T + self.bias, -1)
            found: Tensor = -(wanted * F.log_softmax(logits.float(), -1)).sum(-1)
        return found

    def _places(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """Where predictions count."""
        if self.mask_id >= 0:
            return ids == self.mask_id
        return torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
