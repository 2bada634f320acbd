"""A spec as what differs from another one."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel


def overrides_of(spec: BaseModel, default: BaseModel) -> list[str]:
    """``key=value`` of all that ``spec`` has otherwise than ``default``, as ``--set`` takes it."""
    mine, theirs = _flat(spec.model_dump(mode="json")), _flat(default.model_dump(mode="json"))
    return [
        f"{name}={json.dumps(value) if isinstance(value, list) or value is None else value}"
        for name, value in mine.items()
        if name not in theirs or value != theirs[name]
    ]


def _flat(found: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted keys of a mapping of mappings."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return flat
