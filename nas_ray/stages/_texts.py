"""Text as stages read it: token batches of the four splits, and arrays of some of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.spec import Text

if TYPE_CHECKING:  # torch and transformers wait until a stage needs them
    from nas_ray.data import Rows, TokenBatches
    from nas_ray.distill import TrainingText
    from nas_ray.teacher import TeacherSource


_MASKED_TOKENS = 100_000_000  # that are held with their labels, 9 bytes each


@dataclass
class Texts:
    """The text of ``spec``, as the teacher at ``source`` reads it."""

    spec: Text
    source: TeacherSource
    seed: int
    say: Callable[[str], None]
    rows: Rows = "packed"

    @cached_property
    def batches(self) -> TokenBatches:
        """Token batches of the four splits."""
        from nas_ray.data import load_batches
        from nas_ray.teacher import load_tokenizer

        text, source = self.spec, self.source
        tokenizer = load_tokenizer(source)
        return load_batches(
            [(s.source, s.share, s.field) for s in text.sources],
            tokenizer,
            tokenizer_key=hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
            vocab_size=source.config.vocab_size,
            length=text.sequence_length,
            shares=text.splits.model_dump(),
            batch_sequences=text.batch_sequences,
            mask_probability=text.mask_probability if self.is_masked else 0.0,
            seed=self.seed,
            rows=self.rows,
            progress=self.say,
        )

    @property
    def is_masked(self) -> bool:
        """Whether tokens are hidden."""
        from nas_ray.teacher import has_masked_lm_head

        inputs = self.spec.inputs
        return inputs == "masked" or (inputs == "auto" and has_masked_lm_head(self.source.config))

    @property
    def mask_id(self) -> int:
        """The token that hides others; below 0 where none is hidden."""
        return self.batches.special.mask if self.batches.mask_probability > 0 else -1

    @property
    def wanted(self) -> dict[str, int]:
        """Batches of each evaluation split that the spec asks for."""
        text = self.spec
        return {"calibrate": text.calibrate_batches, "select": text.select_batches, "test": text.test_batches}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Batches of each evaluation split, no more than the text has; of documents, which are short, as many as hold
        the tokens that packed rows would."""
        found = {}
        for split, count in self.wanted.items():
            there = self.batches.num_batches(split)
            found[split] = min(there, count if self.rows == "packed" else self._with_tokens(split, count))
        return found

    def _with_tokens(self, split: str, packed: int) -> int:
        tokens, count = packed * self.spec.batch_sequences * self.spec.sequence_length, 0
        while tokens > 0 and count < self.batches.num_batches(split):
            tokens -= int((self.batches.batch(split, count).documents >= 0).sum())
            count += 1
        return count

    def part(self, split: str, count: int) -> TrainingText:
        """The first ``count`` batches of ``split``, one after the other."""
        from nas_ray.distill import TrainingText

        found = [self.batches.batch(split, index) for index in range(count)]
        ids = np.concatenate([batch.ids for batch in found]).astype(np.int32)
        labels = [batch.labels.astype(np.int32) for batch in found if batch.labels is not None]
        masks = [np.ones(batch.ids.shape, bool) if batch.mask is None else batch.mask for batch in found]
        return TrainingText(
            ids,
            None if all(batch.mask is None for batch in found) else np.concatenate(masks),
            np.concatenate(labels) if labels else None,
        )

    def training(self, sequences: int) -> TrainingText:
        """At least ``sequences`` of the training split, or all that it has; masked ones with other tokens hidden in
        every epoch, as far as memory goes."""
        size, there = self.spec.batch_sequences, self.batches.num_batches("train")
        if self.is_masked:
            there *= max(1, _MASKED_TOKENS // (there * size * self.spec.sequence_length))
        return self.part("train", min(-(-sequences // size), there))

    def test_documents(self) -> NDArray[Any]:
        """The document of every token of the test split that is reported."""
        count = self.counts["test"]
        return np.concatenate([self.batches.batch("test", index).documents for index in range(count)])
