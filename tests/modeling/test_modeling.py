"""Path students as transformers models: heads, losses, files, and the code that travels with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import nas_ray.modeling as modeling
from nas_ray.modeling import (
    Attention,
    NasRayConfig,
    NasRayForMaskedLM,
    NasRayForMultipleChoice,
    NasRayForQuestionAnswering,
    NasRayForSentenceEmbedding,
    NasRayForSequenceClassification,
    NasRayForTokenClassification,
    NasRayModel,
    Numerics,
    describe_layer,
)

LAYERS = [
    {"kind": "map", "before": 8, "after": 12},
    {"kind": "attention", "width": 12, "heads": 2, "head_size": 4},
    {"kind": "separable_conv", "width": 12, "kernel": 3, "units": 2},
    {"kind": "feed_forward", "width": 12, "ratio": 2},
    {"kind": "map", "before": 12, "after": 10},
]
KINDS: list[Any] = [
    NasRayModel,
    NasRayForMaskedLM,
    NasRayForSequenceClassification,
    NasRayForTokenClassification,
    NasRayForQuestionAnswering,
    NasRayForSentenceEmbedding,
]


def config(**changes: Any) -> NasRayConfig:
    return NasRayConfig(vocab_size=50, max_position_embeddings=16, embedding_size=8, layers=LAYERS, **changes)


def made(kind: Any, **changes: Any) -> Any:
    torch.manual_seed(0)
    return kind(config(**changes)).eval()


@pytest.fixture
def text() -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return ids, mask


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(kind: Any, tmp_path: Path, text: tuple[Tensor, Tensor]) -> None:
    model = made(kind)
    model.save_pretrained(tmp_path)
    loaded, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    for a, b in zip(model(*text).to_tuple(), loaded.eval()(*text).to_tuple(), strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_an_encoder_is_loaded_from_a_model_with_a_head_and_back(tmp_path: Path, text: tuple[Tensor, Tensor]) -> None:
    whole = made(NasRayForMaskedLM)
    whole.save_pretrained(tmp_path / "whole")
    encoder = NasRayModel.from_pretrained(tmp_path / "whole").eval()
    assert torch.equal(encoder(*text).last_hidden_state, whole.encoder(*text).last_hidden_state)
    encoder.save_pretrained(tmp_path / "encoder")
    classifier = NasRayForSequenceClassification.from_pretrained(tmp_path / "encoder", num_labels=3).eval()
    assert torch.equal(classifier.encoder(*text).last_hidden_state, encoder(*text).last_hidden_state)
    assert classifier(*text).logits.shape == (2, 3)
    assert 0.01 < float(classifier.classifier.weight.std()) < 0.03  # the papers' initialisation


@torch.no_grad()
def test_padding_changes_nothing(text: tuple[Tensor, Tensor]) -> None:
    ids, mask = text
    model = made(NasRayForSentenceEmbedding)
    alone, padded = model(ids[1:, :4]), model(ids, mask)
    assert torch.allclose(alone.last_hidden_state, padded.last_hidden_state[1:, :4], atol=1e-6)
    assert torch.allclose(alone.embeddings, padded.embeddings[1:], atol=1e-6)
    assert torch.allclose(alone.embeddings, alone.last_hidden_state.mean(1), atol=1e-6)


@torch.no_grad()
def test_hidden_states_of_every_layer(text: tuple[Tensor, Tensor]) -> None:
    model = made(NasRayModel)
    found = model(*text, output_hidden_states=True)
    assert [state.shape[-1] for state in found.hidden_states] == [8, 12, 12, 12, 12, 10]
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    assert isinstance(model(*text, return_dict=False), tuple)


@torch.no_grad()
def test_losses_are_those_of_the_logits(text: tuple[Tensor, Tensor]) -> None:
    ids, mask = text
    labels = torch.full_like(ids, -100)
    labels[0, 2], labels[1, 1] = 7, 9
    found = made(NasRayForMaskedLM)(ids, mask, labels=labels)
    wanted = F.cross_entropy(torch.stack([found.logits[0, 2], found.logits[1, 1]]), torch.tensor([7, 9]))
    assert torch.allclose(found.loss, wanted)
    found = made(NasRayForTokenClassification, num_labels=11)(ids, mask, labels=labels.clamp(max=8))
    wanted = F.cross_entropy(torch.stack([found.logits[0, 2], found.logits[1, 1]]), torch.tensor([7, 8]))
    assert torch.allclose(found.loss, wanted)
    found = made(NasRayForSequenceClassification, num_labels=3)(ids, mask, labels=torch.tensor([2, 0]))
    assert torch.allclose(found.loss, F.cross_entropy(found.logits, torch.tensor([2, 0])))
    found = made(NasRayForSequenceClassification, num_labels=1)(ids, mask, labels=torch.tensor([2.0, 0.5]))
    assert torch.allclose(found.loss, F.mse_loss(found.logits[:, 0], torch.tensor([2.0, 0.5])))
    answer = torch.tensor([1, 99])  # the second lies beyond the text
    found = made(NasRayForQuestionAnswering)(ids, mask, start_positions=answer, end_positions=answer)
    first = [F.cross_entropy(scores[:1], answer[:1]) for scores in (found.start_logits, found.end_logits)]
    assert torch.allclose(found.loss, torch.stack(first).mean())


@torch.no_grad()
def test_choices_are_scored_one_by_one(text: tuple[Tensor, Tensor]) -> None:
    ids, mask = text
    model = made(NasRayForMultipleChoice)
    found = model(ids.view(1, 2, 7), mask.view(1, 2, 7), labels=torch.tensor([1]))
    assert found.logits.shape == (1, 2)
    assert torch.allclose(found.logits[0, 1], model(ids[1:, None, :4]).logits[0, 0], atol=1e-6)
    assert torch.allclose(found.loss, F.cross_entropy(found.logits, torch.tensor([1])))


def test_the_decoder_is_the_word_vectors() -> None:
    model = made(NasRayForMaskedLM)
    assert model.head.decoder.weight is model.get_input_embeddings().weight
    assert model.get_output_embeddings() is model.head.decoder


def test_layers_are_described_as_they_were_built() -> None:
    assert [describe_layer(layer) for layer in made(NasRayModel).layers] == LAYERS
    with pytest.raises(TypeError, match="Linear is no layer"):
        describe_layer(torch.nn.Linear(2, 2))


def test_wrong_sizes_are_told() -> None:
    with pytest.raises(ValueError, match=r"layer 0 .* takes width 12, but width 8 reaches it"):
        NasRayConfig(embedding_size=8, layers=LAYERS[1:])
    with pytest.raises(ValueError, match="hidden_act is 'relu'; accepted: gelu"):
        made(NasRayModel, hidden_act="relu")
    with pytest.raises(ValueError, match="the text has 17 tokens; accepted: at most 16"):
        made(NasRayModel)(torch.ones(1, 17, dtype=torch.long))


@torch.no_grad()
def test_the_files_alone_are_enough(tmp_path: Path, text: tuple[Tensor, Tensor]) -> None:
    """In a process that cannot import nas_ray, by ``AutoModel`` and the code beside the weights."""
    model = made(NasRayModel)
    folder = tmp_path / "exported"
    model.config.auto_map = {
        "AutoConfig": "configuration_nas_ray.NasRayConfig",
        "AutoModel": "modeling_nas_ray.NasRayModel",
    }
    model.save_pretrained(folder)
    for file in Path(str(modeling.__file__)).parent.glob("*_nas_ray.py"):
        shutil.copy(file, folder)
    torch.save([*text, model(*text).last_hidden_state], tmp_path / "expected.pt")
    script = """
import sys
sys.modules["nas_ray"] = None
import torch
from transformers import AutoModel
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
ids, mask, expected = torch.load(sys.argv[2])
with torch.no_grad():
    assert torch.equal(model(ids, mask).last_hidden_state, expected)
print(type(model).__module__)
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(tmp_path / "expected.pt")],
        env=environment, capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.startswith("transformers_modules.")


@pytest.mark.parametrize("padded", [False, True])
def test_attention_in_bf16_learns_what_it_does_in_fp32(padded: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(12, 2, 4, Numerics())
    x = torch.randn(3, 7, 12)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]]) if padded else None

    def gradients(autocast: bool) -> tuple[Tensor, Tensor]:
        attention.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = attention(x, mask)
        kept = found.float() if mask is None else found.float()[mask]
        kept.pow(3).mean().backward()
        return kept.detach(), torch.cat([p.grad.flatten() for p in attention.parameters() if p.grad is not None])

    (exact, slope), (found, ours) = gradients(False), gradients(True)
    assert (found - exact).abs().max() < 0.05
    assert F.cosine_similarity(slope, ours, dim=0) > 0.999
