"""Exports load where nas_ray is not installed, by the libraries they are made for, and give the student's numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nas_ray.export import Exported
from nas_ray.modeling import mean_pooled
from nas_ray.student import read_student

TEXTS = ["the old captain found a lantern", "bread", "a cold wind near the harbour and the quiet island again"]

# One process for all of it: importing these libraries takes longer than the tests.
SCRIPT = """
import json, sys
sys.modules["nas_ray"] = None
import numpy as np
import onnxruntime
import torch
import transformers
from sentence_transformers import SentenceTransformer

folders, texts, target = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
found = {}
for kind in ("paths", "uniform"):
    folder, trust = folders[f"{kind}-hf"], {"trust_remote_code": True} if kind == "paths" else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    found[f"{kind}-ids"], found[f"{kind}-mask"] = inputs.input_ids.numpy(), inputs.attention_mask.numpy()
    with torch.no_grad():
        model = transformers.AutoModel.from_pretrained(folder, **trust).eval()
        found[f"{kind}-hf"] = model(**inputs).last_hidden_state.numpy()
        sentences = SentenceTransformer(folder, device="cpu", **trust)
        found[f"{kind}-sentences"] = sentences.encode(texts)
        assert sentences.max_seq_length == 128, sentences.max_seq_length
        print(kind, type(model).__name__, type(model).__module__.split(".")[0], [type(m).__name__ for m in sentences])
    feed = {"input_ids": found[f"{kind}-ids"], "attention_mask": found[f"{kind}-mask"]}
    session = onnxruntime.InferenceSession(f"{folders[f'{kind}-onnx']}/model.onnx")
    for output, value in zip(session.get_outputs(), session.run(None, feed)):
        found[f"{kind}-onnx-{output.name}"] = value
for head in ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"):
    kind = getattr(transformers, f"AutoModelFor{head}")
    model = kind.from_pretrained(folders["paths-hf"], trust_remote_code=True).eval()
    inputs = {name: torch.from_numpy(found[f"paths-{short}"])
              for name, short in (("input_ids", "ids"), ("attention_mask", "mask"))}
    with torch.no_grad():
        hidden = model.base_model(**inputs).last_hidden_state.numpy()
    print(type(model).__name__, bool(np.abs(hidden - found["paths-hf"]).max() < 1e-6))
np.savez(target, **found)
"""


@pytest.fixture(scope="module")
def loaded(exports: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], str]:
    """What the exports give elsewhere, and what that process said of them."""
    import json

    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    folders = json.dumps({name: str(found.folder) for name, found in exports.items()})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folders, json.dumps(TEXTS), str(folder / "found.npz")],
        env=environment, capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "found.npz") as found:
        return dict(found), done.stdout


@pytest.mark.parametrize("kind", ["paths", "uniform"])
@torch.no_grad()
def test_elsewhere_the_numbers_are_the_student_s(
    kind: str, students: dict[str, Path], loaded: tuple[dict[str, np.ndarray], str]
) -> None:
    found, _ = loaded
    student = read_student(students[kind])
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert np.array_equal(found[f"{kind}-ids"], inputs.input_ids.numpy())
    hidden = student.model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).last_hidden_state
    vectors = mean_pooled(hidden, inputs.attention_mask)
    text = inputs.attention_mask.numpy().astype(bool)
    assert np.abs(found[f"{kind}-hf"] - hidden.numpy())[text].max() < 1e-6
    assert np.abs(found[f"{kind}-onnx-last_hidden_state"] - hidden.numpy())[text].max() < 1e-4
    assert np.abs(found[f"{kind}-sentences"] - vectors.numpy()).max() < 1e-4
    if kind == "paths":
        assert np.abs(found["paths-onnx-sentence_embedding"] - vectors.numpy()).max() < 1e-4
    else:  # exported without sentences
        assert "uniform-onnx-sentence_embedding" not in found
    assert float(F.cosine_similarity(vectors[0], vectors[1], dim=0)) < 0.999  # the comparison says something


def test_elsewhere_the_code_is_the_export_s(loaded: tuple[dict[str, np.ndarray], str]) -> None:
    _, said = loaded
    lines = said.splitlines()
    assert lines[0] == "paths NasRayModel transformers_modules ['Transformer', 'Pooling']"
    assert lines[1] == "uniform BertModel transformers ['Transformer', 'Pooling']"
    heads = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")
    assert lines[2:] == [f"NasRayFor{head} True" for head in heads]
