"""Where the families keep the transformation of their masked-LM heads."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

from torch import nn

_PLACES = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    "distilbert": ("vocab_transform", "vocab_layer_norm"),
    "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm"),
    **dict.fromkeys(("camembert", "roberta", "xlm-roberta"), ("lm_head.dense", "lm_head.layer_norm")),
}


class HeadTransform(NamedTuple):
    """What stands between the last hidden state and the decoder: dense, GELU, norm."""

    dense: nn.Linear
    norm: nn.LayerNorm


def head_transform(model: Any) -> HeadTransform:
    """That of a masked-LM model of one of the families."""
    return HeadTransform(*(attrgetter(place)(model) for place in _PLACES[model.config.model_type]))
