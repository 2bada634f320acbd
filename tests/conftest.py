"""What every folder of tests may use: an isolated environment, a tiny teacher, a tiny text, a tiny space."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from nas_ray.space import OperationChoice, PathSpace

# Before torch and the Hugging Face libraries are first imported, here or in a process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Ray nices its workers by 15: beside the other tests they would starve.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so

# A busy machine is no failure, and the examples found stay out of the checkout.
settings.register_profile("nas_ray", deadline=None, max_examples=50, database=None, derandomize=True)
settings.load_profile("nas_ray")

_NUM_DOCUMENTS = 320
_TOPICS = {
    "harbour": "ship sailor harbour anchor rope captain wave lantern cargo island tide net gull storm mast deck",
    "kitchen": "bread oven kettle spoon flour honey butter soup table cup plate onion pepper salt basket apple",
    "forest": "tree leaf river stone fox owl path moss branch shadow deer root hill wind feather nest",
    "market": "coin merchant cloth price stall bargain silk wagon barrel scale crowd street ribbon glass lamp clock",
    "school": "teacher pupil lesson book chalk letter number question answer window bell garden desk page story map",
    "machine": "engine wheel gear spring lever steam valve pipe piston belt furnace signal wire switch motor crane",
}
_VERBS = (
    "carried found watched lost painted sold mended counted followed hid opened lifted remembered broke cleaned left"
)
_ADJECTIVES = "old bright heavy quiet narrow cold gentle broken green distant small patient golden empty sharp strange"
_ADVERBS = "slowly again quietly together early twice carefully suddenly often alone"
_PLACES = "near under behind beside above across"


@pytest.fixture(scope="session", autouse=True)
def _isolated_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of this session's own, unless the environment names one."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("NAS_RAY_CACHE", "HF_HOME"):
            if not os.environ.get(variable):
                patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Torch, where something has loaded it, computes on one thread."""
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English-like text: 320 documents of a little over 2,000 characters between blank lines."""
    file = tmp_path_factory.mktemp("text") / "tiny.txt"
    file.write_text("\n\n".join(sample_documents(_NUM_DOCUMENTS)), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def tiny_teacher_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with its fast tokenizer: 4 layers, hidden 64, 4 heads of 16, intermediate 256, 128 positions."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("teacher") / "tiny-bert"
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
    save_model(BertModel, config, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_space() -> PathSpace:
    """Two blocks of up to three layers for the tiny teacher: 2 widths x (4 + 4^2 + 4^3) = 168 paths a block."""
    return PathSpace(
        name="tiny",
        num_blocks=2,
        num_layers=3,
        widths=(32, 64),
        head_size=16,
        choices=(
            OperationChoice("attention"),
            OperationChoice("feed_forward", ratio=1),
            OperationChoice("feed_forward", ratio=4),
            OperationChoice("separable_conv", kernel=3),
        ),
        embedding_sizes=(32, 64),
    )


def sample_documents(count: int, seed: int = 0) -> list[str]:
    """Generated documents, each about one topic; all different."""
    rng = random.Random(seed)
    return [_document(rng) for _ in range(count)]


def _document(rng: random.Random) -> str:
    nouns = _TOPICS[rng.choice(sorted(_TOPICS))].split()
    sentences: list[str] = []
    while sum(map(len, sentences)) + len(sentences) <= 2000:
        sentences.append(_sentence(rng, nouns))
    return " ".join(sentences)


def _sentence(rng: random.Random, nouns: list[str]) -> str:
    def thing() -> str:
        adjective = f"{rng.choice(_ADJECTIVES.split())} " if rng.random() < 0.5 else ""
        return f"the {adjective}{rng.choice(nouns)}"

    words = f"{thing()} {rng.choice(_VERBS.split())} {thing()}"
    if rng.random() < 0.6:
        words += f" {rng.choice(_PLACES.split())} {thing()}"
    if rng.random() < 0.4:
        words += f" {rng.choice(_ADVERBS.split())}"
    if rng.random() < 0.3:
        words += f", and {thing()} {rng.choice(_VERBS.split())} {thing()}"
    return words.capitalize() + "."


def train_tokenizer():  # type: ignore[no-untyped-def]
    """A fast WordPiece tokenizer of at most 400 tokens, trained on generated text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(special.values()), show_progress=False)
    tokenizer.train_from_iterator(sample_documents(40, seed=1), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    names = {f"{key}_token": token for key, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **names)


def save_model(model_class, config, folder: Path, seed: int = 0) -> None:  # type: ignore[no-untyped-def]
    """A randomly initialised model in ``folder``."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model_class(config).save_pretrained(folder)
