"""How near a student's sentence embeddings are to its teacher's; each text by itself, padded, never packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nas_ray.measure._correlation import spearman
from nas_ray.modeling import mean_pooled

Array = NDArray[Any]
Encode = Callable[[Tensor, Tensor], Tensor]
"""Ids and mask ``(texts, tokens)`` to last hidden states ``(texts, tokens, hidden)``."""

_TOKENS = 4096  # that are encoded at a time, padding counted


@dataclass(frozen=True)
class Sentences:
    """Tokenised texts: the ``ids`` of all, one text after the other, and the ``lengths`` of each, none of them 0."""

    ids: Array
    lengths: Array

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, chosen: Sequence[int] | Array) -> Sentences:
        """The texts of these numbers, in this order."""
        ends = np.cumsum(self.lengths)
        parts = [self.ids[ends[k] - self.lengths[k] : ends[k]] for k in chosen]
        return Sentences(np.concatenate([self.ids[:0], *parts]), self.lengths[np.asarray(chosen, dtype=np.int64)])

    def rows(self) -> tuple[Array, NDArray[np.bool_]]:
        """Ids, 0 behind a text, and a mask that is True where there is text; both ``(texts, longest)``."""
        mask = np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]
        ids = np.zeros(mask.shape, dtype=self.ids.dtype)
        ids[mask] = self.ids
        return ids, mask

    def batches(self, device: str = "cpu", tokens: int = _TOKENS) -> Iterator[tuple[Array, Tensor, Tensor]]:
        """Numbers, ids and masks of texts of similar length, at most ``tokens`` a batch unless one is longer."""
        order = np.argsort(self.lengths, kind="stable")
        at = 0
        while at < len(order):
            count = max(1, tokens // int(self.lengths[order[at]]))
            while count > 1 and len(order[at : at + count]) * int(self.lengths[order[at : at + count][-1]]) > tokens:
                count -= 1
            chosen = order[at : at + count]
            ids, mask = self.take(chosen).rows()
            yield chosen, torch.from_numpy(ids.astype(np.int64)).to(device), torch.from_numpy(mask).to(device)
            at += count


@torch.inference_mode()
def embeddings(encode: Encode, sentences: Sentences, device: str = "cpu") -> NDArray[np.float32]:
    """Mean-pooled hidden states ``(texts, hidden)``."""
    found: dict[int, Array] = {}
    for chosen, ids, mask in sentences.batches(device):
        found |= zip(chosen.tolist(), mean_pooled(encode(ids, mask), mask).float().cpu().numpy(), strict=True)
    return np.stack([found[number] for number in range(len(sentences))])


@dataclass(frozen=True)
class Comparison:
    """A student against its teacher, text by text."""

    errors: Array
    """Mean over a text's tokens of the squared error, over the variance of the teacher's states: ``(texts,)``."""
    tokens: Array
    cosines: Array
    """Between the mean-pooled states of both: ``(texts,)``."""
    embeddings: NDArray[np.float32]
    """The student's, ``(texts, hidden)``."""

    @property
    def loss(self) -> float:
        """Normalised loss over all tokens: 1.0 = predicting the mean, 0 = the teacher."""
        return float((self.errors * self.tokens).sum() / self.tokens.sum())


class Reference:
    """A teacher's last hidden states on some texts, kept for all students that are compared with it."""

    @torch.inference_mode()
    def __init__(self, encode: Encode, sentences: Sentences, device: str = "cpu") -> None:
        self.sentences = sentences
        self._batches = [(*batch, encode(*batch[1:]).float()) for batch in sentences.batches(device)]
        rows = torch.cat([states[mask] for _, _, mask, states in self._batches]).double()
        self.variance = float((rows - rows.mean(0)).square().mean())
        """Of the states over all tokens: what predicting their mean leaves."""
        pooled = {
            number: vector
            for chosen, _, mask, states in self._batches
            for number, vector in zip(chosen.tolist(), mean_pooled(states, mask).cpu().numpy(), strict=True)
        }
        self.embeddings = np.stack([pooled[number] for number in range(len(sentences))])

    @torch.inference_mode()
    def compare(self, encode: Encode) -> Comparison:
        """The student ``encode``, whose hidden size is the teacher's, on the same texts."""
        count = len(self.sentences)
        errors, cosines = np.zeros(count), np.zeros(count)
        pooled = np.zeros((count, self.embeddings.shape[1]), dtype=np.float32)
        for chosen, ids, mask, wanted in self._batches:
            found = encode(ids, mask).float()
            error = (found - wanted).square().mean(-1) * mask
            errors[chosen] = (error.sum(1) / mask.sum(1)).double().cpu().numpy() / self.variance
            mine, theirs = mean_pooled(found, mask), mean_pooled(wanted, mask)
            cosines[chosen] = F.cosine_similarity(mine, theirs, dim=-1).cpu().numpy()
            pooled[chosen] = mine.cpu().numpy()
        return Comparison(errors, self.sentences.lengths, cosines, pooled)


def rank_agreement(mine: Array, theirs: Array) -> float:
    """Spearman's rank correlation between the pairwise cosines of two sets of embeddings ``(texts, hidden)`` of the
    same texts."""
    return spearman(_pairwise(mine), _pairwise(theirs))


def _pairwise(vectors: Array) -> Array:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines: Array = unit @ unit.T
    return cosines[np.triu_indices(len(unit), 1)]
