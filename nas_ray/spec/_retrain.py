"""Retraining of chosen students: what they start from, what they learn, from which text, for how long."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field, model_validator

from nas_ray.spec._distill import Range, equal_parts
from nas_ray.spec._frozen import Frozen
from nas_ray.spec._text import Inputs, Sources, Text

Preset = Literal["embedding", "nas_bert", "bort", "masked_lm"]
Weights = Literal["auto", "supernet", "teacher", "scratch"]


class Losses(Frozen):
    """What is learned, by weight; 0 leaves a loss out, what is not given is as the preset has it."""

    masked_lm: float | None = Field(None, ge=0)
    """Cross-entropy (nats) of the hidden tokens."""
    logits: float | None = Field(None, ge=0)
    """Kullback-Leibler divergence (nats) from the teacher's predictions at hidden tokens, times temperature squared."""
    hidden: float | None = Field(None, ge=0)
    """Mean squared error to the teacher's last hidden state, over its variance."""
    embedding: float | None = Field(None, ge=0)
    """1 - cosine of the mean-pooled last hidden states of student and teacher."""


PRESETS: dict[Preset, dict[str, float]] = {
    "embedding": {"hidden": 1.0, "embedding": 1.0},  # sentence encoders
    "nas_bert": {"masked_lm": 0.5, "logits": 0.5},  # NAS-BERT, appendix A.4
    "bort": {"logits": 1.0},  # Bort: cross-entropy with the teacher's last layer; its gradient is the divergence's
    "masked_lm": {"masked_lm": 1.0},  # pre-training without distillation
}
_FROM_SCRATCH = ("nas_bert", "masked_lm")  # as the papers train


class RetrainText(Frozen):
    """Text of a retraining; what is left out is as the search had it. Documents stay in the split that they were in."""

    sources: Sources | None = Field(None, min_length=1)
    """Where the text comes from: best what students are to be used on."""
    sequence_length: int | None = Field(None, ge=8)
    """Tokens of a row."""
    inputs: Inputs | None = None
    """`masked`, `plain` or `auto`, as `text.inputs` of a trial; losses of hidden tokens make it `masked`."""
    rows: Literal["packed", "documents"] = "packed"
    """`packed`: rows of equal length, without gaps. `documents`: each document by itself, as short texts are embedded;
    of a longer one, windows."""

    def over(self, text: Text, *, masked: bool) -> Text:
        """``text`` with what is given here; its inputs are ``masked`` unless told otherwise."""
        own = self.model_dump(exclude={"rows"}, exclude_none=True)
        return Text.model_validate({**text.model_dump(), **({"inputs": "masked"} if masked else {}), **own})


class RetrainSearch(Frozen):
    """Hyperparameters that Optuna's TPE suggests and successive halving stops; every set is a Tune trial, and the best
    by the losses of the settings, on *select*, is the student."""

    trials: int = Field(16, ge=2)
    """Sets for each student; the first is that of the settings, moved into the ranges."""
    learning_rate: Range | None = Range(low=1e-4, high=3e-3)
    """Peak rates; null leaves that of the settings."""
    sequences: tuple[int, ...] | None = (8, 16, 32)
    """Sequences of a step: fewer of them see less text; null as above."""
    warmup: Range | None = Range(low=0.01, high=0.3)
    """Shares of the steps in which the rate rises; null as above."""
    balance: Range | None = Range(low=0.2, high=5.0)
    """Factors of the second weight of the preset (`embedding`, `logits`) beside the first, in training only."""
    eta: float = Field(3.0, gt=1)
    """A student is judged after 1/eta^2 and 1/eta of the steps, and the best 1/eta go on."""

    @property
    def searched(self) -> dict[str, Range | tuple[int, ...]]:
        """What is searched, by name."""
        named = {name: getattr(self, name) for name in ("learning_rate", "sequences", "warmup", "balance")}
        return {name: values for name, values in named.items() if values is not None}

    @model_validator(mode="after")
    def _check(self) -> RetrainSearch:
        if not self.searched:
            raise ValueError("nothing is searched; accepted: at least one of learning_rate, sequences, warmup, balance")
        if self.warmup is not None and self.warmup.high >= 1:
            raise ValueError(f"warmup rises to {self.warmup.high:g}; accepted: shares below 1")
        if self.sequences is not None and (not self.sequences or min(self.sequences) < 1):
            raise ValueError("sequences are not numbers from 1; accepted: a list of them")
        return self


class Retrain(Frozen):
    """Distillation of a whole student, its embedding included, towards the teacher."""

    preset: Preset = "embedding"
    """Weights of the losses. `embedding`: hidden states and pooled embeddings of a sentence encoder, 1 each.
    `nas_bert`: masked LM and the teacher's predictions, 0.5 each, from scratch. `bort`: the teacher's predictions.
    `masked_lm`: masked LM alone, from scratch: pre-training without distillation."""
    losses: Losses = Losses()
    """Other weights than the preset's."""
    temperature: float = Field(1.0, gt=0)
    """Softens both sides' predictions in `losses.logits`."""
    weights: Weights = "auto"
    """What students start from: `supernet`, stitched and refitted (kind paths); `teacher`, as many of its heads,
    neurons and principal dimensions as the student has, refitted; `scratch`, the papers' initialisation (where hidden
    states are learned, a last layer norm begins with the teacher's gain and bias). `auto`: scratch where the preset
    says so, else the first that the kind of space has."""
    freeze_embeddings: bool = False
    """Word vectors stay as they are inherited: steps are somewhat shorter, and little text is less learned by heart."""
    teacher: str | None = None
    """Another teacher than the search's, with the same tokenizer: such as `nas-ray adapt-teacher` makes."""
    text: RetrainText = RetrainText()
    steps: int = Field(1000, ge=1)
    """Training steps; the learning rate falls to 0 at the last."""
    judged: int = Field(10, ge=1)
    """How often, at equal distances, a student is judged on *select* and a checkpoint is kept."""
    sequences: int = Field(16, ge=1)
    """Sequences of a training step."""
    accumulation: int = Field(1, ge=1)
    """Equal parts of these that are computed one after the other, in less memory; their gradients are added up."""
    workers: int = Field(1, ge=1)
    """Processes that train a student together, each on an equal part of a step's sequences; on GPUs one each."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak of the linear schedule."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay."""
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the processor multiplies bf16, else fp32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the teacher computes and students are trained."""
    cache_bytes: int = Field(2_000_000_000, ge=0)
    """The teacher's outputs that are kept for all students; the rest is computed again."""

    search: RetrainSearch | None = None
    """Hyperparameters to search for every student; null trains each once, as the settings say."""

    @model_validator(mode="after")
    def _check(self) -> Retrain:
        if not any(self.loss_weights.values()):
            raise ValueError("the weights of all losses are 0; accepted: at least one above 0")
        if self.freeze_embeddings and (
            self.weights == "scratch" or (self.weights == "auto" and self.starts_from_scratch)
        ):
            raise ValueError(
                "freeze_embeddings with weights from scratch would keep random word vectors; accepted: weights "
                "supernet or teacher, or freeze_embeddings false"
            )
        if self.is_masked and self.text.inputs == "plain":
            raise ValueError("text.inputs is plain, and losses.masked_lm and losses.logits need masked ones")
        parts = self.accumulation * self.workers
        wanted = sorted({self.sequences, *self.counts})
        if any(count % parts for count in wanted):
            raise ValueError(f"accumulation x workers is {parts}, sequences are {wanted}; accepted: a divisor of them")
        return self

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of every loss."""
        own = self.losses.model_dump(exclude_none=True)
        return {name: float({**PRESETS[self.preset], **own}.get(name, 0.0)) for name in Losses.model_fields}

    @property
    def is_masked(self) -> bool:
        """Whether predictions of hidden tokens are learned."""
        return bool(self.loss_weights["masked_lm"] or self.loss_weights["logits"])

    @property
    def starts_from_scratch(self) -> bool:
        """Whether `weights: auto` means scratch."""
        return self.preset in _FROM_SCRATCH

    @property
    def counts(self) -> tuple[int, ...]:
        """Sequences of a step, whichever set of hyperparameters is tried."""
        return self.search.sequences or () if self.search else ()

    @property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which students are judged."""
        if self.search is not None:
            parts = (self.steps / self.search.eta**2, self.steps / self.search.eta, self.steps)
            return tuple(sorted({max(1, round(part)) for part in parts}))
        return equal_parts(self.steps, self.judged)

    @property
    def overrides(self) -> list[str]:
        """What differs from the defaults, as ``--set`` takes it."""
        found = self.model_dump(mode="json", exclude_defaults=True)
        for section in ("losses", "text", "search"):
            if (keys := found.pop(section, None)) is not None:
                found |= {f"{section}.{name}": value for name, value in keys.items()} or {section: {}}
        written = {k: json.dumps(v) if isinstance(v, list | dict) or v is None else v for k, v in found.items()}
        return [f"{name}={value}" for name, value in written.items()]

    @property
    def training(self) -> Retrain:
        """It without what changes no result."""
        return self.model_copy(update={"device": "cpu", "cache_bytes": 0, "workers": 1})
