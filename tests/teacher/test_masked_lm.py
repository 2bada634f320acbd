"""A teacher's masked-LM head, cut before its decoder, predicts what the whole model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from nas_ray.errors import TeacherError
from nas_ray.teacher import TeacherSource, load_masked_lm

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
SMALL = {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 40}


def save(family: str, folder: Path, **sizes: Any) -> Any:
    config = getattr(transformers, f"{family}Config")(**sizes)
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForMaskedLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)  # biases that are not 0
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("Bert", SIZES),
        ("Roberta", SIZES),
        ("Camembert", SIZES),
        ("XLMRoberta", SIZES),
        ("DistilBert", SMALL),
        ("Electra", {**SIZES, "embedding_size": 16}),
    ],
)
def test_features_and_words_give_the_models_logits(family: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    model = save(family, tmp_path, **sizes)
    found = load_masked_lm(TeacherSource(str(tmp_path)))
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 6:] = False
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask.long()).logits
    logits = found.features(ids, mask) @ found.weight.T + found.bias
    assert torch.allclose(logits, expected, atol=1e-5)


def test_an_encoder_without_a_head_is_refused(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match=r"lack .* masked-LM head.*extraction.error: hidden_state"):
        load_masked_lm(TeacherSource(str(tmp_path)))
