"""Words in the place of others: near ones, drawn by seed, never special tokens, letters and the rest kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM

from nas_ray.errors import TeacherError
from nas_ray.student import WordReplacer, find_model
from tests.conftest import save_model, train_tokenizer
from tests.tiny_student import write_student

TEXT = "The old ship, near a HARBOUR: it carried 7 lanterns -- slowly."


def changed(words: WordReplacer, text: str, seed: int) -> str:
    return words.changed(text, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["paths", "uniform"])
def test_nearest_words_take_their_places(kind: str, tiny_teacher_dir: Path, tmp_path: Path) -> None:
    source = find_model(str(write_student(tmp_path / "s", kind, tiny_teacher_dir)))
    words = WordReplacer(source, "embedding", 3, 1.0)
    vectors = F.normalize(source.encoder().get_input_embeddings().weight, dim=-1)
    tokenizer = source.tokenizer()
    known = sorted(words._words)
    number = tokenizer.convert_tokens_to_ids("ship")
    order = [n for n in (vectors[known] @ vectors[number]).argsort(descending=True).tolist() if known[n] != number]
    near = {tokenizer.convert_ids_to_tokens(known[n]) for n in order[:3]}
    assert {changed(words, "ship", seed) for seed in range(40)} == near
    found = changed(words, TEXT, 0)
    assert found[found.index(",")] == ","
    assert " 7 " in found
    assert found[0].isupper()
    assert found != TEXT
    assert changed(words, TEXT, 0) == found
    assert changed(words, TEXT, 1) != found


def test_some_words_by_ratio_and_one_at_least(tiny_teacher_dir: Path) -> None:
    source = find_model(str(tiny_teacher_dir))
    text = " ".join(["ship"] * 200)
    counts = [
        sum(word != "ship" for word in changed(WordReplacer(source, "embedding", 5, ratio), text, 0).split())
        for ratio in (1e-9, 0.3, 1.0)
    ]
    assert counts[0] == 1
    assert 40 <= counts[1] <= 80
    assert counts[2] == 200
    assert changed(WordReplacer(source, "embedding", 5, 1.0), "123 !?", 0) == "123 !?"


def test_a_masked_lm_says_what_may_stand_there(tmp_path: Path, tiny_teacher_dir: Path) -> None:
    tokenizer = train_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=16)  # fmt: skip
    save_model(BertForMaskedLM, config, tmp_path)
    for file in tiny_teacher_dir.glob("*token*.json"):
        shutil.copy(file, tmp_path)
    words = WordReplacer(find_model(str(tmp_path)), "masked_lm", 2, 1e-9)
    model = BertForMaskedLM.from_pretrained(tmp_path).eval()
    ids = tokenizer("the [MASK]", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        scores = model(input_ids=ids).logits[0, 2]
    ship = tokenizer.convert_tokens_to_ids("ship")
    best = sorted((n for n in words._words if n != ship), key=lambda n: -float(scores[n]))[:2]
    found = {changed(words, "the ship", seed) for seed in range(60)}
    assert {text for text in found if text.startswith("the ")} == {f"the {words._words[n]}" for n in best}
    long = " ".join(["ship"] * 40)
    every = WordReplacer(find_model(str(tmp_path)), "masked_lm", 2, 1.0)
    assert changed(every, long, 0).split()[-1] == "ship"  # beyond the model's positions
    own = changed(every, "[MASK] ship", 0).split()  # a text with such a token of its own
    assert (own[0], own[1] == "ship") == ("[MASK]", False)
    with pytest.raises(TeacherError, match=r"lack .* of the masked-LM head.*candidates by embedding"):
        WordReplacer(find_model(str(tiny_teacher_dir)), "masked_lm", 2, 1.0)
