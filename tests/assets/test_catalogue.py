from __future__ import annotations

import re
import subprocess
import sys

import pytest

import nas_ray.assets
from nas_ray.assets import CATALOGUE, find
from nas_ray.errors import AssetError


def test_all_lists_the_public_names() -> None:
    public = {name for name in vars(nas_ray.assets) if not name.startswith("_")} - {"annotations"}
    assert set(nas_ray.assets.__all__) == public


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_entry_is_pinned_and_plain(name: str) -> None:
    asset = CATALOGUE[name]
    hashes = [source.archive_sha256 for source in asset.sources] + [m.sha256 for m in asset.members]
    assert asset.name == name
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes)
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", source.requirement) for source in asset.sources)
    assert len({m.saved_name for m in asset.members}) == len(asset.members)
    assert asset.size_bytes > 0
    assert asset.download_bytes == asset.sources[0].size_bytes
    assert asset.requirement == asset.sources[0].requirement


def test_teacher_has_a_second_source_and_the_corpus_18_books() -> None:
    assert len(CATALOGUE["minilm"].sources) == 2
    books = CATALOGUE["gutenberg"].members
    assert len(books) == 18
    assert [book.saved_name for book in books if not book.in_documents] == ["bible-kjv.txt"]
    assert 7.4e6 < sum(book.size_bytes for book in books if book.in_documents) < 7.5e6


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AssetError, match=r"unknown asset 'minilmm'; known: .*Did you mean 'minilm'\?"):
        find("minilmm")


def test_import_is_light() -> None:
    heavy = "{'torch', 'ray', 'pydantic', 'numpy', 'pip', 'transformers'}"
    code = f"import sys, nas_ray.assets; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
