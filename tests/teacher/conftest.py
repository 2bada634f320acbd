"""Tiny random encoders of every family, saved as folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import save_model

_SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "initializer_range": 0.2,
}
_DISTILBERT: dict[str, Any] = {
    "vocab_size": 60,
    "dim": 32,
    "n_layers": 4,
    "n_heads": 2,
    "hidden_dim": 48,
    "max_position_embeddings": 24,
    "initializer_range": 0.2,
}
# name: (model class, configuration class, settings)
TEACHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertModel", "BertConfig", _SIZES),
    "bert, masked-LM": ("BertForMaskedLM", "BertConfig", {**_SIZES, "hidden_act": "gelu_new"}),
    "bert, pretraining": ("BertForPreTraining", "BertConfig", {**_SIZES, "type_vocab_size": 1}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", {**_SIZES, "pad_token_id": 1, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaConfig", {**_SIZES, "pad_token_id": 1}),
    "camembert": ("CamembertModel", "CamembertConfig", {**_SIZES, "pad_token_id": 1}),
    "distilbert": ("DistilBertModel", "DistilBertConfig", _DISTILBERT),
    "distilbert, sinusoidal": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        {**_DISTILBERT, "sinusoidal_pos_embds": True},
    ),
    "electra": ("ElectraForPreTraining", "ElectraConfig", {**_SIZES, "embedding_size": 32}),
    "electra, small embedding": ("ElectraForMaskedLM", "ElectraConfig", {**_SIZES, "embedding_size": 16}),
}


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``make_teacher(name, key=value, ...)``: the folder of that teacher, made once."""
    made: dict[str, Path] = {}

    def make(name: str, **changes: Any) -> Path:
        import transformers

        key = f"{name} {sorted(changes.items())}"
        if key not in made:
            model, config, settings = TEACHERS[name]
            made[key] = tmp_path_factory.mktemp("a teacher's")
            save_model(
                getattr(transformers, model), getattr(transformers, config)(**{**settings, **changes}), made[key]
            )
        return made[key]

    return make
