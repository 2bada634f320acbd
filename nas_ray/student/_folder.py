"""A student's folder as a model and its tokenizer, checked before they are used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoTokenizer, BertModel

from nas_ray.errors import ModelError
from nas_ray.modeling import NasRayModel
from nas_ray.student._masked_lm import has_head, masked_lm_class
from nas_ray.student._record import StudentCard, read_card
from nas_ray.teacher import first_line, quiet

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_TYPES: dict[str, Any] = {"nas_ray": NasRayModel, "bert": BertModel}


@dataclass(frozen=True)
class Student:
    """A trained student as its folder has it."""

    folder: Path
    whole: Any
    """What was trained, with its masked-LM head if it has one, in fp32 and evaluation mode."""
    tokenizer: Any
    card: StudentCard

    @property
    def model(self) -> Any:
        """The encoder: a ``NasRayModel``, or a ``BertModel`` without a pooler."""
        return self.whole.base_model

    @property
    def num_positions(self) -> int:
        """The longest text, in tokens."""
        return int(self.model.config.max_position_embeddings)


def read_student(folder: Path) -> Student:
    """The student in ``folder``, every part of it checked.

    Raises:
        ModelError: it is no such folder, a file is missing or damaged, or the parts do not belong together.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise ModelError(f"{folder}: {what}; accepted: the folder of a student, as `nas-ray retrain` writes it.")
    card = read_card(folder)
    whole = load_student(folder)
    return Student(folder, whole, read_tokenizer(folder, int(whole.config.vocab_size)), card)


def load_student(folder: Path) -> Any:
    """The model in ``folder`` alone, of the class that its configuration names: an encoder, or one with its
    masked-LM head.

    Raises:
        ModelError: configuration or weights are missing or damaged, or do not fit each other.
    """
    config = _config(folder)
    kind = _TYPES.get(found := str(config.get("model_type", "")))
    if kind is None:
        raise ModelError(f"{folder}/config.json: a '{found}' model; accepted: {', '.join(_TYPES)}.")
    if has_head(config.get("architectures")):
        kind = masked_lm_class(found)
    check_weights(folder)
    extra = {"add_pooling_layer": False} if kind is BertModel else {}
    try:
        with quiet():
            model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **extra)
    except Exception as error:  # safetensors, torch and transformers each raise their own
        raise ModelError(
            f"{folder}: config.json and model.safetensors cannot be loaded together: {first_line(error)}; retrain the "
            "student."
        ) from error
    if missing := sorted(report["missing_keys"]):  # transformers would fill them with random numbers
        raise ModelError(
            f"{folder}/model.safetensors: lacks {len(missing)} tensors of the model in config.json, the first "
            f"'{missing[0]}'; accepted: the files that one training wrote together."
        )
    return model.eval().requires_grad_(False)


def check_weights(folder: Path) -> None:
    """Refuse a weights file that is missing or was cut short; its numbers are not read.

    Raises:
        ModelError: it is.
    """
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ModelError(f"{folder}: the folder holds no model.safetensors; retrain the student.")
    try:
        with safe_open(file, framework="pt"):
            pass
    except Exception as error:  # the Rust library raises its own
        raise ModelError(f"{file}: damaged: {first_line(error)}; retrain the student.") from error


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: the folder holds no config.json; retrain the student.") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({error}); retrain the student.") from error
    return found if isinstance(found, dict) else {}


def read_tokenizer(folder: Path, vocab_size: int) -> Any:
    """The tokenizer in ``folder``, of a model with ``vocab_size`` word vectors.

    Raises:
        ModelError: it is missing, damaged, or not that of the model.
    """
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder}: the folder holds no tokenizer.json; copy the teacher's tokenizer into it.")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
            largest = max(tokenizer.get_vocab().values())
    except Exception as error:  # the Rust library raises bare exceptions
        raise ModelError(f"{folder}: the tokenizer cannot be loaded: {first_line(error)}") from error
    if largest >= vocab_size:
        raise ModelError(
            f"{folder}: the tokenizer has a token of id {largest}, the model has {vocab_size} word vectors; accepted: "
            "the tokenizer that the student was trained with."
        )
    return tokenizer
