"""The folder that transformers loads: weights, configuration, and for path students the code that computes them."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from nas_ray.modeling import AUTO_CLASSES, NasRayModel
from nas_ray.student import TOKENIZER_FILES
from nas_ray.teacher import quiet

AUTO_MAP = {
    "AutoConfig": "configuration_nas_ray.NasRayConfig",
    **{auto: f"modeling_nas_ray.{model.__name__}" for auto, model in AUTO_CLASSES.items()},
}


def write_hf(whole: Any, folder: Path) -> None:
    """Weights and configuration of a model with its head, if it has one; plain encoders need no code of ours."""
    model = copy.copy(whole)
    model.config = copy.deepcopy(model.config)
    model.config.__dict__.pop("_name_or_path", None)
    if isinstance(whole.base_model, NasRayModel):
        model.config.auto_map = AUTO_MAP
        for file in _modelling_files():
            shutil.copyfile(file, folder / file.name)
    with quiet():
        model.save_pretrained(folder)


def write_config(model: Any, folder: Path) -> None:
    """The configuration alone, which names no code: there is none beside it."""
    config = copy.deepcopy(model.config)
    config.__dict__.pop("auto_map", None)
    config.save_pretrained(folder)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """The tokenizer's files as they are."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _modelling_files() -> list[Path]:
    import nas_ray.modeling

    module: ModuleType = nas_ray.modeling
    return sorted(Path(str(module.__file__)).parent.glob("*_nas_ray.py"))
