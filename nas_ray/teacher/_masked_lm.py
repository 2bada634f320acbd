"""A teacher with its masked-LM head, cut before the head's decoder: its predictions by features and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from nas_ray.teacher._model import load_weights
from nas_ray.teacher._source import TeacherSource

_PART = "encoder with a masked-LM head"


@dataclass(frozen=True)
class MaskedLm:
    """Logits are ``features(ids, mask) @ weight.T + bias``: ``(batch, tokens, size)`` and ``(vocab, size)``."""

    model: Any
    weight: Tensor
    bias: Tensor

    def features(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the decoder would see."""
        return self.outputs(ids, mask)[0]

    def outputs(self, ids: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the decoder would see, and the last hidden state ``(batch, tokens, hidden)``."""
        attention = None if mask is None else mask.long()
        found = self.model(input_ids=ids, attention_mask=attention, output_hidden_states=True)
        return found.logits, found.hidden_states[-1]


def load_masked_lm(source: TeacherSource) -> MaskedLm:
    """The teacher at ``source`` in fp32 and evaluation mode.

    Raises:
        TeacherError: the weights cannot be loaded, or those of the head or the encoder are not in the files.
    """
    accepted = (
        "a checkpoint of a masked-LM model, as `nas-ray adapt-teacher` makes one, or extraction.error: hidden_state"
    )
    model = load_weights(AutoModelForMaskedLM, source, _PART, accepted)
    found = _cut(model)
    return MaskedLm(model, found.weight.detach().clone(), found.bias.detach().clone())


def load_trainable_masked_lm(source: TeacherSource, seed: int | None) -> MaskedLm:
    """The same with all weights trainable, ``weight`` and ``bias`` being the model's own.

    With a ``seed`` its head is new: a function of the seed, its decoder tied to the word vectors.

    Raises:
        TeacherError: as ``load_masked_lm``; of a head that is new nothing has to be in the files.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        options: dict[str, Any] = {} if seed is None else {"new_head": True, "tie_word_embeddings": True}
        model = load_weights(AutoModelForMaskedLM, source, _PART, "a folder that save_pretrained wrote", **options)
    return _cut(model.requires_grad_(True))


def _cut(model: Any) -> MaskedLm:
    """From now on the logits of ``model`` are what its decoder would see."""
    decoder = model.get_output_embeddings()
    decoder.forward = lambda features: features
    bias = torch.zeros(len(decoder.weight)) if decoder.bias is None else decoder.bias
    return MaskedLm(model, decoder.weight, bias)
