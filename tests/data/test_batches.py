"""Batches: a function of seed and index; disjoint splits; shares, masking, and the cache of packed tokens."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_ray.data import NOT_HIDDEN, SPLITS, Packed, Special, TokenBatches, load_batches, split_of
from nas_ray.errors import TextError
from tests.conftest import sample_documents

SHARES = {"train": 0.7, "calibrate": 0.1, "select": 0.1, "test": 0.1}
LENGTH = 64


@pytest.fixture(scope="session")
def tokenizer(tiny_teacher_dir: Path) -> Any:
    from nas_ray.teacher import load_tokenizer, resolve_teacher

    return load_tokenizer(resolve_teacher(str(tiny_teacher_dir)))


@pytest.fixture(scope="module")
def load(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TokenBatches]:
    cache = tmp_path_factory.mktemp("cache")

    def load(*sources: Any, **changes: Any) -> TokenBatches:
        settings = {
            "tokenizer_key": "tiny",
            "vocab_size": 400,
            "length": LENGTH,
            "shares": SHARES,
            "batch_sequences": 8,
            "mask_probability": 0.0,
            "seed": 0,
            "cache": cache,
        }
        named = [source if isinstance(source, tuple) else (str(source), 1.0, "text") for source in sources]
        return load_batches(named, changes.pop("tokenizer", tokenizer), **{**settings, **changes})

    return load


@pytest.fixture(scope="module")
def batches(load: Callable[..., TokenBatches], tiny_text_file: Path) -> TokenBatches:
    return load(tiny_text_file)


@pytest.fixture(scope="module")
def other_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("other") / "other.txt"
    file.write_text("\n\n".join(sample_documents(80, seed=9)))
    return file


def digest(batches: TokenBatches) -> str:
    found = hashlib.sha256()
    for split in SPLITS:
        for index in (0, 1, batches.num_batches(split) + 1):
            batch = batches.batch(split, index)
            found.update(batch.ids.tobytes() + batch.documents.tobytes())
    return found.hexdigest()


def whole_split(batches: TokenBatches, split: str) -> list[Any]:
    return [batches.batch(split, index) for index in range(batches.num_batches(split))]


# -- splits and order -------------------------------------------------------------------------------------------------


def test_no_two_splits_share_a_document(
    load: Callable[..., TokenBatches], tiny_text_file: Path, other_text: Path
) -> None:
    batches = load(tiny_text_file, other_text)
    seen = {split: {int(d) for b in whole_split(batches, split) for d in np.unique(b.documents)} for split in SPLITS}
    assert all(not seen[a] & seen[b] for a, b in combinations(SPLITS, 2))
    assert all(seen.values())


def test_rows_hold_the_documents_of_their_split(batches: TokenBatches, tiny_text_file: Path, tokenizer: Any) -> None:
    """The tokens of a document number are those of the document, which lies in that split."""
    documents = tiny_text_file.read_text().split("\n\n")
    for split in SPLITS:
        packed = batches.sources[0][split]
        for number in np.unique(packed.documents)[1:-1]:
            assert split_of(documents[number], SHARES, 0) == split
            inner = packed.documents[:, 1:-1] == number
            words = tokenizer(documents[number], add_special_tokens=False)["input_ids"]
            assert packed.ids[:, 1:-1][inner].tolist() == [*words, tokenizer.sep_token_id]


def test_one_epoch_shows_every_row_once(batches: TokenBatches) -> None:
    for epoch in (0, 1):
        count = batches.num_batches("train")
        rows = [tuple(r) for i in range(count) for r in batches.batch("train", epoch * count + i).ids]
        known = [tuple(r) for r in batches.sources[0]["train"].ids.astype(np.int64)]
        assert len(set(rows)) == len(rows) == count * 8
        assert len(known) - 8 < len(rows) <= len(known)
        assert set(rows) <= set(known)


def test_epochs_differ(batches: TokenBatches) -> None:
    count = batches.num_batches("train")
    assert not np.array_equal(batches.batch("train", 0).ids, batches.batch("train", count).ids)


def test_shapes(batches: TokenBatches) -> None:
    batch = batches.batch("select", 0)
    assert batch.ids.shape == batch.documents.shape == (8, LENGTH)
    assert (batch.ids.dtype, batch.documents.dtype, batch.mask) == (np.int64, np.int32, None)
    assert (batch.ids[:, 0] == 2).all()
    assert (batch.ids[:, -1] == 3).all()


def test_seed_decides(load: Callable[..., TokenBatches], batches: TokenBatches, tiny_text_file: Path) -> None:
    assert digest(load(tiny_text_file)) == digest(batches)
    assert digest(load(tiny_text_file, seed=1)) != digest(batches)
    assert not np.array_equal(batches.batch("train", 0).ids, batches.batch("train", 1).ids)


# -- shares -----------------------------------------------------------------------------------------------------------


def source(rows: int, start: int) -> dict[str, Packed]:
    ids = np.arange(start, start + rows, dtype=np.int32)[:, None].repeat(4, axis=1)
    return {split: Packed(ids, np.arange(rows, dtype=np.int32)[:, None].repeat(4, axis=1)) for split in SPLITS}


def made_up(sizes: dict[int, float], batch: int = 10) -> TokenBatches:
    sources = tuple(source(rows, 10_000 * i) for i, rows in enumerate(sizes))
    return TokenBatches(sources, tuple(sizes.values()), batch, Special(4, 0, frozenset({0, 1, 2, 3, 4}), 100), seed=3)


@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.25, 0.75), (3.0, 1.0), (0.9, 0.1)])
def test_shares_of_sources(shares: tuple[float, float]) -> None:
    batches = made_up({1000: shares[0], 400: shares[1]})
    rows = np.concatenate([batch.ids[:, 0] for batch in whole_split(batches, "train")])
    assert len(set(rows.tolist())) == len(rows)
    assert abs((rows < 10_000).mean() - shares[0] / sum(shares)) < 0.02
    total = min(1000 / shares[0], 400 / shares[1]) * sum(shares)
    assert abs(len(rows) - total) <= 10 + 2


def test_documents_of_two_sources_have_different_numbers() -> None:
    batches = made_up({100: 1.0, 101: 1.0})
    for batch in whole_split(batches, "test"):
        of_second = batch.ids[:, 0] >= 10_000
        assert (batch.documents[of_second] % 2 == 1).all()
        assert (batch.documents[~of_second] % 2 == 0).all()


def test_a_text_shorter_than_a_batch_repeats() -> None:
    batches = made_up({3: 1.0}, batch=8)
    assert batches.num_batches("train") == 1
    assert sorted(np.unique(batches.batch("train", 0).ids)) == [0, 1, 2]
    assert batches.batch("train", 5).ids.shape == (8, 4)


# -- masking ----------------------------------------------------------------------------------------------------------


def test_masking(
    load: Callable[..., TokenBatches], batches: TokenBatches, tiny_text_file: Path, tokenizer: Any
) -> None:
    masked = load(tiny_text_file, mask_probability=0.15)
    special = np.array(tokenizer.all_special_ids)
    indices = range(masked.num_batches("train"))
    before = np.stack([batches.batch("train", i).ids for i in indices])
    after = np.stack([masked.batch("train", i).ids for i in indices])
    is_special = np.isin(before, special)
    assert (before[is_special] == after[is_special]).all()
    words = (~is_special).sum()
    assert words > 50_000
    hidden = after == tokenizer.mask_token_id
    replaced = (after != before) & ~hidden
    assert not np.isin(after[replaced], special).any()
    assert abs(hidden.sum() / words - 0.15 * 0.8) < 0.005
    assert abs(replaced.sum() / words - 0.15 * 0.1) < 0.002  # the last tenth is kept
    assert len(np.unique(after[replaced])) > 250  # random words, not some
    labels = np.stack([masked.batch("train", i).labels for i in indices])
    told = labels != NOT_HIDDEN
    assert (labels[told] == before[told]).all()
    assert (told | (after == before)).all()  # whatever was changed has a label
    assert abs(told.sum() / words - 0.15) < 0.005
    assert batches.batch("train", 0).labels is None


def test_masks_are_drawn_anew_every_epoch_but_not_every_call(
    load: Callable[..., TokenBatches], tiny_text_file: Path
) -> None:
    masked = load(tiny_text_file, mask_probability=0.3)
    again = load(tiny_text_file, mask_probability=0.3)
    assert np.array_equal(masked.batch("train", 3).ids, again.batch("train", 3).ids)
    where = [masked.batch("train", i).ids == 4 for i in (0, 1, masked.num_batches("train"))]
    assert not np.array_equal(where[0], where[1])
    assert not np.array_equal(where[0], where[2])


def test_masking_needs_a_mask_token(load: Callable[..., TokenBatches], tokenizer: Any, tiny_text_file: Path) -> None:
    from copy import deepcopy

    without = deepcopy(tokenizer)
    without.mask_token = None
    with pytest.raises(TextError, match="no mask token; accepted: inputs: plain"):
        load(tiny_text_file, tokenizer=without, mask_probability=0.15)
    assert load(tiny_text_file, tokenizer=without).num_batches("train") > 0


def test_padding_is_masked_out(load: Callable[..., TokenBatches], other_text: Path) -> None:
    """Rows longer than a split's whole text: the padded rest is neither hidden nor counted as a document."""
    batches = load(other_text, length=100_000, mask_probability=0.5, batch_sequences=1)
    batch = batches.batch("test", 0)
    assert batch.mask is not None
    text = int(batch.mask.sum())
    assert batch.mask[0, :text].all()
    assert (batch.ids[~batch.mask] == 0).all()
    assert (batch.documents[~batch.mask] == -1).all()
    assert (batch.documents[batch.mask] >= 0).all()


# -- too little, or nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_too_little_text(load: Callable[..., TokenBatches], tmp_path: Path, count: int) -> None:
    (tmp_path / "short.txt").write_text("\n\n".join(sample_documents(count)))
    match = (
        rf"short.txt: the text has {count} documents, none of which fell into .*; accepted: more text .* other shares"
    )
    with pytest.raises(TextError, match=match):
        load(tmp_path / "short.txt")


def test_dataset_without_text(load: Callable[..., TokenBatches], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": " "}\n{"text": ""}\n')
    with pytest.raises(TextError, match="holds no text"):
        load(f"dataset:{tmp_path / 'rows.jsonl'}")


def test_every_source_is_named_in_its_error(load: Callable[..., TokenBatches], tiny_text_file: Path) -> None:
    with pytest.raises(TextError, match=r"no-such-file\.txt: no such file"):
        load(tiny_text_file, "no-such-file.txt")


# -- cache ------------------------------------------------------------------------------------------------------------


class Counting:
    """A tokenizer that counts the texts it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.texts = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, texts: list[str], **options: Any) -> Any:
        self.texts += len(texts)
        return self._tokenizer(texts, **options)


def test_the_second_load_does_not_tokenise(
    load: Callable[..., TokenBatches], tokenizer: Any, other_text: Path, tmp_path: Path
) -> None:
    counting = Counting(tokenizer)
    first = load(other_text, tokenizer=counting, cache=tmp_path)
    assert counting.texts == 80
    again = load(other_text, tokenizer=counting, cache=tmp_path, batch_sequences=4, mask_probability=0.15)
    assert counting.texts == 80
    assert digest(load(other_text, tokenizer=counting, cache=tmp_path)) == digest(first)
    assert np.array_equal(again.sources[0]["train"].ids, first.sources[0]["train"].ids)
    assert len(list((tmp_path / "text").iterdir())) == 1
    for changes in (
        {"seed": 1},
        {"length": 32},
        {"tokenizer_key": "b"},
        {"shares": {**SHARES, "train": 0.6, "test": 0.2}},
    ):
        before = counting.texts
        load(other_text, tokenizer=counting, cache=tmp_path, **changes)
        assert counting.texts == before + 80


def test_changed_text_is_packed_anew(load: Callable[..., TokenBatches], other_text: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text(other_text.read_text())
    first = digest(load(file))
    file.write_text(other_text.read_text().replace("ship", "bell"))
    assert digest(load(file)) != first


@pytest.mark.parametrize("damage", ["empty file", "missing file", "no index", "another index"])
def test_a_damaged_cache_is_made_again(
    load: Callable[..., TokenBatches], other_text: Path, tmp_path: Path, damage: str
) -> None:
    first = digest(load(other_text, cache=tmp_path))
    (folder,) = (tmp_path / "text").iterdir()
    match damage:
        case "empty file":
            (folder / "select.ids").write_bytes(b"")
        case "missing file":
            (folder / "select.ids").unlink()
        case "no index":
            (folder / "index.json").unlink()
        case _:
            (folder / "index.json").write_text("{}")
    assert digest(load(other_text, cache=tmp_path)) == first


def test_a_failed_build_leaves_nothing(
    load: Callable[..., TokenBatches], other_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_ray.data import _pack

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_pack, "sync", full)
        with pytest.raises(OSError, match="No space"):
            load(other_text, cache=tmp_path)
    assert not list((tmp_path / "text").iterdir())
    assert load(other_text, cache=tmp_path).num_batches("train") > 0


OTHER_PROCESS = """
import sys
from pathlib import Path
from nas_ray.data import load_batches
from nas_ray.teacher import load_tokenizer, resolve_teacher
from tests.data.test_batches import LENGTH, SHARES, digest

text, teacher, cache = sys.argv[1:]
tokenizer = load_tokenizer(resolve_teacher(teacher))
print("ready", flush=True)
sys.stdin.readline()
batches = load_batches([(text, 1.0, "text")], tokenizer, tokenizer_key="tiny", vocab_size=400, length=LENGTH,
                       shares=SHARES, batch_sequences=8, mask_probability=0.15, seed=0, cache=Path(cache))
print(digest(batches))
"""


def test_two_processes_at_once(
    load: Callable[..., TokenBatches], tiny_text_file: Path, tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    """Both build into an empty cache; both see the batches that this process sees; one folder remains."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(tiny_text_file), str(tiny_teacher_dir), str(tmp_path)]
    root = Path(__file__).parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": root}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in both:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in both:  # started together, once both have imported everything
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=400) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {digest(load(tiny_text_file, mask_probability=0.15))}
    assert len(list((tmp_path / "text").iterdir())) == 1
