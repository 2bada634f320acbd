"""Load exports as somebody does who has no nas_ray: `python elsewhere.py FOLDERS TEXTS TARGET`, the first two JSON.

A script of its own, once for all exports: importing these libraries takes longer than what it does with them.
"""

import json
import sys

import numpy as np
import onnxruntime
import torch
import transformers
from sentence_transformers import SentenceTransformer

sys.modules["nas_ray"] = None  # type: ignore[assignment]

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
    for output, value in zip(session.get_outputs(), session.run(None, feed), strict=True):
        found[f"{kind}-onnx-{output.name}"] = value
for head in ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"):
    kind = getattr(transformers, f"AutoModelFor{head}")
    model = kind.from_pretrained(folders["paths-hf"], trust_remote_code=True).eval()
    inputs = {
        name: torch.from_numpy(found[f"paths-{short}"])
        for name, short in (("input_ids", "ids"), ("attention_mask", "mask"))
    }
    with torch.no_grad():
        hidden = model.base_model(**inputs).last_hidden_state.numpy()
    print(type(model).__name__, bool(np.abs(hidden - found["paths-hf"]).max() < 1e-6))
np.savez(target, **found)
