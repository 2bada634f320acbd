"""Path students as transformers models: files that exports carry verbatim, so they import torch, transformers and
each other only."""

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

__all__ = [
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
