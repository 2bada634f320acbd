"""Files of all benchmarks, and tokenizers of BERT's and of RoBERTa's kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import sample_documents, train_tokenizer
from tests.tasks.benchmark_files import write_all


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of every benchmark, in its own layout."""
    return write_all(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture(scope="session")
def bert_tokenizer() -> Any:
    """Word pieces, with type ids."""
    tokenizer = train_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


@pytest.fixture(scope="session")
def roberta_tokenizer() -> Any:
    """Byte-level BPE, two tokens between the texts of a pair, no type ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(sample_documents(40, seed=1), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
