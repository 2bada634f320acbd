"""A masked-LM head for a teacher: on which text it is trained, with how much of the teacher, for how long."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas_ray.spec._distill import equal_parts
from nas_ray.spec._frozen import Frozen
from nas_ray.spec._overrides import overrides_of
from nas_ray.spec._text import Corpus, TextSource

_BOTH = Corpus(sources=(TextSource(source="gutenberg", share=0.5), TextSource(source="snippets", share=0.5)))


class Adapt(Frozen):
    """Masked-LM training of a teacher that has no head for it; what it says of plain text is kept."""

    text: Corpus = _BOTH
    """Best what a search is to use. With the same seed and splits as a trial its test text trains nothing here."""
    head: Literal["new", "own"] = "new"
    """`new`: the teacher has none. `own`: the one that the teacher has is trained on."""
    train: Literal["all", "head"] = "all"
    """`all` weights, or the head alone, which leaves the encoder as it is and learns little."""
    keep: float = Field(5.0, ge=0)
    """Weight of 1 - cosine between the mean-pooled last hidden states that the teacher has of masked text and those
    that it had of the plain text: without it a sentence encoder forgets its embeddings. 0 leaves it out."""
    steps: int = Field(1200, ge=1)
    """Training steps; the learning rates fall to 0 at the last."""
    judged: int = Field(20, ge=1)
    """How often, at equal distances, the teacher is judged on *select* and a checkpoint is kept."""
    sequences: int = Field(16, ge=1)
    """Sequences of a training step."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak of the linear schedule of the encoder."""
    head_learning_rate: float = Field(2e-3, gt=0)
    """The same of the head, which begins with nothing but the frequencies of words."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay."""
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of the steps in which the rates rise."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm, of the encoder and of the head."""
    select_sequences: int = Field(256, ge=1)
    """Sequences of *select* that it is judged on while it is trained."""
    test_sequences: int = Field(512, ge=1)
    """Sequences of *test* that its figures are measured on; they choose nothing."""
    seed: int = Field(0, ge=0)
    """Of the splits, the masks and the new head."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the processor multiplies bf16, else fp32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it is trained."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which the teacher is judged."""
        return equal_parts(self.steps, self.judged)

    @property
    def overrides(self) -> list[str]:
        """What differs from the defaults, as ``--set`` takes it."""
        return overrides_of(self, Adapt())

    @property
    def training(self) -> Adapt:
        """It without what changes no result."""
        return self.model_copy(update={"device": "cpu"})
