"""Text: where it comes from, how it is cut and divided, and what of it a search distils on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from nas_ray.spec._frozen import Frozen

Inputs = Literal["auto", "masked", "plain"]


class TextSource(Frozen):
    """One source of text and its share of the tokens."""

    source: str
    """An asset of the catalogue, a text file, a folder of text files, or `dataset:NAME` for a `datasets` data set."""
    share: float = Field(1.0, gt=0)
    """Share of the tokens, relative to the other sources."""
    field: str = "text"
    """Text column of a `datasets` data set."""


def _listed(found: Any) -> Any:
    """A name alone, or among others, stands for a source of which nothing else is said."""
    entries = [found] if isinstance(found, str) else found
    if not isinstance(entries, list | tuple):
        return found
    return [{"source": entry} if isinstance(entry, str) else entry for entry in entries]


Sources = Annotated[tuple[TextSource, ...], BeforeValidator(_listed)]


class Splits(Frozen):
    """Shares of the documents; a document lies in one split only."""

    train: float = Field(0.80, gt=0)
    """Trains the supernets."""
    calibrate: float = Field(0.08, gt=0)
    """Fits readouts and bases."""
    select: float = Field(0.06, gt=0)
    """Fills tables, decides rungs, chooses."""
    test: float = Field(0.06, gt=0)
    """Reported losses; never used to choose."""

    @model_validator(mode="after")
    def _sum(self) -> Splits:
        total = self.train + self.calibrate + self.select + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the four shares add up to {total:g}; accepted: 1")
        return self


class Corpus(Frozen):
    """Text as sequences of tokens, divided by document."""

    sources: Sources = Field(default=(TextSource(source="gutenberg"),), min_length=1)
    """Where the text comes from."""
    sequence_length: int = Field(128, ge=8)
    """Tokens of a packed sequence."""
    mask_probability: float = Field(0.15, gt=0, lt=1)
    """Share of tokens that masked inputs hide (80 % mask token, 10 % random, 10 % kept)."""
    splits: Splits = Splits()
    """How documents are divided."""


class Text(Corpus):
    """The text that the search distils on."""

    inputs: Inputs = "auto"
    """`masked` as for masked-LM training, `plain` as the text stands; `auto`: masked if the teacher has an MLM head."""
    batch_sequences: int = Field(8, ge=1)
    """Sequences of a batch."""
    calibrate_batches: int = Field(10, ge=1)
    """Batches that readouts are fitted on; one in eight chooses the ridge."""
    select_batches: int = Field(4, ge=1)
    """Batches that tables and rungs are measured on."""
    test_batches: int = Field(16, ge=1)
    """Batches that reported losses are measured on."""

    @model_validator(mode="after")
    def _calibrate(self) -> Text:
        if self.calibrate_batches < 2:
            raise ValueError("calibrate_batches is 1; accepted: at least 2, one of them chooses the ridge")
        return self
