"""What a student's folder says of it: ``student.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_ray._files import write_text
from nas_ray.errors import RunError

FILE = "student.json"
_FORMAT = 1


@dataclass(frozen=True)
class StudentRecord:
    """Where a student comes from, what it was trained on and what it reaches.

    ``costs`` are those of the run's tables (``latency_ms`` at ``latency_key``), ``metrics`` end in the split that they
    were measured on.
    """

    run: str
    candidate_id: str
    arch_id: str
    kind: str
    teacher: str
    start: str
    weights: str
    loss_weights: Mapping[str, float]
    steps: int
    tokens: int
    data: Sequence[Mapping[str, Any]]
    costs: Mapping[str, float]
    latency_key: Mapping[str, Any]
    metrics: Mapping[str, float]
    spec_hash: str
    command: str

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Into ``folder``."""
        write_text(folder / FILE, json.dumps({"format": _FORMAT, **self.as_dict()}, indent=1))

    @classmethod
    def read(cls, folder: Path) -> StudentRecord:
        """From ``folder``.

        Raises:
            RunError: there is no record, it cannot be read, or it has another format.
        """
        file = folder / FILE
        if not file.is_file():
            raise RunError(f"{folder}: no student, it lacks {FILE}; accepted: a folder that `nas-ray retrain` wrote.")
        try:
            found = dict(json.loads(file.read_text(encoding="utf-8")))
            version = found.pop("format", None)
            if version == _FORMAT:
                return cls(**found)
        except (OSError, TypeError, ValueError) as error:
            raise RunError(f"{file}: cannot be read ({error}); retrain the student.") from error
        raise RunError(f"{file}: has format {version}; accepted: {_FORMAT}.")
