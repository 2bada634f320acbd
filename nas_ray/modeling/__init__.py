"""Path students as transformers models, known to its Auto classes once this is imported.

The files beside this one are carried verbatim by exports, so they import torch, transformers and each other only.
"""

import transformers

from nas_ray.modeling.configuration_nas_ray import NasRayConfig
from nas_ray.modeling.modeling_nas_ray import (
    NasRayForMaskedLM,
    NasRayForMultipleChoice,
    NasRayForQuestionAnswering,
    NasRayForSentenceEmbedding,
    NasRayForSequenceClassification,
    NasRayForTokenClassification,
    NasRayModel,
    NasRayPreTrainedModel,
    mean_pooled,
)
from nas_ray.modeling.operations_nas_ray import (
    Attention,
    FeedForward,
    Numerics,
    ReducedEmbedding,
    Seam,
    SeparableConv,
    SeparableConvUnit,
    build_layer,
    describe_layer,
    init_weights,
)

AUTO_CLASSES: dict[str, type[NasRayPreTrainedModel]] = {
    "AutoModel": NasRayModel,
    "AutoModelForMaskedLM": NasRayForMaskedLM,
    "AutoModelForSequenceClassification": NasRayForSequenceClassification,
    "AutoModelForTokenClassification": NasRayForTokenClassification,
    "AutoModelForQuestionAnswering": NasRayForQuestionAnswering,
    "AutoModelForMultipleChoice": NasRayForMultipleChoice,
}
transformers.AutoConfig.register(NasRayConfig.model_type, NasRayConfig, exist_ok=True)
for _auto, _model in AUTO_CLASSES.items():
    getattr(transformers, _auto).register(NasRayConfig, _model, exist_ok=True)

__all__ = [
    "AUTO_CLASSES",
    "Attention",
    "FeedForward",
    "NasRayConfig",
    "NasRayForMaskedLM",
    "NasRayForMultipleChoice",
    "NasRayForQuestionAnswering",
    "NasRayForSentenceEmbedding",
    "NasRayForSequenceClassification",
    "NasRayForTokenClassification",
    "NasRayModel",
    "NasRayPreTrainedModel",
    "Numerics",
    "ReducedEmbedding",
    "Seam",
    "SeparableConv",
    "SeparableConvUnit",
    "build_layer",
    "describe_layer",
    "init_weights",
    "mean_pooled",
]
