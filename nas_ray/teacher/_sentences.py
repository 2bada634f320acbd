"""Whether a teacher's sentence vectors have length 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas_ray.teacher._source import TeacherSource

ADAPTED_FILE = "adapted.json"  # beside a teacher that was given a masked-LM head

_NORMALISED_ASSETS = ("minilm",)  # the asset lacks modules.json; all-MiniLM-L6-v2's own ends in Normalize


def has_normalised_sentences(name: str, source: TeacherSource) -> bool | None:
    """As the modules of the teacher called ``name`` say, or those of what it was adapted from; None where none do."""
    if name in _NORMALISED_ASSETS:
        return True
    modules = _read(source.location, "modules.json")
    if isinstance(modules, list):
        return any(str(module["type"]).endswith(".Normalize") for module in modules)
    adapted = _read(source.location, ADAPTED_FILE)
    found = adapted.get("normalised") if isinstance(adapted, dict) else None
    return found if isinstance(found, bool) else None


def _read(location: str, name: str) -> Any:
    """A JSON file of the model, here or on the hub; None where there is none or it cannot be asked for."""
    from transformers.utils.hub import cached_file

    try:
        file = cached_file(location, name, _raise_exceptions_for_missing_entries=False)
        return None if file is None else json.loads(Path(file).read_text(encoding="utf-8"))
    except Exception:  # a hub that cannot be reached raises whatever its client raises
        return None
