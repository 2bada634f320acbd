"""Encoders with a head for a task: path students by ``nas_ray.modeling``, plain ones by transformers' own classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor

from nas_ray.errors import ModelError
from nas_ray.modeling import NasRayConfig
from nas_ray.student._folder import load_student, read_tokenizer
from nas_ray.teacher import TeacherSource, load_model, load_tokenizer, load_weights, resolve_teacher, teacher_shape

TASK_FILE = "task.json"
"""What the folder of a fine-tuned model says of it, as ``student.json`` of a student."""
HeadKind = Literal["sequence", "regression", "choice", "span", "token"]

_AUTO: dict[HeadKind, str] = {
    "sequence": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "choice": "AutoModelForMultipleChoice",
    "span": "AutoModelForQuestionAnswering",
    "token": "AutoModelForTokenClassification",
}


@dataclass(frozen=True)
class Head:
    """What a task wants of a model; ``classes``: names of what a sequence or a token is sorted into.

    A path student has dropout and one linear layer, behind a dense one with ``extra_layer``, and with ``answerable``
    another that says whether there is an answer. A plain encoder has what its family has in transformers, which for
    sequences and choices is a dense layer more; that there is no answer is said by the first token's scores.
    """

    kind: HeadKind
    classes: tuple[str, ...] = ()
    extra_layer: bool = False
    answerable: bool = False

    @property
    def auto_class(self) -> str:
        """transformers' class that loads such a model."""
        return _AUTO[self.kind]

    @property
    def options(self) -> dict[str, Any]:
        """What its configuration says."""
        if self.kind in ("choice", "span"):
            return {}
        if self.kind == "regression":
            return {"num_labels": 1, "problem_type": "regression"}
        found = {
            "id2label": dict(enumerate(self.classes)),
            "label2id": {name: number for number, name in enumerate(self.classes)},
        }
        return found | ({"problem_type": "single_label_classification"} if self.kind == "sequence" else {})


@dataclass(frozen=True)
class ModelSource:
    """Where an encoder lies: a folder, or the name of a model on the hub."""

    location: str
    is_path: bool
    """Whether it is a path student, else a plain encoder of one of transformers' families."""

    @cached_property
    def config(self) -> Any:
        """Its configuration."""
        return NasRayConfig.from_pretrained(self.location) if self.is_path else TeacherSource(self.location).config

    @property
    def num_positions(self) -> int:
        """The longest text, in tokens."""
        if self.is_path:
            return int(self.config.max_position_embeddings)
        return teacher_shape(self.config).num_positions

    def tokenizer(self) -> Any:
        """Its tokenizer.

        Raises:
            ModelError, TeacherError: it is missing, or not that of the model.
        """
        if self.is_path:
            return read_tokenizer(Path(self.location), int(self.config.vocab_size))
        return load_tokenizer(TeacherSource(self.location))

    def encoder(self) -> Any:
        """The encoder alone, in fp32 and evaluation mode.

        Raises:
            ModelError, TeacherError: its weights cannot be loaded.
        """
        return (
            load_student(Path(self.location)).base_model if self.is_path else load_model(TeacherSource(self.location))
        )

    def load(self, head: Head, seed: int) -> Any:
        """The model with ``head``, all weights trainable, in fp32 and evaluation mode; a head that the files do not
        have, or have in another shape, is a function of ``seed``.

        Raises:
            TeacherError: the weights cannot be loaded, or some of the encoder are missing.
        """
        options = dict(head.options)
        if self.is_path:
            options |= {"classifier_layers": 2} if head.extra_layer else {}
            options |= {"answerable": True} if head.answerable else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = load_weights(
                getattr(transformers, head.auto_class),
                TeacherSource(self.location),
                "encoder",
                "a folder that save_pretrained wrote",
                new_head=True,
                what="model",
                ignore_mismatched_sizes=True,
                **options,
            )
        if hasattr(model.config, "auto_map"):  # an export's: its code does not come along
            del model.config.auto_map
        return model.requires_grad_(True)


def find_model(name: str, progress: Callable[[str], None] | None = None) -> ModelSource:
    """The encoder that ``name`` means: a student's folder, an export, an asset, a folder, or a model-hub name.

    Raises:
        TeacherError: there is none. AssetError: an asset cannot be fetched. ModelError: a folder is damaged.
    """
    folder = Path(name).expanduser()
    if _is_path_student(folder):
        return ModelSource(str(folder), True)
    return ModelSource(resolve_teacher(name, progress).location, False)


def task_logits(model: Any, kind: HeadKind, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
    """Scores of rows ``(rows, tokens)``: ``(rows, classes)`` of a sequence, ``(rows, 1)`` of a rating or an option,
    ``(rows, tokens, 2)`` of an answer's begin and end (3: and at every token that there is one, if a head says so),
    ``(rows, tokens, classes)`` of tokens."""
    found: dict[str, Any] = {"input_ids": ids, "attention_mask": mask.long()}
    if types is not None and getattr(model.config, "type_vocab_size", 0) > 1:
        found["token_type_ids"] = types.long()
    if kind == "choice":  # each option is a row of its own, for examples have different numbers of them
        found = {name: tensor[:, None] for name, tensor in found.items()}
    output = model(**found)
    if kind == "span":
        there = getattr(output, "answerable_logits", None)
        more = [] if there is None else [there[:, None].expand_as(output.start_logits)]
        return torch.stack([output.start_logits, output.end_logits, *more], -1)
    return output.logits  # type: ignore[no-any-return]


def backbone_sizes(model: Any) -> tuple[int, int]:
    """Weights of the encoder of ``model``, and those behind its embedding; no head, no pooler."""
    sizes = {name: p.numel() for name, p in model.base_model.named_parameters() if not name.startswith("pooler.")}
    return sum(sizes.values()), sum(size for name, size in sizes.items() if not name.startswith("embedding"))


def _is_path_student(folder: Path) -> bool:
    file = folder / "config.json"
    if not file.is_file():
        return False
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({error}).") from error
    return isinstance(found, dict) and found.get("model_type") == NasRayConfig.model_type
