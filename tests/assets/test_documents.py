from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nas_ray.assets import Asset, Source, documents, fetch
from nas_ray.errors import AssetError
from tests.assets.fakes import make_asset, write_files

AddAsset = Callable[[Asset], Asset]
NOWHERE = Source("nothing==0", "0" * 64, 1)


@pytest.fixture
def fill(cache: Path, add_asset: AddAsset) -> Callable[[str, dict[str, bytes]], Asset]:
    """Put files into the cache by hand, as on a machine without network."""

    def add(name: str, files: dict[str, bytes]) -> Asset:
        write_files(cache / name, files)
        return add_asset(make_asset(name, files, NOWHERE))

    return add


Fill = Callable[[str, dict[str, bytes]], Asset]


def test_paragraphs_of_one_book_are_joined(fill: Fill) -> None:
    long = "word " * 250  # 1,250 characters
    first = f"[Title]\r\n\r\n{long}\r\n  \r\n{long}\n\n\n{long}".encode()
    fill("gutenberg", {"first.txt": first, "second.txt": b"caf\xe9\n\tau\xa0lait"})
    found = list(documents("gutenberg"))
    words = " ".join(["word"] * 250)
    assert found == [f"[Title] {words} {words}", words, "café au lait"]


def test_one_long_paragraph_is_one_document(fill: Fill) -> None:
    fill("gutenberg", {"a.txt": ("x" * 1999 + "\n\n" + "y" * 5000 + "\n\n" + "z" * 2000).encode()})
    assert [len(document) for document in documents("gutenberg")] == [1999 + 1 + 5000, 2000]


def test_members_kept_out_of_documents(fill: Fill, add_asset: AddAsset) -> None:
    asset = fill("gutenberg", {"a.txt": b"kept", "bible.txt": b"left out", "c.txt": b" \n\n \n"})
    members = (asset.members[0], replace(asset.members[1], in_documents=False), asset.members[2])
    add_asset(replace(asset, members=members))
    assert list(documents("gutenberg")) == ["kept"]
    assert (fetch("gutenberg") / "bible.txt").is_file()


def test_text_of_snippets(fill: Fill) -> None:
    header = b"id\tsentiment\ttext\r\n"
    a = header + "1\t-0.9\tIt  was très\x85bad.\r\n2\t1.0\t\r\n3\t2.5\ta\ttab\r\n".encode()
    fill("snippets", {"a.txt": a, "b.txt": header + b"1_1\t0.4\tlast, no newline"})
    assert list(documents("snippets")) == ["It was très bad.", "a tab", "last, no newline"]


@pytest.mark.parametrize("name", ["minilm", "trec_sms"])
def test_assets_without_documents(name: str, cache: Path) -> None:
    with pytest.raises(AssetError, match=f"unknown corpus '{name}'; known: gutenberg, snippets"):
        documents(name)


def test_missing_corpus_fails_at_the_call(cache: Path, fill: Fill) -> None:
    fill("gutenberg", {"a.txt": b"text"})
    (cache / "gutenberg" / "a.txt").unlink()
    with pytest.raises(AssetError, match="a package index cannot be reached"):
        documents("gutenberg")
