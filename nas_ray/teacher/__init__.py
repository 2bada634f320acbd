"""The model to compress: found, checked, cut into blocks.

What needs torch is imported when first asked for: a spec can be checked against its teacher without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nas_ray.teacher._sentences import ADAPTED_FILE, has_normalised_sentences
from nas_ray.teacher._source import (
    FAMILIES,
    TeacherSource,
    activation,
    check_blocks,
    first_line,
    has_masked_lm_head,
    load_tokenizer,
    quiet,
    resolve_teacher,
    teacher_shape,
)

if TYPE_CHECKING:
    from nas_ray.teacher._heads import HeadTransform, head_transform
    from nas_ray.teacher._layers import LayerWeights, layer_weights, numerics_of, weights_of
    from nas_ray.teacher._masked_lm import MaskedLm, load_masked_lm, load_trainable_masked_lm
    from nas_ray.teacher._model import (
        Teacher,
        TeacherBlock,
        TeacherEmbedding,
        cut,
        load_model,
        load_teacher,
        load_weights,
    )

__all__ = [
    "ADAPTED_FILE",
    "FAMILIES",
    "HeadTransform",
    "LayerWeights",
    "MaskedLm",
    "Teacher",
    "TeacherBlock",
    "TeacherEmbedding",
    "TeacherSource",
    "activation",
    "check_blocks",
    "cut",
    "first_line",
    "has_masked_lm_head",
    "has_normalised_sentences",
    "head_transform",
    "layer_weights",
    "load_masked_lm",
    "load_model",
    "load_teacher",
    "load_tokenizer",
    "load_trainable_masked_lm",
    "load_weights",
    "numerics_of",
    "quiet",
    "resolve_teacher",
    "teacher_shape",
    "weights_of",
]

_WITH_TORCH = {
    "HeadTransform": "_heads",
    "head_transform": "_heads",
    "LayerWeights": "_layers",
    "MaskedLm": "_masked_lm",
    "Teacher": "_model",
    "TeacherBlock": "_model",
    "TeacherEmbedding": "_model",
    "cut": "_model",
    "layer_weights": "_layers",
    "numerics_of": "_layers",
    "load_masked_lm": "_masked_lm",
    "load_model": "_model",
    "load_trainable_masked_lm": "_masked_lm",
    "load_teacher": "_model",
    "load_weights": "_model",
    "weights_of": "_layers",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
