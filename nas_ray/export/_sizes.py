"""What a student is made of, counted on the model itself."""

from __future__ import annotations

from typing import Any

from torch import nn

from nas_ray.modeling import NasRayModel
from nas_ray.student import Student


def params(model: nn.Module) -> tuple[int, int]:
    """All weights of the backbone, and those without its embedding (words, positions, token types, LayerNorm)."""
    found: Any = model
    embedding = found.embedding if isinstance(model, NasRayModel) else found.embeddings
    total = _count(model)
    return total, total - _count(embedding)


def over_budget(student: Student) -> list[str]:
    """Sizes that are larger than the run's tables promised."""
    counted = dict(zip(("params", "encoder_params"), params(student.model), strict=True))
    return [
        f"{name} are {number:,}, the run's tables said {promised:,.0f}: {number - promised:,.0f} more"
        for name, number in counted.items()
        if (promised := student.card.costs.get(name)) is not None and number > promised
    ]


def layer_rows(model: Any) -> list[tuple[str, str, int]]:
    """Name, sizes and weights of every layer of a path student, in order; of a plain encoder, of its kinds of layer."""
    if isinstance(model, NasRayModel):
        config = model.config
        rows = [("embedding", f"{config.vocab_size:,} words x {config.embedding_size}", _count(model.embedding))]
        for layer, module in zip(config.layers, model.layers, strict=True):
            rows.append((layer["kind"].replace("_", " "), _sizes(layer), _count(module)))
        return rows
    config = model.config
    sizes = f"width {config.hidden_size}, {config.num_attention_heads} heads, intermediate {config.intermediate_size}"
    return [
        ("embedding", f"{config.vocab_size:,} words x {config.hidden_size}", _count(model.embeddings)),
        (f"{config.num_hidden_layers} transformer layers", sizes, _count(model.encoder)),
    ]


def _sizes(layer: dict[str, Any]) -> str:
    match layer["kind"]:
        case "map":
            return f"{layer['before']} to {layer['after']}"
        case "attention":
            return f"width {layer['width']}, {layer['heads']} heads of {layer['head_size']}"
        case "feed_forward":
            return f"width {layer['width']}, inner {layer['ratio'] * layer['width']}"
    return f"width {layer['width']}, kernel {layer['kernel']}, {layer['units']} units"


def _count(module: Any) -> int:
    return sum(weight.numel() for weight in module.parameters())
