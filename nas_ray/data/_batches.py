"""Token batches: batch i of a split is a function of (seed, i)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray import assets
from nas_ray.data._documents import fingerprint, resolve_text
from nas_ray.data._pack import FORMAT, SPLITS, Packed, Rows, packed_splits
from nas_ray.errors import TextError

NOT_HIDDEN = -100  # the label that losses leave out, as in transformers


@dataclass(frozen=True)
class Batch:
    """``ids`` ``(sequences, tokens)``; ``mask`` is True where there is text, None if everywhere; ``documents`` numbers
    the document of each token; ``labels`` has the token that masking hid, ``NOT_HIDDEN`` elsewhere; None if plain."""

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_] | None
    documents: NDArray[np.int32]
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Special:
    """Token ids that masking needs."""

    mask: int
    pad: int
    special: frozenset[int]
    vocab_size: int


@dataclass(frozen=True)
class TokenBatches:
    """Packed rows of all sources, mixed by ``shares``."""

    sources: tuple[Mapping[str, Packed], ...]
    shares: tuple[float, ...]
    batch_sequences: int
    special: Special
    seed: int
    mask_probability: float = 0.0

    def num_batches(self, split: str) -> int:
        """Distinct batches of ``split``; later indices repeat the text in another order."""
        return len(self._order(split, 0)) // self.batch_sequences

    def batch(self, split: str, index: int) -> Batch:
        """Batch ``index`` of ``split``."""
        epoch, at = divmod(index, self.num_batches(split))
        chosen = self._order(split, epoch)[at * self.batch_sequences : (at + 1) * self.batch_sequences]
        rows = [self.sources[source][split].ids[row] for source, row in chosen]
        owners = [np.where((d := self.sources[s][split].documents[row]) < 0, -1, d * len(self.sources) + s)
                  for s, row in chosen]  # fmt: skip
        ids = np.stack(rows).astype(np.int64)
        text = ids >= 0
        ids[~text] = self.special.pad
        labels = None
        if self.mask_probability:
            rng = np.random.default_rng([self.seed, SPLITS.index(split), index])
            ids, labels = self._masked(ids, text, rng)
        return Batch(ids, None if text.all() else text, np.stack(owners).astype(np.int32), labels)

    def _order(self, split: str, epoch: int) -> NDArray[np.int64]:
        """Rows of one epoch as pairs (source, row), sources mixed by their shares, in random order."""
        sizes = tuple(len(source[split].ids) for source in self.sources)
        return _order(sizes, self.shares, self.seed, SPLITS.index(split), epoch, self.batch_sequences)

    @cached_property
    def _words(self) -> NDArray[np.int64]:
        """All tokens that are not special."""
        return np.setdiff1d(np.arange(self.special.vocab_size), list(self.special.special))

    def _masked(
        self, ids: NDArray[np.int64], text: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Hide tokens as for masked-LM training: 80 % mask token, 10 % random token, 10 % kept; and what was hidden.

        Special tokens are neither hidden nor put in: a padding token inside a text would shift RoBERTa's positions.
        """
        plain = text & ~np.isin(ids, list(self.special.special))
        hidden = plain & (rng.random(ids.shape) < self.mask_probability)
        kind = rng.random(ids.shape)
        random = rng.choice(self._words, size=ids.shape)
        masked = np.where(hidden & (kind < 0.8), self.special.mask, ids)
        masked = np.where(hidden & (kind >= 0.8) & (kind < 0.9), random, masked)
        return masked, np.where(hidden, ids, NOT_HIDDEN)


@lru_cache(maxsize=8)  # two epochs of each split: 16 bytes a row
def _order(
    sizes: tuple[int, ...], shares: tuple[float, ...], seed: int, split: int, epoch: int, batch: int
) -> NDArray[np.int64]:
    rng = np.random.default_rng([seed, split, epoch, 7])
    total = sum(shares)
    rows = min(size / (share / total) for size, share in zip(sizes, shares, strict=True))
    parts = []
    for source, (size, share) in enumerate(zip(sizes, shares, strict=True)):
        take = min(size, max(1, round(rows * share / total)))
        chosen = rng.permutation(size)[:take]
        parts.append(np.stack([np.full(take, source), chosen], axis=1))
    order = rng.permutation(np.concatenate(parts))
    if len(order) < batch:  # a tiny text: repeat rows rather than give up
        order = np.resize(order, (batch, 2))
    return order


def load_batches(
    sources: Sequence[tuple[str, float, str]],
    tokenizer: Any,
    *,
    tokenizer_key: str,
    vocab_size: int,
    length: int,
    shares: Mapping[str, float],
    batch_sequences: int,
    mask_probability: float,
    seed: int,
    rows: Rows = "packed",
    progress: Callable[[str], None] | None = None,
    cache: Path | None = None,
) -> TokenBatches:
    """Read, split and pack ``sources`` (name, share, field).

    With ``rows`` documents each row holds one document, or a window of one that is longer, and shares are of rows.

    Raises:
        TextError: a source is missing, empty or not text, or too short for four splits.
    """
    shape = [str(length), str(sorted(shares.items())), str(seed), *([] if rows == "packed" else [rows])]
    packed = []
    for name, _share, field in sources:
        read = resolve_text(name, progress)
        if next(read(field), None) is None:
            raise TextError(f"{name}: holds no text.")
        ends = f"{tokenizer.cls_token_id} {tokenizer.sep_token_id}"
        key = fingerprint([FORMAT, fingerprint(read(field)), tokenizer_key, ends, *shape])
        place = cache or assets.cache_dir()
        try:
            split = packed_splits(
                read(field), tokenizer, length=length, shares=shares, seed=seed, rows=rows, cache=place, key=key
            )
        except TextError as error:
            raise TextError(f"{name}: {error}") from error
        packed.append(split)
    special = _special(tokenizer, vocab_size)
    if mask_probability and special.mask < 0:
        raise TextError("text.inputs is 'masked', but the tokenizer has no mask token; accepted: inputs: plain.")
    return TokenBatches(
        tuple(packed), tuple(s for _, s, _ in sources), batch_sequences, special, seed, mask_probability
    )


def _special(tokenizer: Any, vocab_size: int) -> Special:
    return Special(
        mask=tokenizer.mask_token_id if tokenizer.mask_token_id is not None else -1,
        pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        special=frozenset(tokenizer.all_special_ids),
        vocab_size=vocab_size,
    )
