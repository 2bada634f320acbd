"""What is no teacher is refused, with a reason and a way out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas_ray.teacher
from nas_ray.errors import TeacherError
from nas_ray.teacher import (
    FAMILIES,
    TeacherSource,
    check_blocks,
    load_model,
    load_teacher,
    load_tokenizer,
    resolve_teacher,
)
from tests.conftest import save_model

Make = Callable[..., Path]


@pytest.fixture
def folder(make_teacher: Make, tmp_path: Path) -> Path:
    """A copy of a teacher that a test may spoil."""
    return Path(shutil.copytree(make_teacher("bert"), tmp_path / "teacher"))


@pytest.fixture
def whole(tiny_teacher_dir: Path, tmp_path: Path) -> Path:
    """The same, with a tokenizer."""
    return Path(shutil.copytree(tiny_teacher_dir, tmp_path / "teacher"))


def change(folder: Path, **changes: Any) -> str:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return str(folder)


def refused(match: str, load: Callable[[], object]) -> str:
    with pytest.raises(TeacherError, match=match) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_decoder(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    save_model(GPT2Model, GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=8), tmp_path)
    message = refused("is a 'gpt2' model; accepted: encoders", lambda: resolve_teacher(str(tmp_path)))
    assert all(family in message for family in FAMILIES)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"is_decoder": True}, "is a decoder"),
        ({"is_encoder_decoder": True}, "is a decoder"),
        ({"hidden_act": "relu"}, "activation is 'relu'; accepted: gelu"),
        ({"position_embedding_type": "relative_key"}, "relative_key position embeddings; accepted: absolute"),
        ({"model_type": "no-such-model"}, "is a 'no-such-model' model; accepted"),
        ({"model_type": None}, "accepted: encoders"),
        ({"vocab_size": "many"}, "cannot be loaded"),
    ],
)
def test_refused_by_its_configuration(folder: Path, changes: dict[str, Any], match: str) -> None:
    refused(match, lambda: resolve_teacher(change(folder, **changes)))


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "\x00\xff"])
def test_broken_configuration(folder: Path, content: str) -> None:
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    refused("cannot be read as JSON|is a '' model", lambda: resolve_teacher(str(folder)))


def test_missing_folder(tmp_path: Path) -> None:
    for name in (str(tmp_path / "none"), "./none", "~/no such folder", "a/b/c"):
        refused(
            "no such folder; accepted: a folder that save_pretrained wrote", lambda name=name: resolve_teacher(name)
        )


def test_folder_without_a_model(tmp_path: Path) -> None:
    refused("holds no config.json; accepted", lambda: resolve_teacher(str(tmp_path)))


def test_a_file_is_no_teacher(folder: Path) -> None:
    refused("a file; accepted: the folder", lambda: resolve_teacher(str(folder / "config.json")))


def test_hub_name_without_a_network() -> None:
    refused("cannot be loaded: .* Accepted: a local folder", lambda: resolve_teacher("nobody/no-such-model"))


def test_asset_of_another_kind() -> None:
    refused("the asset 'gutenberg' is no teacher", lambda: resolve_teacher("gutenberg"))


@pytest.mark.parametrize(("num_blocks", "fine"), [(1, True), (2, True), (3, False), (4, True), (5, False), (8, False)])
def test_blocks(folder: Path, num_blocks: int, fine: bool) -> None:
    source = resolve_teacher(str(folder))
    if fine:
        check_blocks(source.config.num_hidden_layers, num_blocks)
        return
    for check in (
        lambda: check_blocks(source.config.num_hidden_layers, num_blocks),
        lambda: load_teacher(source, num_blocks),
    ):
        refused(f"has 4 layers, .* into {num_blocks} equal blocks; accepted: a space with 1, 2, 4 blocks", check)


# -- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"no weights", bytes(1000)])
def test_unreadable_weights(folder: Path, content: bytes | None) -> None:
    file = folder / "model.safetensors"
    file.unlink() if content is None else file.write_bytes(content)
    refused("the weights of teacher '.*' cannot be loaded: .", lambda: load_model(resolve_teacher(str(folder))))


def test_truncated_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused("cannot be loaded", lambda: load_teacher(resolve_teacher(str(folder)), 2))


def test_broken_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"no weights")
    refused("cannot be loaded", lambda: load_model(resolve_teacher(str(folder))))


def test_weights_of_another_size(folder: Path) -> None:
    refused("cannot be loaded", lambda: load_model(resolve_teacher(change(folder, intermediate_size=64))))


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    source = resolve_teacher(change(folder, num_hidden_layers=6))
    refused(r"lack 32 tensors of the encoder, the first 'encoder\.layer\.4", lambda: load_model(source))


# -- tokenizers -------------------------------------------------------------------------------------------------------


def test_tokenizer(tiny_teacher_dir: Path) -> None:
    tokenizer = load_tokenizer(resolve_teacher(str(tiny_teacher_dir)))
    assert tokenizer.is_fast
    assert tokenizer.backend_tokenizer.to_str()
    ids = tokenizer("The ship found a harbour.")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.unk_token_id not in ids


def test_folder_without_tokenizer(folder: Path) -> None:
    refused("the folder holds no tokenizer; accepted", lambda: load_tokenizer(resolve_teacher(str(folder))))


@pytest.mark.parametrize("content", ["", "{", "{}", "no tokenizer"])
def test_broken_tokenizer(whole: Path, content: str) -> None:
    (whole / "tokenizer.json").write_text(content)
    refused("tokenizer of teacher '.*' cannot be loaded: .", lambda: load_tokenizer(resolve_teacher(str(whole))))


def test_tokenizer_larger_than_the_vocabulary(whole: Path) -> None:
    source = TeacherSource(change(whole, vocab_size=100))
    refused("has 400 tokens, the model 100; accepted: the tokenizer that", lambda: load_tokenizer(source))


def test_tokenizer_without_ends(whole: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (file := whole / name).exists():
            data = json.loads(file.read_text())
            file.write_text(
                json.dumps({key: value for key, value in data.items() if key not in ("cls_token", "sep_token")})
            )
    refused("has no .CLS. or .SEP. token", lambda: load_tokenizer(resolve_teacher(str(whole))))


def test_a_vocabulary_alone_makes_a_tokenizer(whole: Path) -> None:
    words = sorted(load_tokenizer(TeacherSource(str(whole))).get_vocab().items(), key=lambda item: item[1])
    (whole / "tokenizer.json").unlink()
    (whole / "tokenizer_config.json").unlink()
    (whole / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words))
    tokenizer = load_tokenizer(resolve_teacher(str(whole)))
    assert len(tokenizer) == 400
    assert tokenizer.unk_token_id not in tokenizer("the ship")["input_ids"]


# -- the package ------------------------------------------------------------------------------------------------------


def test_checking_needs_no_torch() -> None:
    code = "import sys, nas_ray.teacher; nas_ray.teacher.check_blocks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_public_name_is_there() -> None:
    assert sorted(nas_ray.teacher.__all__) == list(nas_ray.teacher.__all__)
    for name in nas_ray.teacher.__all__:
        assert getattr(nas_ray.teacher, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'loud_teacher'"):
        _ = nas_ray.teacher.loud_teacher
