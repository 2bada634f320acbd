"""The training and the measuring of a teacher that is given a masked-LM head."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from nas_ray._files import write_text
from nas_ray.distill import Adaptation, Encoder, Predictions, TrainingText, WordFrequencies
from nas_ray.errors import TextError
from nas_ray.spec import Adapt, Text
from nas_ray.stages._console import Console
from nas_ray.stages._plans import distill_plan
from nas_ray.stages._texts import Texts
from nas_ray.teacher import TeacherSource, load_model, load_trainable_masked_lm

_COUNTED_SEQUENCES = 16_384  # of the training split, at most, that the frequencies of words are counted on
_CURVE = "curve.json"


@dataclass(frozen=True)
class HeadTraining:
    """The teacher at ``source`` by the settings ``spec``; ``folder`` keeps checkpoints of what ``key`` names."""

    source: TeacherSource
    spec: Adapt
    key: str
    folder: Path
    console: Console

    def train(self) -> Adaptation:
        """The teacher at the end of its training, from the newest checkpoint on.

        Raises:
            TextError: there is too little text. StageError: a loss or a weight is no number.
        """
        self._check_text()
        select, adaptation = self._part("select"), self._adaptation()
        if adaptation.training.step:
            self.console.say(f"  goes on from step {adaptation.training.step:,}")
        for step in self.spec.rungs:
            adaptation.training.advance(step)
            if step == adaptation.training.step and step not in self.curve:
                self.curve[step] = adaptation.predictions(select, exact=False)
                write_text(self.folder / _CURVE, json.dumps({at: asdict(found) for at, found in self.curve.items()}))
        self._tell(self.spec.steps)
        return adaptation

    @cached_property
    def curve(self) -> dict[int, Predictions]:
        """By step, what it made of *select*."""
        try:
            known = json.loads((self.folder / _CURVE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {int(step): Predictions(**found) for step, found in known.items()}

    def measure(self, adaptation: Adaptation) -> dict[str, float]:
        """Figures of the split *test*, and of the frequencies of words there."""
        text = self._part("test")
        found, baseline = adaptation.predictions(text, exact=True), self._frequencies.predictions(text)
        return {
            "test_masked_accuracy": found.accuracy,
            "test_masked_loss": found.loss,
            "test_unigram_accuracy": baseline.accuracy,
            "test_unigram_loss": baseline.loss,
            "test_hidden_words": found.words,
            "test_similarity": adaptation.similarity(text),
        }

    @cached_property
    def _texts(self) -> Texts:
        """Masked text, a batch for each training step."""
        spec, size = self.spec, self.spec.sequences
        text = Text(
            **spec.text.model_dump(),
            inputs="masked",
            batch_sequences=size,
            select_batches=-(-spec.select_sequences // size),
            test_batches=-(-spec.test_sequences // size),
        )
        return Texts(text, self.source, spec.seed, self.console.say)

    @cached_property
    def _frequencies(self) -> WordFrequencies:
        batches = self._texts.batches
        count = min(batches.num_batches("train"), -(-_COUNTED_SEQUENCES // self.spec.sequences))
        texts = (self._texts.part("train", 1, at) for at in range(count))
        return WordFrequencies.of(texts, batches.special.special, batches.special.vocab_size)

    def _check_text(self) -> None:
        spec, batches = self.spec, self._texts.batches
        rows = sum(len(source["train"].ids) for source in batches.sources)
        if rows < spec.sequences:
            raise TextError(
                f"the text has {rows} sequences of {spec.text.sequence_length} tokens to train on, a step reads "
                f"{spec.sequences}; accepted: more text, smaller sequences or a smaller text.sequence_length."
            )
        for split in ("select", "test"):
            if (labels := self._part(split).labels) is None or not (labels >= 0).any():
                raise TextError(f"the split {split} is too short to hide a word of it; accepted: more text.")
        epoch = batches.num_batches("train")
        tokens = epoch * spec.sequences * spec.text.sequence_length
        self.console.say(f"  {tokens:,} tokens to train on, read {spec.steps / epoch:.1f} times")

    def _part(self, split: str) -> TrainingText:
        return self._texts.part(split, self._texts.counts[split])

    def _adaptation(self) -> Adaptation:
        """The training, at its newest checkpoint."""
        spec = self.spec
        masked_lm = load_trainable_masked_lm(self.source, spec.seed if spec.head == "new" else None)
        masked_lm.model.to(spec.device)
        if spec.head == "new":
            self._frequencies.put_in(masked_lm.bias)
        if spec.train == "head":
            masked_lm.model.base_model.requires_grad_(False)
        plan = distill_plan(spec, seed=spec.seed, origin=self.key, folder=self.folder)
        keep = spec.keep if spec.train == "all" else 0.0
        encoder = Encoder(load_model(self.source)).to(spec.device)
        return Adaptation(masked_lm, encoder, keep, spec.head_learning_rate, plan, self._step)

    def _step(self, step: int) -> TrainingText:
        """The text of a training step."""
        self._tell(step)
        return self._texts.part("train", 1, step)

    def _tell(self, step: int) -> None:
        done = [at for at in self.curve if at <= step]
        note = ""
        if done:
            found = self.curve[max(done)]
            note = f"select: loss {found.loss:.3f}, {found.accuracy:.1%} of hidden words"
        self.console.progress(step, self.spec.steps, "training steps", note)
