"""Splitting and packing: disjoint splits that depend on seed and text alone, and rows in closed form."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_ray.data import SPLITS, Packed, pack, split_of
from nas_ray.data._pack import Packer

SHARES = {"train": 0.8, "calibrate": 0.08, "select": 0.06, "test": 0.06}
WEIGHTS = st.lists(st.integers(1, 50), min_size=4, max_size=4)


def normal(weights: list[int]) -> dict[str, float]:
    return {split: weight / sum(weights) for split, weight in zip(SPLITS, weights, strict=True)}


# -- splits -----------------------------------------------------------------------------------------------------------


@given(documents=st.lists(st.text()), weights=WEIGHTS, seed=st.integers(0, 2**40))
def test_splits_are_disjoint_by_text(documents: list[str], weights: list[int], seed: int) -> None:
    shares = normal(weights)
    texts: dict[str, set[str]] = {split: set() for split in SPLITS}
    for document in documents:
        texts[split_of(document, shares, seed)].add(document)
    assert all(not texts[a] & texts[b] for a, b in combinations(SPLITS, 2))
    assert set().union(*texts.values()) == set(documents)


@given(documents=st.lists(st.text(), min_size=1), more=st.lists(st.text()), seed=st.integers(0, 2**40))
def test_a_corpus_that_grows_keeps_its_splits(documents: list[str], more: list[str], seed: int) -> None:
    """The split is a function of the seed and the text: neither order nor neighbours matter."""
    alone = {document: split_of(document, SHARES, seed) for document in documents}
    together = {document: split_of(document, SHARES, seed) for document in [*more, *reversed(documents)]}
    assert all(together[document] == split for document, split in alone.items())


def test_shares_of_splits() -> None:
    found = [split_of(f"document {n}", SHARES, 3) for n in range(20_000)]
    for split, share in SHARES.items():
        assert abs(found.count(split) / len(found) - share) < 0.01


def test_seeds_cut_differently() -> None:
    documents = [f"document {n}" for n in range(100)]
    assert [split_of(d, SHARES, 0) for d in documents] != [split_of(d, SHARES, 1) for d in documents]


def test_the_same_in_another_process() -> None:
    code = f"from nas_ray.data import split_of\nprint(*(split_of('dócument %d' % n, {SHARES}, 5) for n in range(200)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [split_of(f"dócument {n}", SHARES, 5) for n in range(200)]


# -- rows -------------------------------------------------------------------------------------------------------------

FIRST, LAST = 101, 102
TOKENS = st.lists(st.lists(st.integers(0, 99), max_size=30), min_size=1, max_size=8)


def slow_pack(tokens: list[list[int]], numbers: list[int], length: int) -> Packed:
    stream = [(t, n) for document, n in zip(tokens, numbers, strict=True) for t in [*document, LAST]]
    pieces = [stream[at : at + length - 2] for at in range(0, len(stream), length - 2)]
    if len(pieces) > 1 and len(pieces[-1]) < length - 2:
        pieces.pop()
    ids, documents = [], []
    for piece in pieces:
        fill = [-1] * (length - 2 - len(piece))
        ids.append([FIRST, *(t for t, _ in piece), LAST, *fill])
        documents.append([piece[0][1], *(n for _, n in piece), piece[-1][1], *fill])
    return Packed(np.array(ids, dtype=np.int32), np.array(documents, dtype=np.int32))


@settings(max_examples=60)
@given(tokens=TOKENS, length=st.integers(3, 20), start=st.integers(0, 1000))
def test_rows_by_slow_reference(tokens: list[list[int]], length: int, start: int) -> None:
    numbers = [start + 3 * n for n in range(len(tokens))]
    found, expected = pack(tokens, numbers, length, FIRST, LAST), slow_pack(tokens, numbers, length)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.documents, expected.documents)
    assert found.ids.dtype == found.documents.dtype == np.int32
    total = sum(len(document) + 1 for document in tokens)
    assert len(found.ids) == max(1, total // (length - 2))


def test_rows_written_out() -> None:
    found = pack([[1, 2, 3], [4], [5, 6]], [7, 8, 9], 5, FIRST, LAST)
    assert found.ids.tolist() == [[101, 1, 2, 3, 102], [101, 102, 4, 102, 102], [101, 5, 6, 102, 102]]
    assert found.documents.tolist() == [[7, 7, 7, 7, 7], [7, 7, 8, 8, 8], [9, 9, 9, 9, 9]]


@pytest.mark.parametrize(("size", "rows"), [(2, [[101, 1, 1, 102, 102, -1]]), (3, [[101, 1, 1, 1, 102, 102]])])
def test_a_last_row_that_is_not_full(size: int, rows: list[list[int]]) -> None:
    """Kept where it is the only one, dropped behind others."""
    assert pack([[1] * size], [0], 6, FIRST, LAST).ids.tolist() == rows
    assert len(pack([[1] * (size + 4)], [0], 6, FIRST, LAST).ids) == (1 if size == 2 else 2)


def test_nothing_to_pack() -> None:
    assert pack([], [], 8, FIRST, LAST).ids.shape == (0, 8)
    assert pack([[]], [0], 8, FIRST, LAST).ids.tolist() == [[101, 102, 102, -1, -1, -1, -1, -1]]


@settings(max_examples=60)
@given(parts=st.lists(TOKENS, min_size=1, max_size=5), length=st.integers(3, 20))
def test_rows_are_the_same_however_the_documents_come(parts: list[list[list[int]]], length: int) -> None:
    packer = Packer(length, FIRST, LAST)
    found = [packer.add(tokens, [100 * n + k for k in range(len(tokens))]) for n, tokens in enumerate(parts)]
    found.append(packer.end())
    numbers = [100 * n + k for n, tokens in enumerate(parts) for k in range(len(tokens))]
    expected = slow_pack([document for tokens in parts for document in tokens], numbers, length)
    np.testing.assert_array_equal(np.concatenate([rows.ids for rows in found]), expected.ids)
    np.testing.assert_array_equal(np.concatenate([rows.documents for rows in found]), expected.documents)
    assert packer.count == len(expected.ids)
