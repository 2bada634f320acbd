"""A teacher with its masked-LM head, cut before the head's decoder: its predictions by features and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from nas_ray.errors import TeacherError
from nas_ray.teacher._source import TeacherSource, first_line, quiet


@dataclass(frozen=True)
class MaskedLm:
    """Logits are ``features(ids, mask) @ weight.T + bias``: ``(batch, tokens, size)`` and ``(vocab, size)``."""

    model: Any
    weight: Tensor
    bias: Tensor

    @torch.no_grad()
    def features(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the decoder would see."""
        attention = None if mask is None else mask.long()
        return self.model(input_ids=ids, attention_mask=attention).logits  # type: ignore[no-any-return]


def load_masked_lm(source: TeacherSource) -> MaskedLm:
    """The teacher at ``source`` in fp32 and evaluation mode.

    Raises:
        TeacherError: the weights cannot be loaded, or those of the head or the encoder are not in the files.
    """
    try:
        with quiet():
            model, report = AutoModelForMaskedLM.from_pretrained(
                source.location, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # safetensors, pickle and zip files each raise their own
        raise TeacherError(
            f"the masked-LM head of teacher '{source.location}' cannot be loaded: {first_line(error)}"
        ) from error
    if missing := sorted(report["missing_keys"]):  # transformers would fill them with random numbers
        raise TeacherError(
            f"teacher '{source.location}' lacks {len(missing)} tensors of an encoder with a masked-LM head, the first "
            f"'{missing[0]}'; accepted: a checkpoint of a masked-LM model, or extraction.error: hidden_state."
        )
    model.eval().requires_grad_(False)
    decoder = model.get_output_embeddings()
    bias = torch.zeros(decoder.weight.shape[0]) if decoder.bias is None else decoder.bias.detach().clone()
    weight = decoder.weight.detach().clone()
    decoder.forward = lambda features: features  # the model's logits are now its decoder's inputs
    return MaskedLm(model, weight, bias)
