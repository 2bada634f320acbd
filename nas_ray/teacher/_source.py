"""Where a teacher comes from, and whether it is one; reads the configuration only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

from nas_ray import assets
from nas_ray.errors import TeacherError
from nas_ray.space import TeacherShape

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
FAMILIES = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
_OFFSET_POSITIONS = ("camembert", "roberta", "xlm-roberta")  # the first text position lies behind the padding id


@dataclass(frozen=True)
class TeacherSource:
    """A local folder, or the name of a model on the hub."""

    location: str

    @property
    def config(self) -> Any:
        """The teacher's configuration, checked to be that of a BERT-like encoder."""
        return _config(self.location)


def resolve_teacher(name: str, progress: Callable[[str], None] | None = None) -> TeacherSource:
    """The teacher that ``name`` means: an asset, a local folder, or a model-hub name, in this order.

    Raises:
        TeacherError: the folder is missing or holds no model, or the model is no encoder.
        AssetError: the asset cannot be fetched.
    """
    if name in assets.CATALOGUE:
        if assets.CATALOGUE[name].kind != "teacher":
            raise TeacherError(f"the asset '{name}' is no teacher; run `nas-ray assets list` for those that are.")
        source = TeacherSource(str(assets.fetch(name, progress=progress)))
    else:
        source = TeacherSource(_local(name))
    _ = source.config
    return source


def _local(name: str) -> str:
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TeacherError(
                f"{name or '.'}: the folder holds no config.json; accepted: a folder that save_pretrained wrote."
            )
        return str(folder)
    if folder.is_file():
        raise TeacherError(f"{name}: a file; accepted: the folder that save_pretrained wrote.")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise TeacherError(
            f"{name}: no such folder; accepted: a folder that save_pretrained wrote, a model-hub name, "
            "or an asset (`nas-ray assets list`)."
        )
    return name


def _config(location: str) -> Any:
    from transformers import AutoConfig

    file = Path(location) / "config.json"
    if file.is_file():  # a clear answer before transformers meets an unknown model type
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TeacherError(f"{file}: cannot be read as JSON ({error}).") from error
        _check_family(location, str(found.get("model_type", "")) if isinstance(found, dict) else "")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(location)
    except Exception as error:  # transformers raises whatever a wrong field or a broken connection makes it raise
        raise TeacherError(
            f"teacher '{location}' cannot be loaded: {first_line(error)} Accepted: a local folder, a model-hub name "
            f"that can be reached, or an asset (`nas-ray assets list`).{_near(location)}"
        ) from error
    _check_family(location, config.model_type)
    if getattr(config, "is_decoder", False) or getattr(config, "is_encoder_decoder", False):
        raise TeacherError(f"teacher '{location}' is a decoder (is_decoder in its config); accepted: encoders.")
    if (positions := getattr(config, "position_embedding_type", "absolute")) != "absolute":
        raise TeacherError(f"teacher '{location}' has {positions} position embeddings; accepted: absolute ones.")
    _ = activation(config)
    return config


def _near(name: str) -> str:
    teachers = [asset.name for asset in assets.CATALOGUE.values() if asset.kind == "teacher"]
    near = get_close_matches(name, teachers, 1)
    return f" Did you mean '{near[0]}'?" if near else ""


def activation(config: Any) -> str:
    """GELU's ``approximate`` argument for this teacher.

    Raises:
        TeacherError: its activation is not GELU.
    """
    name = getattr(config, "hidden_act", None) or config.activation
    if name not in ACTIVATIONS:
        raise TeacherError(f"the teacher's activation is '{name}'; accepted: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def _check_family(location: str, model_type: str) -> None:
    if model_type not in FAMILIES:
        raise TeacherError(
            f"teacher '{location}' is a '{model_type}' model; accepted: encoders of the families "
            f"{', '.join(FAMILIES)}. Decoders and other models cannot be cut into encoder blocks."
        )


def check_blocks(num_layers: int, num_blocks: int) -> None:
    """Refuse a teacher whose layers do not divide into ``num_blocks``.

    Raises:
        TeacherError: they do not.
    """
    if num_layers % num_blocks:
        divisors = ", ".join(str(n) for n in range(1, num_layers + 1) if num_layers % n == 0)
        raise TeacherError(
            f"the teacher has {num_layers} layers, which do not divide into {num_blocks} equal blocks; "
            f"accepted: a space with {divisors} blocks."
        )


def has_masked_lm_head(config: Any) -> bool:
    """Whether the checkpoint was saved with a masked-LM head."""
    return any(
        name.endswith("ForMaskedLM") or (name.endswith("ForPreTraining") and not name.startswith("Electra"))
        for name in config.architectures or ()
    )


def teacher_shape(config: Any) -> TeacherShape:
    """The sizes of an encoder from its configuration; parameters in closed form, without a pooler.

    ``num_positions`` are the positions that a text can take; ``embedding_params`` counts all rows of the table.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or config.hidden_dim
    size = getattr(config, "embedding_size", hidden) if config.model_type == "electra" else hidden
    types = 0 if config.model_type == "distilbert" else config.type_vocab_size
    embedding = (config.vocab_size + config.max_position_embeddings + types + 2) * size
    if size != hidden:
        embedding += size * hidden + hidden
    first = config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden
    return TeacherShape(
        hidden=hidden,
        num_layers=layers,
        heads=config.num_attention_heads,
        intermediate=inner,
        vocab_size=config.vocab_size,
        num_positions=config.max_position_embeddings - first,
        embedding_params=embedding,
        encoder_params=layers * layer,
    )


def load_tokenizer(source: TeacherSource) -> Any:
    """The teacher's fast tokenizer.

    Raises:
        TeacherError: it is missing, or lacks the tokens that stand at the ends of a sequence.
    """
    from transformers import AutoTokenizer

    _check_tokenizer_files(source.location)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source.location, use_fast=True)
    except Exception as error:  # the Rust library raises bare exceptions
        raise TeacherError(
            f"the tokenizer of teacher '{source.location}' cannot be loaded: {first_line(error)}"
        ) from error
    if not tokenizer.is_fast:
        raise TeacherError(
            f"the tokenizer of teacher '{source.location}' has no fast form; accepted: a folder with tokenizer.json."
        )
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise TeacherError(f"the tokenizer of teacher '{source.location}' has no [CLS] or [SEP] token.")
    vocab_size = source.config.vocab_size
    if len(tokenizer) > vocab_size:
        raise TeacherError(
            f"the tokenizer of teacher '{source.location}' has {len(tokenizer)} tokens, the model {vocab_size}; "
            "accepted: the tokenizer that belongs to the model."
        )
    return tokenizer


def _check_tokenizer_files(location: str) -> None:
    """Refuse a folder without a tokenizer: transformers would make one that knows no word."""
    accepted = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")
    if Path(location).is_dir() and not any((Path(location) / name).is_file() for name in accepted):
        raise TeacherError(f"{location}: the folder holds no tokenizer; accepted: one of {', '.join(accepted)}.")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """transformers and its hub show neither progress bars nor notices inside; settings are restored behind."""
    from transformers.utils import logging

    hub = getLogger("huggingface_hub")  # tells of every attempt to reach it
    verbosity, bars, level = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.level
    logging.set_verbosity(ERROR)
    hub.setLevel(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub.setLevel(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
