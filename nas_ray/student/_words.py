"""Texts with other words in the place of some: what a masked language model would say there, or what lies nearest."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM

from nas_ray.student._task_model import ModelSource
from nas_ray.teacher import TeacherSource, load_weights

ReplacedBy = Literal["masked_lm", "embedding"]

_WORD = re.compile(r"[^\W\d_]{2,}")
_MARKS = ("Ġ", "▁")  # of tokens that begin a word, where it is these that are marked


class WordReplacer:
    """Replaces words that are one token of the model's tokenizer by one of their ``candidates`` likeliest words: by its
    masked-LM head, all chosen words hidden together, or by cosine of its word vectors.

    Raises:
        TeacherError: the model has no masked-LM head where one is asked. ModelError: it cannot be loaded.
    """

    def __init__(self, source: ModelSource, by: ReplacedBy, candidates: int, ratio: float) -> None:
        self.source, self.by, self.candidates, self.ratio = source, by, candidates, ratio
        self.tokenizer = source.tokenizer()
        self._words = _whole_words(self.tokenizer)
        self._known = torch.tensor(sorted(self._words))
        self._near: dict[int, Tensor] = {}
        self._numbers: dict[str, int | None] = {}
        self._model = self._masked_lm() if by == "masked_lm" else source.encoder()

    def changed(self, text: str, rng: np.random.Generator) -> str:
        """``text`` with each known word replaced with probability ``ratio``, and one at least; itself if none is
        known."""
        known = [(match, number) for match in _WORD.finditer(text) if (number := self._number(match[0])) is not None]
        if not known:
            return text
        chosen = [pair for pair, drawn in zip(known, rng.random(len(known)), strict=True) if drawn < self.ratio]
        chosen = chosen or [known[int(rng.integers(len(known)))]]
        near = self.by == "embedding"
        found = [self._nearest(number) for _, number in chosen] if near else self._likeliest(text, chosen)
        parts, at = [], 0
        for (match, _), candidates in zip(chosen, found, strict=True):
            word = self._words[int(candidates[int(rng.integers(len(candidates)))])]
            parts += [text[at : match.start()], word.capitalize() if match[0][0].isupper() else word]
            at = match.end()
        return "".join([*parts, text[at:]])

    def _number(self, word: str) -> int | None:
        """The token that is ``word``, if one is."""
        if word not in self._numbers:
            found = self.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
            self._numbers[word] = int(found[0]) if len(found) == 1 and found[0] in self._words else None
        return self._numbers[word]

    @torch.no_grad()
    def _nearest(self, number: int) -> Tensor:
        """The words nearest to a token, found once."""
        if number not in self._near:
            place = torch.searchsorted(self._known, number)
            cosines = self._vectors @ self._vectors[place]
            self._near[number] = self._best(cosines[None], torch.tensor([number]))[0]
        return self._near[number]

    @torch.no_grad()
    def _likeliest(self, text: str, chosen: list[tuple[re.Match[str], int]]) -> list[Tensor]:
        mask, at, hidden, starts = self.tokenizer.mask_token, 0, "", []
        for match, _ in chosen:
            hidden += text[at : match.start()]
            starts.append(len(hidden))
            hidden, at = hidden + mask, match.end()
        read = self.tokenizer(
            hidden + text[at:], truncation=True, max_length=self.source.num_positions, return_tensors="pt"
        )
        ids = read["input_ids"]
        found = [read.char_to_token(start) for start in starts]  # the text may have such a token of its own
        places = torch.tensor([place for place in found if place is not None], dtype=torch.long)
        scores = self._model(input_ids=ids).logits[0, places][:, self._known]
        numbers = torch.tensor([number for _, number in chosen])
        best = self._best(scores, numbers[: len(places)])
        return [*best, *numbers[len(places) :, None]]  # what is beyond the model's positions stays

    def _best(self, scores: Tensor, numbers: Tensor) -> list[Tensor]:
        """The tokens of highest ``scores`` ``(words, known)`` other than the words themselves."""
        others = scores.masked_fill(self._known == numbers[:, None], float("-inf"))
        return list(self._known[others.topk(min(self.candidates, len(self._known) - 1)).indices])

    @cached_property
    def _vectors(self) -> Tensor:
        """Of the known words."""
        return F.normalize(self._model.get_input_embeddings().weight[self._known], dim=-1)

    def _masked_lm(self) -> Any:
        accepted = "a model with a masked-LM head, such as `nas-ray adapt-teacher` makes, or candidates by embedding"
        source = TeacherSource(self.source.location)
        return load_weights(AutoModelForMaskedLM, source, "masked-LM head", accepted, what="model")


def _whole_words(tokenizer: Any) -> dict[int, str]:
    """Tokens that are words of two letters or more, by number."""
    tokens = dict(enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))))
    marked = any(token[:1] in _MARKS for token in tokens.values())
    found = {number: token[marked:] for number, token in tokens.items() if (token[:1] in _MARKS) == marked}
    special = set(tokenizer.all_special_ids)
    return {number: word for number, word in found.items() if number not in special and _WORD.fullmatch(word)}
