"""``student.json``: where a trained student comes from, what it should cost and how good it was."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from nas_ray._files import write_text
from nas_ray.errors import ModelError

CARD_FILE = "student.json"
_FORMAT = 1

Kind = Literal["paths", "uniform"]


@dataclass(frozen=True)
class StudentCard:
    """What a student's folder says of it, beside weights, configuration and tokenizer."""

    run: str
    """The run that found the architecture."""
    candidate_id: str
    arch_id: str
    kind: Kind
    teacher: str
    """An asset, a folder or a name on the model hub."""
    start: str
    """``inherit`` or ``scratch``: which maps it has."""
    weights: str
    """``supernet``, ``teacher`` or ``scratch``: where training began."""
    preset: str
    loss_weights: Mapping[str, float]
    steps: int
    tokens: int
    """Tokens that it was trained on, repetitions counted."""
    data: tuple[Mapping[str, Any], ...]
    """``source`` and ``share`` of each text."""
    costs: Mapping[str, float]
    """By the run's tables: ``params``, ``encoder_params``, ``flops`` of a sequence, ``latency_ms`` of a batch."""
    latency_key: Mapping[str, Any]
    """What the latency was measured on: processor, runtime, dtype, threads, sequence_length, batch_size."""
    metrics: Mapping[str, float]
    spec_hash: str
    command: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    """Those that were searched: the best set."""
    normalised: bool | None = None
    """Whether the teacher's sentence vectors have length 1; None where it does not say, or was never asked."""
    trial: str = ""
    """The candidate id of the Tune trial that trained it, where that has hyperparameters of its own."""

    @property
    def logged_as(self) -> str:
        """The candidate id under which MLflow has its training."""
        return self.trial or self.candidate_id

    def write(self, folder: Path) -> None:
        """Replace ``student.json`` in ``folder``."""
        write_text(folder / CARD_FILE, json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n")


def read_card(folder: Path) -> StudentCard:
    """The card of the student in ``folder``; keys that this version does not know are left out.

    Raises:
        ModelError: there is none, it cannot be read, or it is not of this form.
    """
    file = folder / CARD_FILE
    if not file.is_file():
        raise ModelError(f"{folder}: the folder holds no {CARD_FILE}; accepted: a folder that `nas-ray retrain` wrote.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({error}); retrain the student.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file}: not an object; accepted: what `nas-ray retrain` wrote.")
    if (version := found.get("format")) != _FORMAT:
        raise ModelError(f"{file}: format {version!r}; accepted: {_FORMAT}, as this version of nas_ray writes it.")
    names = [entry.name for entry in fields(StudentCard)]
    if missing := [name for name in names if name not in found and name not in _OPTIONAL]:
        raise ModelError(f"{file}: lacks {', '.join(missing)}; accepted: what `nas-ray retrain` wrote.")
    values: dict[str, Any] = {name: found[name] for name in names if name in found}
    for name, value in values.items():
        _check(file, name, value)
    return StudentCard(**{**values, "data": tuple(found["data"])})


_OPTIONAL = ("hyperparameters", "normalised", "trial")
_TEXTS = ("run", "candidate_id", "arch_id", "teacher", "start", "weights", "preset", "spec_hash", "command", "trial")
_NUMBERS = ("loss_weights", "costs", "metrics", "hyperparameters")


def _check(file: Path, name: str, value: Any) -> None:
    """Refuse a value of another kind than the card has, so that no reader meets it later."""
    good, wanted = True, ""
    if name in _TEXTS:
        good, wanted = isinstance(value, str), "a text"
    elif name == "kind":
        good, wanted = value in get_args(Kind), " or ".join(get_args(Kind))
    elif name in ("steps", "tokens"):
        good, wanted = _is_number(value) and value == int(value), "a whole number"
    elif name in _NUMBERS:
        good = isinstance(value, dict) and all(_is_number(number) for number in value.values())
        wanted = "an object of finite numbers"
    elif name == "normalised":
        good, wanted = value is None or isinstance(value, bool), "true, false or null"
    elif name == "latency_key":
        good, wanted = isinstance(value, dict), "an object"
    elif name == "data":
        good = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
        wanted = "a list of objects"
    if not good:
        raise ModelError(f"{file}: {name} is {json.dumps(value)[:60]}; accepted: {wanted}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
