"""Students as sentence encoders: the mean over a text's tokens, at length 1 where the teacher's vectors are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.errors import AssetError, TeacherError
from nas_ray.modeling import mean_pooled
from nas_ray.student import StudentCard
from nas_ray.teacher import TeacherSource, has_normalised_sentences, resolve_teacher


@dataclass(frozen=True)
class Sentences:
    """How a text becomes one vector."""

    normalise: bool
    max_tokens: int
    why: str


def sentences_of(card: StudentCard, source: TeacherSource | None, num_positions: int, tokenizer: Any) -> Sentences:
    """The student's pooling: always the mean, normalised as the teacher's vectors were when it was retrained; else as
    they are now, if the teacher is still there (``source``) and says so."""
    longest = min(num_positions, int(tokenizer.model_max_length))
    if card.normalised is None and source is None:
        return Sentences(False, longest, "its teacher is not here to be asked")
    known = card.normalised
    if known is None and source is not None:
        known = has_normalised_sentences(card.teacher, source)
    if known is None:
        return Sentences(False, longest, "its teacher names no sentence modules")
    return Sentences(known, longest, "as its teacher's modules say")


def find_teacher(name: str) -> TeacherSource:
    """The teacher of that name.

    Raises:
        TeacherError: it cannot be found here any more.
    """
    try:
        return resolve_teacher(name)
    except AssetError as error:
        raise TeacherError(str(error)) from error


def write_sentence_files(folder: Path, hidden: int, sentences: Sentences) -> None:
    """What sentence-transformers reads beside the model, in the form that all its versions since 2 understand."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if sentences.normalise else [])]
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": "" if at == 0 else f"{at}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for at, kind in enumerate(kinds)
    ]
    for module in modules[1:]:
        (folder / str(module["path"])).mkdir()
    _write(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling/config.json", {**pooling, "pooling_mode_max_tokens": False})
    if sentences.normalise:
        _write(folder / "2_Normalize/config.json", {})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": sentences.max_tokens, "do_lower_case": False})
    _write(
        folder / "config_sentence_transformers.json",
        {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )


def _write(file: Path, found: object) -> None:
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


class Encoder(nn.Module):
    """Ids and mask ``(batch, tokens)`` to hidden states ``(batch, tokens, hidden)``, and to one vector a text
    ``(batch, hidden)`` where ``sentences`` says how."""

    def __init__(self, model: nn.Module, sentences: Sentences | None) -> None:
        super().__init__()
        self.inputs: tuple[str, ...] = ("input_ids", "attention_mask")
        self.outputs: tuple[str, ...] = ("last_hidden_state", *(["sentence_embedding"] if sentences else []))
        self.encoder = model
        self.sentences = sentences
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.sentences is None:
            return (hidden,)
        vectors = mean_pooled(hidden, attention_mask)
        return hidden, F.normalize(vectors, dim=-1) if self.sentences.normalise else vectors
