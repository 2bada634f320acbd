"""What gives a teacher a masked-LM head: its training on masked text, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.distill._losses import similarities
from nas_ray.distill._retrain import Encoder
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText
from nas_ray.distill._trainer import autocasts
from nas_ray.teacher import MaskedLm

_ROWS = 8  # sequences that are evaluated at a time


@dataclass(frozen=True)
class MaskedText:
    """Sequences with hidden tokens: ``ids``, ``mask`` and ``labels``, all ``(sequences, tokens)``."""

    ids: Tensor
    mask: Tensor | None
    labels: Tensor

    @staticmethod
    def of(text: TrainingText, device: str) -> MaskedText:
        """All of ``text``, whose inputs are masked."""
        assert text.labels is not None, "inputs are masked"
        ids, mask = text.rows(list(range(len(text.ids))), device)
        labels = torch.from_numpy(text.labels[:, : ids.shape[1]].astype(np.int64)).to(device)
        return MaskedText(ids, mask, labels)

    @property
    def hidden(self) -> Tensor:
        """Where tokens are hidden."""
        return self.labels >= 0

    @property
    def words(self) -> Tensor:
        """The hidden tokens, one after the other."""
        return self.labels[self.hidden]

    @property
    def plain(self) -> Tensor:
        """The ids with the hidden tokens in their places."""
        return torch.where(self.hidden, self.labels, self.ids)


@dataclass(frozen=True)
class WordFrequencies:
    """Log-probability of each word by itself ``(vocab,)``: what can be predicted without reading."""

    logs: NDArray[np.float64]

    @staticmethod
    def of(texts: Iterable[TrainingText], special: Iterable[int], vocab_size: int) -> WordFrequencies:
        """Of the words of ``texts``, special tokens left out; one more of each, so that none is impossible."""
        counts = np.ones(vocab_size)
        for text in texts:
            plain = MaskedText.of(text, "cpu").plain.numpy()
            there = plain if text.mask is None else plain[text.mask[:, : plain.shape[1]]]
            counts += np.bincount(there.ravel(), minlength=vocab_size)
        counts[list(special)] = 1e-9
        return WordFrequencies(np.log(counts / counts.sum()))

    @torch.no_grad()
    def put_in(self, bias: Tensor) -> None:
        """Let the decoder of a new head begin with them."""
        bias.copy_(torch.from_numpy(self.logs))

    def predictions(self, text: TrainingText) -> Predictions:
        """The most frequent word everywhere."""
        assert text.labels is not None, "inputs are masked"
        words = text.labels[text.labels >= 0]
        return Predictions(-float(self.logs[words].mean()), float((words == self.logs.argmax()).mean()), len(words))


@dataclass(frozen=True)
class Predictions:
    """Of hidden words: mean cross-entropy (nats), share of those whose likeliest prediction is right, how many."""

    loss: float
    accuracy: float
    words: int


class Adaptation:
    """The training of ``masked_lm`` on ``text(step)``, from its newest checkpoint on; see ``spec.Adapt``.

    ``keep`` weighs how far its embeddings of masked text are from those that ``encoder``, the teacher as it was, has of
    the plain text. It is ``StudentTraining``: the same to the bit on the CPU, however often it is interrupted.
    """

    def __init__(
        self,
        masked_lm: MaskedLm,
        encoder: Encoder,
        keep: float,
        head_learning_rate: float,
        plan: DistillPlan,
        text: Callable[[int], TrainingText],
    ) -> None:
        self.masked_lm, self.encoder, self.keep, self.plan, self.text = masked_lm, encoder, keep, plan, text
        self._autocast = autocasts(plan.precision, plan.device)
        head = {name for name, _ in _head_parameters(masked_lm.model)}
        self.training = StudentTraining(
            masked_lm.model,
            plan,
            "teacher",
            self._prepare,
            width=lambda name: int(name in head),
            scale=lambda in_head: head_learning_rate / plan.learning_rate if in_head else 1.0,
        )

    def _prepare(self, step: int) -> Sequence[Callable[[], Tensor]]:
        batch = MaskedText.of(self.text(step), self.plan.device)
        target = None
        if self.keep:
            with torch.no_grad(), self._precision(self._autocast):
                target = self.encoder(batch.plain, batch.mask).float()
        return [lambda: self._loss(batch, target)]

    def _loss(self, batch: MaskedText, target: Tensor | None) -> Tensor:
        features, found = self.masked_lm.outputs(batch.ids, batch.mask)
        loss = F.cross_entropy(self._logits(features, batch), batch.words, reduction="sum")
        loss = loss / max(1, len(batch.words))  # of a short text none may be hidden
        if target is None:
            return loss
        return loss + self.keep * (1 - similarities(found.float(), target, batch.mask)).mean()

    def _logits(self, features: Tensor, batch: MaskedText) -> Tensor:
        """Of the hidden words alone ``(words, vocab)``: those of all positions would cost several times as much."""
        return F.linear(features[batch.hidden], self.masked_lm.weight, self.masked_lm.bias).float()

    @torch.no_grad()
    def predictions(self, text: TrainingText, *, exact: bool) -> Predictions:
        """What the teacher makes of the hidden words of ``text``; ``exact``: in fp32, whatever it is trained in."""
        loss, right, count = 0.0, 0, 0
        for batch in _batches(text, self.plan.device):
            with self._precision(self._autocast and not exact):
                logits = self._logits(self.masked_lm.outputs(batch.ids, batch.mask)[0], batch)
            loss += float(F.cross_entropy(logits, batch.words, reduction="sum"))
            right += int((logits.argmax(-1) == batch.words).sum())
            count += len(batch.words)
        return Predictions(loss / count, right / count, count)

    @torch.no_grad()
    def similarity(self, text: TrainingText) -> float:
        """Mean cosine between the teacher's embeddings of plain text as it is and as it was."""
        found = []
        for batch in _batches(text, self.plan.device):
            now = self.masked_lm.outputs(batch.plain, batch.mask)[1]
            found.append(similarities(now, self.encoder(batch.plain, batch.mask), batch.mask))
        return float(torch.cat(found).mean())

    def _precision(self, autocast: bool) -> torch.autocast:
        return torch.autocast(torch.device(self.plan.device).type, torch.bfloat16, enabled=autocast)


def _head_parameters(model: Any) -> list[tuple[str, nn.Parameter]]:
    """What of a masked-LM model is no part of its encoder; a decoder that is tied to the word vectors is."""
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    return [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) not in encoder]


def _batches(text: TrainingText, device: str) -> Iterator[MaskedText]:
    """A few sequences at a time."""
    return (MaskedText.of(text.part(at, at + _ROWS), device) for at in range(0, len(text.ids), _ROWS))
