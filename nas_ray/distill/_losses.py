"""What retrained students learn: weighted losses of hidden states, pooled embeddings and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_ray.distill._trainer import normalised_mse
from nas_ray.modeling import mean_pooled

NOT_HIDDEN = -100  # of labels


class Losses(NamedTuple):
    """Weights of the losses; see ``spec.Losses``."""

    masked_lm: float = 0.0
    logits: float = 0.0
    hidden: float = 0.0
    embedding: float = 0.0

    def balanced(self, factor: float) -> Losses:
        """The second of the preset's weights, of the teacher's part, times ``factor``."""
        return self._replace(logits=self.logits * factor, embedding=self.embedding * factor)

    @property
    def of_states(self) -> bool:
        """Whether hidden states are compared with the teacher's."""
        return bool(self.hidden or self.embedding)

    @property
    def of_words(self) -> bool:
        """Whether hidden tokens are predicted."""
        return bool(self.masked_lm or self.logits)

    @property
    def of_teacher(self) -> bool:
        """Whether the teacher is needed."""
        return self.of_states or bool(self.logits)


@dataclass(frozen=True)
class Words:
    """Of each hidden token ``(n,)``: cross-entropy, divergence from the teacher if it predicts, and whether it was
    found."""

    errors: Tensor
    divergence: Tensor | None
    found: Tensor

    def weighted(self, losses: Losses) -> Tensor:
        """The weighted losses."""
        total: Tensor = losses.masked_lm * self.errors.mean()
        if losses.logits:
            assert self.divergence is not None, "the teacher has a masked-LM head"
            total = total + losses.logits * self.divergence.mean()
        return total


class Decoder(NamedTuple):
    """What makes the teacher's predictions of its features: weight ``(vocab, size)`` and bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return features.float() @ self.weight.T + self.bias


def divergence(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence (nats) of predictions ``logits`` from ``wanted``, both ``(n, vocab)``, times the
    temperature squared, so that gradients do not depend on its size (Hinton and others 2015): ``(n,)``."""
    with torch.autocast(logits.device.type, enabled=False):
        theirs = F.log_softmax(wanted.float() / temperature, -1)
        ours = F.log_softmax(logits.float() / temperature, -1)
        return (theirs.exp() * (theirs - ours)).sum(-1) * temperature**2


def word_errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (nats) of ``logits`` ``(n, vocab)`` with the tokens ``labels`` ``(n,)``: ``(n,)``."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def similarities(found: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Cosine between mean-pooled hidden states ``(batch, tokens, hidden)``: ``(batch,)``."""
    return F.cosine_similarity(mean_pooled(found, mask), mean_pooled(target, mask), dim=-1)


def of_states(losses: Losses, found: Tensor, target: Tensor, mask: Tensor | None, variance: float) -> Tensor:
    """The weighted losses of hidden states ``(batch, tokens, hidden)``."""
    total = losses.hidden * normalised_mse(found, target, mask, variance)
    if losses.embedding:
        total = total + losses.embedding * (1 - similarities(found.float(), target, mask)).mean()
    return total
