"""Students as a retraining leaves them, small and untrained, beside a teacher's tokenizer."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from nas_ray.student import StudentCard

LAYERS = [
    {"kind": "map", "before": 32, "after": 48},
    {"kind": "attention", "width": 48, "heads": 3, "head_size": 16},
    {"kind": "separable_conv", "width": 48, "kernel": 3, "units": 2},
    {"kind": "feed_forward", "width": 48, "ratio": 2},
    {"kind": "map", "before": 48, "after": 64},
]
ENCODER_PARAMS = {
    # maps, attention (qkv, output, norm), two units (depthwise, pointwise, norm), feed-forward (up, down, norm)
    "paths": (32 * 48 + 48) + (48 * 64 + 64) + (4 * 48 * 48 + 4 * 48 + 96) + 2 * (48 * 4 + 48 * 48 + 48 + 96)
    + (2 * 96 * 48 + 96 + 48 + 96),
    "uniform": 2 * (4 * (32 * 32 + 32) + 2 * 64 * 32 + 64 + 32 + 4 * 32),
}  # fmt: skip

CARD = StudentCard(
    run="tiny-1a2b3c4d",
    candidate_id="c0ffee",
    arch_id="e32/48:M3-C3-F2",
    kind="paths",
    teacher="",
    start="inherit",
    weights="supernet",
    preset="embedding",
    loss_weights={"hidden": 1.0, "embedding": 0.5},
    steps=1200,
    tokens=614_400,
    data=({"source": "gutenberg", "share": 0.75}, {"source": "snippets", "share": 0.25}),
    costs={"params": 1e6, "encoder_params": 1e5, "flops": 9e6, "latency_ms": 1.5},
    latency_key={
        "processor": "Zuse Z3", "device": "cpu", "runtime": "eager", "dtype": "fp32", "threads": 1,
        "sequence_length": 16, "batch_size": 2,
    },
    metrics={"select_loss": 0.5, "test_loss": 0.51},
    spec_hash="00ff00ff",
    command="nas-ray retrain runs/tiny-1a2b3c4d --candidate c0ffee",
)  # fmt: skip


def write_student(folder: Path, kind: str, teacher_dir: Path, **changes: Any) -> Path:
    """A student of ``kind`` in ``folder``, with the tokenizer in ``teacher_dir``."""
    import torch
    from transformers import AutoConfig, BertConfig, BertModel
    from transformers.utils import logging

    from nas_ray.modeling import NasRayConfig, NasRayModel

    logging.disable_progress_bar()
    vocab_size = AutoConfig.from_pretrained(teacher_dir).vocab_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if kind == "paths":
            config = NasRayConfig(
                vocab_size=vocab_size, max_position_embeddings=128, embedding_size=32, layers=LAYERS, start="inherit"
            )
            model: Any = NasRayModel(config)
        else:
            plain = BertConfig(
                vocab_size=vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=64, max_position_embeddings=128,
            )  # fmt: skip
            model = BertModel(plain, add_pooling_layer=False)
        for parameter in model.parameters():  # far from what an initialisation gives: a fresh weight would be seen
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    for file in teacher_dir.glob("*token*.json"):
        shutil.copy(file, folder)
    arch_id = CARD.arch_id if kind == "paths" else "uniform:D2-A2-H32-I64"
    fields = {"kind": kind, "teacher": str(teacher_dir), "arch_id": arch_id} | changes
    dataclasses.replace(CARD, **fields).write(folder)
    return folder
