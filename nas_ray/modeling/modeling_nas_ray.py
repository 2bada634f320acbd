"""Path students as transformers models. Carried by exports: imports torch, transformers and the files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import ModelOutput

from .configuration_nas_ray import NasRayConfig
from .operations_nas_ray import Numerics, ReducedEmbedding, build_layer, init_weights

_GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


class NasRayPreTrainedModel(PreTrainedModel):
    """What all of them share."""

    config_class = NasRayConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        loaded = any(getattr(p, "_is_hf_initialized", False) for p in module.parameters(recurse=False))
        if not loaded and isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.LayerNorm):
            init_weights(module, self.config.initializer_range)

    def get_input_embeddings(self) -> nn.Module:
        """The word vectors."""
        base: Any = self.base_model
        return base.embedding.words  # type: ignore[no-any-return]

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word vectors."""
        base: Any = self.base_model
        base.embedding.words = value


class NasRayModel(NasRayPreTrainedModel):
    """The encoder: ids and mask ``(batch, tokens)`` to hidden states ``(batch, tokens, hidden_size)``.

    There are no token types and no pooler: ``token_type_ids`` are accepted and not used.
    """

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__(config)
        if config.hidden_act not in _GELU:
            raise ValueError(f"hidden_act is '{config.hidden_act}'; accepted: {', '.join(_GELU)}.")
        numerics = Numerics(_GELU[config.hidden_act], config.layer_norm_eps)
        self.embedding = ReducedEmbedding(
            config.vocab_size, config.max_position_embeddings, config.embedding_size, config.layer_norm_eps
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(build_layer(layer, numerics) for layer in config.layers)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput | tuple[Any, ...]:
        if input_ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(
                f"the text has {input_ids.shape[1]} tokens; accepted: at most {self.config.max_position_embeddings}."
            )
        mask = None if attention_mask is None else attention_mask.bool()
        hidden = self.dropout(self.embedding(input_ids))
        states = [hidden]
        for layer in self.layers:
            hidden = layer(hidden, mask)
            states.append(hidden)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        found = BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states) if wanted else None)
        return found if return_dict is not False else found.to_tuple()


class MaskedLMHead(nn.Module):
    """Hidden states ``(..., hidden)`` to word scores ``(..., vocab)``, by word vectors of the embedding's size."""

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__()
        self.gelu = _GELU[config.hidden_act]
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.norm(F.gelu(self.dense(hidden), approximate=self.gelu)))  # type: ignore[no-any-return]


class NasRayForMaskedLM(NasRayPreTrainedModel):
    """Word scores at every position; the decoder is tied to the word vectors."""

    _tied_weights_keys = {"head.decoder.weight": "encoder.embedding.words.weight"}  # noqa: RUF012

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__(config)
        self.encoder = NasRayModel(config)
        self.head = MaskedLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The decoder."""
        return self.head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the decoder."""
        self.head.decoder = new_embeddings  # type: ignore[assignment]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> MaskedLMOutput:
        found = self.encoder(input_ids, attention_mask, **kwargs | {"return_dict": True})
        logits = self.head(found.last_hidden_state)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)


class NasRayClassifier(NasRayPreTrainedModel):
    """An encoder, dropout and one linear layer."""

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__(config)
        self.encoder = NasRayModel(config)
        self.dropout = nn.Dropout(_classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, self.num_outputs(config))
        self.post_init()

    def num_outputs(self, config: NasRayConfig) -> int:
        """Of the linear layer."""
        return int(config.num_labels or 0)


class NasRayForSequenceClassification(NasRayClassifier):
    """Dropout and one linear layer on the first token, no pooler (NAS-BERT), or behind a dense layer, as it has
    for CoLA; one label is a regression."""

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size) if config.classifier_layers == 2 else None
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> SequenceClassifierOutput:
        found = self.encoder(input_ids, attention_mask, **kwargs | {"return_dict": True})
        first = found.last_hidden_state[:, 0]
        if self.dense is not None:
            first = torch.tanh(self.dense(self.dropout(first)))
        logits = self.classifier(self.dropout(first))
        loss = None if labels is None else self._loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        kind = self.config.problem_type
        if kind == "regression" or (kind is None and self.config.num_labels == 1):
            return F.mse_loss(logits.reshape(-1), labels.reshape(-1).to(logits.dtype))
        if kind == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return F.cross_entropy(logits, labels.reshape(-1))


class NasRayForTokenClassification(NasRayClassifier):
    """Dropout and one linear layer on every token."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> TokenClassifierOutput:
        found = self.encoder(input_ids, attention_mask, **kwargs | {"return_dict": True})
        logits = self.classifier(self.dropout(found.last_hidden_state))
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)


@dataclass
class SpanOutput(QuestionAnsweringModelOutput):
    """With ``answerable_logits`` ``(batch,)``, above 0 where the text holds an answer, of a model that says so."""

    answerable_logits: Tensor | None = None


class NasRayForQuestionAnswering(NasRayPreTrainedModel):
    """Scores of every token to begin and to end the answer, and of the first token that there is one (NAS-BERT on
    SQuAD 2.0), if the configuration says so. There is none where both positions are the first token."""

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__(config)
        self.encoder = NasRayModel(config)
        self.span = nn.Linear(config.hidden_size, 2)
        self.answerable = nn.Linear(config.hidden_size, 1) if config.answerable else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> SpanOutput:
        found = self.encoder(input_ids, attention_mask, **kwargs | {"return_dict": True})
        begins, ends = self.span(found.last_hidden_state).unbind(-1)
        there = None if self.answerable is None else self.answerable(found.last_hidden_state[:, 0])[:, 0]
        loss = None
        if start_positions is not None and end_positions is not None:
            outside = begins.shape[1]  # an answer beyond the text is not learned
            losses = (
                F.cross_entropy(scores, places.reshape(-1).clamp(0, outside), ignore_index=outside)
                for scores, places in ((begins, start_positions), (ends, end_positions))
            )
            loss = torch.stack(list(losses)).mean()
            if there is not None:
                wanted = ((start_positions + end_positions).reshape(-1) > 0).to(there.dtype)
                loss = loss + F.binary_cross_entropy_with_logits(there, wanted)
        return SpanOutput(
            loss=loss,
            start_logits=begins,
            end_logits=ends,
            hidden_states=found.hidden_states,
            answerable_logits=there,
        )


class NasRayForMultipleChoice(NasRayClassifier):
    """A score for each choice: ids and mask ``(batch, choices, tokens)`` to logits ``(batch, choices)``."""

    def num_outputs(self, config: NasRayConfig) -> int:
        return 1

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> MultipleChoiceModelOutput:
        flat = None if attention_mask is None else attention_mask.flatten(0, 1)
        found = self.encoder(input_ids.flatten(0, 1), flat, **kwargs | {"return_dict": True})
        logits = self.classifier(self.dropout(found.last_hidden_state[:, 0])).view(input_ids.shape[:2])
        loss = None if labels is None else F.cross_entropy(logits, labels.reshape(-1))
        return MultipleChoiceModelOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)


@dataclass
class SentenceEmbeddingOutput(ModelOutput):
    """``embeddings`` ``(batch, hidden_size)`` and hidden states ``(batch, tokens, hidden_size)``."""

    embeddings: Tensor | None = None
    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class NasRayForSentenceEmbedding(NasRayPreTrainedModel):
    """The mean of the hidden states of a text, padding left out."""

    def __init__(self, config: NasRayConfig) -> None:
        super().__init__(config)
        self.encoder = NasRayModel(config)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> SentenceEmbeddingOutput:
        found = self.encoder(input_ids, attention_mask, **kwargs | {"return_dict": True})
        hidden = found.last_hidden_state
        return SentenceEmbeddingOutput(mean_pooled(hidden, attention_mask), hidden, found.hidden_states)


def mean_pooled(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over the tokens where ``mask`` is set: ``(batch, tokens, d)`` to ``(batch, d)``."""
    if mask is None:
        return hidden.mean(1)
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _classifier_dropout(config: NasRayConfig) -> float:
    found = config.classifier_dropout
    return config.hidden_dropout_prob if found is None else found
