"""A teacher with its masked-LM head, cut before the head's decoder: its predictions by features and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from nas_ray.teacher._model import load_weights
from nas_ray.teacher._source import TeacherSource


@dataclass(frozen=True)
class MaskedLm:
    """Logits are ``features(ids, mask) @ weight.T + bias``: ``(batch, tokens, size)`` and ``(vocab, size)``."""

    model: Any
    weight: Tensor
    bias: Tensor

    def features(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the decoder would see."""
        return self.outputs(ids, mask)[0]

    @torch.no_grad()
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
    accepted = "a checkpoint of a masked-LM model, or extraction.error: hidden_state"
    model = load_weights(AutoModelForMaskedLM, source, "encoder with a masked-LM head", accepted)
    decoder = model.get_output_embeddings()
    bias = torch.zeros(decoder.weight.shape[0]) if decoder.bias is None else decoder.bias.detach().clone()
    weight = decoder.weight.detach().clone()
    decoder.forward = lambda features: features  # the model's logits are now its decoder's inputs
    return MaskedLm(model, weight, bias)
