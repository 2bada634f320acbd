"""Fine-tuned models as exports: the lines of their cards run where nas_ray is not installed, and say the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_ray import api
from nas_ray.errors import SpecError
from nas_ray.export import Exported
from nas_ray.stages.tasks._models import find_task_model
from tests.tiny_student import write_student
from tests.tiny_tasks import write_task
from tests.tiny_trial import nas_ray

FEW = ("executor=local", "tracking.enabled=false", "epochs=1", "judged=1", "learning_rate=3e-3", "seeds=1",
       "least_steps=2")  # fmt: skip
SIZES = {"train": 24, "select": 8, "test": 8}
KINDS = ("single", "pair", "regression", "choice", "span", "token")
EXPORTS = ("single-hf", "pair-onnx", "regression-hf", "choice-hf", "choice-onnx", "span-hf", "token-hf", "token-onnx")
ELSEWHERE = """
import json, sys
sys.modules["nas_ray"] = None
import numpy as np
for kind, code in json.loads(sys.argv[1]).items():
    names = {}
    exec(code, names)
    found = names["found"]
    outputs = found if isinstance(found, list) else [v.numpy() for k, v in found.items() if k.endswith("logits")]
    rows = names["feed"] if "feed" in names else {k: v.numpy() for k, v in names["rows"].items()}
    np.savez(f"{sys.argv[2]}/{kind}.npz", *outputs, **rows)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path) -> dict[str, dict[str, Any]]:
    """A fine-tuning of every kind; of pairs that of a plain encoder, which reads token types."""
    folder = tmp_path_factory.mktemp("finetuned")
    student = write_student(folder / "tiny", "paths", tiny_teacher_dir)
    plain = write_student(folder / "plain", "uniform", tiny_teacher_dir)
    (plain / "student.json").unlink()
    file = plain / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": names}))
    found = {}
    for kind in KINDS:
        more = {"answerable": True} if kind == "span" else {}
        task = str(write_task(folder / kind, kind, SIZES, **more))
        found[kind] = api.finetune(str(plain if kind == "pair" else student), task, overrides=FEW, storage=folder)
    return found


@pytest.fixture(scope="module")
def exports(models: dict[str, dict[str, Any]]) -> dict[str, Exported]:
    parts = {name: name.split("-") for name in EXPORTS}
    return {name: api.export(models[kind]["folder"], format=form) for name, (kind, form) in parts.items()}  # type: ignore


@pytest.fixture(scope="module")
def said(exports: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the cards' own lines find, in a process without nas_ray."""
    folder, codes = tmp_path_factory.mktemp("elsewhere"), {}
    for name, export in exports.items():
        (code,) = re.findall(r"```python\n(.*?)```", (export.folder / "README.md").read_text(), re.DOTALL)
        codes[name] = code.replace("FOLDER", str(export.folder))
    environment = {**os.environ, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(codes), str(folder)],
        env=environment, capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", EXPORTS)
@torch.no_grad()
def test_the_lines_of_the_card_say_what_the_model_says(
    name: str, models: dict[str, dict[str, Any]], exports: dict[str, Exported], said: Path
) -> None:
    kind = name.partition("-")[0]
    model = find_task_model(models[kind]["folder"])
    loaded = model.source.load(model.head, 0)
    with np.load(said / f"{name}.npz") as file:
        rows = {key: torch.from_numpy(file[key]) for key in file.files if not key.startswith("arr_")}
        outputs = [file[key] for key in file.files if key.startswith("arr_")]
    assert ("token_type_ids" in rows) == (kind == "pair")
    if name == "choice-onnx":  # an option a row
        rows = {key: tensor[:, None] for key, tensor in rows.items()}
    wanted = [value.numpy() for key, value in loaded(**rows).items() if key.endswith("logits")]
    assert len(outputs) == len(wanted) == (3 if kind == "span" else 1)
    for mine, theirs in zip(outputs, wanted, strict=True):
        assert np.abs(mine - theirs).max() < 1e-4
    assert exports[name].difference < 1e-4
    assert exports[name].params == model.record["params"]


def test_the_card_has_the_scores_and_the_record_comes_along(
    models: dict[str, dict[str, Any]], exports: dict[str, Exported]
) -> None:
    card = (exports["single-hf"].folder / "README.md").read_text()
    reached = models["single"]["trainings"][0]["test"]["accuracy"]
    assert f" {100 * reached:.1f} |" in card
    assert "Classes: calm, loud, cold." in card
    assert "There is no answer where" in (exports["span-hf"].folder / "README.md").read_text()
    task = Path(models["single"]["folder"]).parents[1] / "single" / "single.yaml"
    found = api.predict(exports["single-hf"].folder, str(task), out=exports["single-hf"].folder.parent / "said")
    assert found["scores"] == models["single"]["trainings"][0]["test"]


def test_int8_and_the_command(models: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    words = ("export", models["single"]["folder"], "--format", "onnx", "--quantize", "int8", "--to", tmp_path / "small")
    done = nas_ray(*words)
    assert done.returncode == 0, done.stderr
    assert "int8 against fp32: scores of eight sentences by up to" in done.stdout
    sizes = [(tmp_path / "small" / name).stat().st_size for name in ("model_int8.onnx", "model.onnx")]
    assert sizes[0] < 0.7 * sizes[1]
    with pytest.raises(SpecError, match="--register takes students"):
        api.export(models["single"]["folder"], format="hf", register="name")
