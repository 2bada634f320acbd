"""The configuration of a path student. Carried by exports: imports transformers only."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class NasRayConfig(PretrainedConfig):
    """An embedding of ``embedding_size`` and the layers behind it, in order.

    A layer is a dictionary with its ``kind`` and sizes: ``attention`` (width, heads, head_size), ``feed_forward``
    (width, ratio), ``separable_conv`` (width, kernel, units), ``map`` (before, after). ``hidden_size`` is the width
    behind the last of them. A classifier of 2 ``classifier_layers`` has a dense one with tanh before its linear layer;
    with ``answerable`` a head for questions says whether there is an answer. ``start`` says where the student's maps
    come from ("inherit": one at every seam to and from the teacher's hidden space; "scratch": where widths differ, as
    in NAS-BERT); ``arch_id`` names the architecture.
    """

    model_type = "nas_ray"

    def __init__(
        self,
        vocab_size: int = 30522,
        max_position_embeddings: int = 512,
        embedding_size: int = 512,
        layers: list[dict[str, Any]] | None = None,
        hidden_act: str = "gelu",
        layer_norm_eps: float = 1e-12,
        initializer_range: float = 0.02,
        hidden_dropout_prob: float = 0.0,
        classifier_dropout: float | None = None,
        classifier_layers: int = 1,
        answerable: bool = False,
        start: str = "scratch",
        arch_id: str = "",
        pad_token_id: int | None = 0,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.embedding_size = embedding_size
        self.layers = list(layers or [])
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.hidden_dropout_prob = hidden_dropout_prob
        self.classifier_dropout = classifier_dropout
        self.classifier_layers = classifier_layers
        self.answerable = answerable
        self.start = start
        self.arch_id = arch_id
        self.hidden_size = _width(self.layers, embedding_size)
        self.num_hidden_layers = sum(layer["kind"] != "map" for layer in self.layers)
        for derived in ("hidden_size", "num_hidden_layers"):
            kwargs.pop(derived, None)
        super().__init__(**kwargs | {"pad_token_id": pad_token_id, "tie_word_embeddings": tie_word_embeddings})


def _width(layers: list[dict[str, Any]], width: int) -> int:
    """The width behind ``layers``; every one must take what the one before it gives."""
    for at, layer in enumerate(layers):
        expected = layer["before"] if layer["kind"] == "map" else layer["width"]
        if expected != width:
            raise ValueError(f"layer {at} ({layer}) takes width {expected}, but width {width} reaches it.")
        width = layer.get("after", width)
    return width
