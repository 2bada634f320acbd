"""What a training needs, in one small folder: arms, tokenised text, the teacher in half precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.measure import Sentences

ARMS_FILE, TEXT_FILE, TEACHER_FOLDER = "arms.json", "text.npz", "teacher"
UNIFORM, DROPPED, RANDOM = "uniform", "layer-dropped", "random"
SEARCHED = {
    "searched, encoder": "encoder_params",
    "searched, total": "params",
    "searched, latency": "latency_ms",
}
"""Arms that the tables' solver chose, and the cost in which each has at most as much as the uniform encoder."""


@dataclass(frozen=True)
class Model:
    """An architecture: an ``arch_id``, or ``layers:1-4``, a copy of some of the teacher's layers; and what it costs."""

    arch: str
    costs: Mapping[str, float]
    parts: tuple[str, ...]

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The teacher's layers that it copies, None of a searched architecture."""
        kind, _, rest = self.arch.partition(":")
        return tuple(int(number) for number in rest.split("-")) if kind == "layers" else None


@dataclass(frozen=True)
class Arm:
    """What stands at one size."""

    size: int
    name: str
    model: str
    """Its number in the bundle's models."""


@dataclass(frozen=True)
class Arms:
    """All that is compared, and what is known of where it comes from."""

    sizes: tuple[str, ...]
    models: Mapping[str, Model]
    arms: tuple[Arm, ...]
    about: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Arms:
        """What ``write`` wrote."""
        found = json.loads(file.read_text(encoding="utf-8"))
        models = {k: Model(m["arch"], m["costs"], tuple(m["parts"])) for k, m in found["models"].items()}
        return cls(tuple(found["sizes"]), models, tuple(Arm(**arm) for arm in found["arms"]), found["about"])

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def of(self, size: int, name: str) -> list[str]:
        """The models of an arm; more than one of random architectures."""
        return [arm.model for arm in self.arms if (arm.size, arm.name) == (size, name)]

    def with_about(self, **more: Any) -> Arms:
        """With more known."""
        return replace(self, about={**self.about, **more})

    @property
    def digest(self) -> str:
        """Rows belong to a bundle by it: eight digits of what is trained and on what."""
        return str(self.about["digest"])


def digest_of(arms: Arms, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Eight hexadecimal digits of architectures and text."""
    found = hashlib.sha256(json.dumps([asdict(arm) for arm in arms.arms]).encode())
    found.update(json.dumps([model.arch for model in arms.models.values()]).encode())
    for name in sorted(arrays):
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()[:8]


@dataclass(frozen=True)
class Bundle:
    """A folder that ``prepare`` wrote."""

    folder: Path

    @cached_property
    def arms(self) -> Arms:
        """What is compared."""
        return Arms.read(self.folder / ARMS_FILE)

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Text, labels and buckets."""
        with np.load(self.folder / TEXT_FILE) as found:
            return dict(found)

    @property
    def teacher(self) -> str:
        """The folder of the teacher."""
        return str(self.folder / TEACHER_FOLDER)

    def sentences(self, name: str) -> Sentences:
        """The texts of one kind."""
        return Sentences(self.arrays[f"{name}.ids"], self.arrays[f"{name}.lengths"])


def sentence_arrays(name: str, ids: Iterable[list[int]], kind: type[np.integer[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays that ``Bundle.sentences`` reads."""
    rows = [np.asarray(row, dtype=kind) for row in ids]
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    return {f"{name}.ids": np.concatenate([np.empty(0, kind), *rows]), f"{name}.lengths": lengths}
