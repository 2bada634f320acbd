"""Milliseconds of every model but the random ones, in PyTorch and in ONNX Runtime, in rounds over all of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.quality._bundle import RANDOM, Bundle
from benchmarks.quality._setting import RESULTS
from benchmarks.quality._students import Starts
from nas_ray._machine import processor
from nas_ray.export._onnx import write_onnx
from nas_ray.export._sentence import Encoder
from nas_ray.measure import Timing, interleaved, onnx_session
from nas_ray.teacher import TeacherSource, load_model

FILE = RESULTS / "speed.json"
LENGTH = 128


def speed(folder: Path, repeats: int, threads: int, file: Path | None = None) -> None:
    """Write the lower quartile of ``repeats`` timings at batch 1 and 128 tokens, fp32; weights do not matter to it."""
    torch.set_num_threads(threads)
    bundle, starts = Bundle(folder), Starts(Bundle(folder))
    arms = bundle.arms
    names = dict.fromkeys(arm.model for arm in arms.arms if arm.name != RANDOM)
    models = {"teacher": load_model(TeacherSource(bundle.teacher))}
    models |= {name: starts.make("scratch", arms.models[name], 0) for name in names}
    calls: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        calls[f"torch {name}"] = _eager(model)
        calls[f"onnxruntime {name}"] = _onnx(model, threads)
    found = {name: Timing.of(times).milliseconds for name, times in interleaved(calls, repeats, "cpu").items()}
    about = {"bundle": arms.digest, "processor": processor(), "threads": threads, "torch": torch.__version__}
    about |= {"repeats": repeats, "milliseconds": {name: round(value, 3) for name, value in found.items()}}
    file = file or FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name, value in found.items():
        print(f"{name}: {value:.2f} ms")


def _ids() -> Tensor:
    return torch.arange(LENGTH)[None] + 1000


def _eager(model: nn.Module) -> Callable[[], object]:
    ids, mask = _ids(), torch.ones(1, LENGTH, dtype=torch.int64)
    return lambda: model(input_ids=ids, attention_mask=mask)


def _onnx(model: Any, threads: int) -> Callable[[], object]:
    """As ``nas-ray export --format onnx`` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(Encoder(model, None), int(model.config.max_position_embeddings), file)
        session = onnx_session(file, threads)
    feed = {"input_ids": _ids().numpy(), "attention_mask": np.ones((1, LENGTH), dtype=np.int64)}
    return lambda: session.run(None, feed)
