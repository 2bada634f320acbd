"""Students with a masked-LM head: ``NasRayForMaskedLM`` or ``BertForMaskedLM`` around an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import BertForMaskedLM

from nas_ray.modeling import NasRayForMaskedLM, NasRayModel
from nas_ray.teacher import MaskedLm, head_transform

_MODELS: dict[str, Any] = {"nas_ray": NasRayForMaskedLM, "bert": BertForMaskedLM}


def has_head(architectures: Any) -> bool:
    """Whether these ``architectures`` of a configuration hold a masked-LM head."""
    return any(str(name).endswith("ForMaskedLM") for name in architectures or ())


def masked_lm_class(model_type: str) -> Any:
    """The class of students of ``model_type`` with their head."""
    return _MODELS[model_type]


@torch.no_grad()
def with_masked_lm_head(encoder: Any, seed: int, teacher: MaskedLm | None = None) -> Any:
    """``encoder`` in a model with a masked-LM head, in evaluation mode; the decoder is tied to the word vectors.

    The head is the teacher's where it fits the student's sizes, else drawn anew, a function of ``seed``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = _MODELS[encoder.config.model_type](encoder.config)
    setattr(whole, whole.base_model_prefix, encoder)
    whole.tie_weights()
    if teacher is not None:
        _copy(whole, teacher)
    return whole.eval()


def predictions(whole: Any, hidden: Tensor) -> Tensor:
    """Word scores ``(..., vocab)`` of hidden states ``(..., hidden_size)``."""
    head = whole.head if isinstance(whole.base_model, NasRayModel) else whole.cls
    return head(hidden)  # type: ignore[no-any-return]


def _copy(whole: Any, teacher: MaskedLm) -> None:
    theirs = head_transform(teacher.model)
    if isinstance(whole.base_model, NasRayModel):
        dense, norm, decoder = whole.head.dense, whole.head.norm, whole.head.decoder
    else:
        ours = head_transform(whole)
        dense, norm, decoder = ours.dense, ours.norm, whole.get_output_embeddings()
    if decoder.bias is not None and decoder.bias.shape == teacher.bias.shape:
        decoder.bias.copy_(teacher.bias)
    if dense.weight.shape == theirs.dense.weight.shape:
        dense.load_state_dict(theirs.dense.state_dict())
        norm.load_state_dict(theirs.norm.state_dict())
