"""Models in folders, as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel

from nas_ray.errors import RunError
from nas_ray.modeling import NasRayConfig, NasRayModel
from nas_ray.teacher import first_line, quiet

AutoConfig.register(NasRayConfig.model_type, NasRayConfig, exist_ok=True)
AutoModel.register(NasRayConfig, NasRayModel, exist_ok=True)


def save_model(model: Any, folder: Path) -> None:
    """Write the configuration and the weights of ``model``."""
    with quiet():
        model.save_pretrained(folder)


def load_model(folder: Path) -> Any:
    """The model in ``folder``, in evaluation mode and with all of its weights.

    Raises:
        RunError: it is not there, or its files are damaged.
    """
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(
            f"{folder}: no model can be loaded from it: {first_line(error)}. Delete the folder to make it again."
        ) from error
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise RunError(f"{folder}: the model lacks weights, the first '{first}'. Delete the folder to make it again.")
    return model.eval()
