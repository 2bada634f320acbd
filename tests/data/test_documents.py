"""Text of every kind of source, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.data import paragraphs, resolve_text
from nas_ray.errors import TextError


def read(source: object, field: str = "text") -> list[str]:
    return list(resolve_text(str(source))(field))


def test_file(tmp_path: Path) -> None:
    file = tmp_path / "a file's näme.md"
    file.write_text("One\nline.\n\n" + "Long " * 500 + "\n \t\n\n\n Last  one. \n", encoding="utf-8")
    assert read(file) == ["One line. " + " ".join(["Long"] * 500), "Last one."]


def test_windows_text(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf" + b"a\r\nb\r\n\r\n" + b"c" * 2000 + b"\r\n\r\nd")
    assert read(tmp_path / "x.txt") == ["a b " + "c" * 2000, "d"]


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "notes.md").write_text("not read")
    (tmp_path / "c.txt").mkdir()
    assert read(tmp_path) == ["first", "second"]


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.txt").write_text("at home")
    assert read("~/x.txt") == ["at home"]


def slow_paragraphs(text: str, size: int) -> list[str]:
    """The rule, over the whole text at once."""
    found: list[list[str]] = [[]]
    for paragraph in filter(None, (" ".join(p.split()) for p in re.split(r"\n\s*\n", text))):
        found[-1].append(paragraph)
        if sum(map(len, found[-1])) >= size:
            found.append([])
    return [" ".join(document) for document in found if document]


@given(st.lists(st.text(alphabet="ab \n\t\u2028é", max_size=40), max_size=12), st.integers(1, 50))
def test_paragraphs_keep_every_word(pieces: list[str], size: int) -> None:
    text = "\n\n".join(pieces)
    found = list(paragraphs(text.split("\n"), size))
    assert found == list(slow_paragraphs(text, size))
    assert " ".join(found).split() == text.split()
    assert all(len(document) >= size for document in found[:-1])
    assert all(document == " ".join(document.split()) and document for document in found)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the text is empty; accepted: UTF-8 text files"),
        (b" \n\n\t \r\n\xc2\xa0\n", "the text is empty; accepted"),
        (b"\xef\xbb\xbf", "the text is empty; accepted"),
        (b"text\0more", "a binary file; accepted: UTF-8 text"),
        ("text".encode("utf-16"), "a binary file; accepted: UTF-8 text|not UTF-8 text"),
        ("café au lait".encode("latin-1"), r"not UTF-8 text \(.* at byte 3\); convert it first"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    for source in (tmp_path / "x.txt", tmp_path):
        with pytest.raises(TextError, match=match):
            read(source)


@pytest.mark.parametrize("source", ["missing.txt", "missing/folder", "~nobody-of-this-name/x", "gutenburg", "x" * 5000])
def test_missing(source: str) -> None:
    with pytest.raises(TextError, match=r"no such file or folder; accepted: a text file, .*dataset:NAME.*gutenberg"):
        read(source)


def test_folder_without_text(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"holds no \.txt file; accepted"):
        read(tmp_path)


def test_asset_of_another_kind() -> None:
    with pytest.raises(TextError, match="the asset 'minilm' is no corpus"):
        read("minilm")


# -- datasets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    rows = [{"text": "first  one", "title": "t1"}, {"text": " ", "title": "t2"}, {"text": None, "title": "t3"},
            {"text": "sëcond\none", "title": "t4"}]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def test_dataset_file(jsonl: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert read(f"dataset:{jsonl}") == ["first one", "sëcond one"]
    assert read(f"dataset:{jsonl}", "title") == ["t1", "t2", "t3", "t4"]
    assert capfd.readouterr() == ("", "")


def test_dataset_field(jsonl: Path) -> None:
    with pytest.raises(TextError, match="no field 'body'; accepted: text, title"):
        read(f"dataset:{jsonl}", "body")


@pytest.mark.parametrize(("name", "content"), [("x.csv", "text,n\nfirst,1\nsecond,2\n"), ("x.txt", "first\nsecond\n")])
def test_dataset_of_other_kinds(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read(f"dataset:{tmp_path / name}") == ["first", "second"]


def test_dataset_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{not json")
    reasons = {tmp_path / "none.jsonl": "no such file", tmp_path / "broken.jsonl": "cannot be loaded: ."}
    for name, reason in {**reasons, "nobody/no-such-data": "cannot be loaded: ."}.items():
        with pytest.raises(TextError, match=f"dataset:.*: {reason}") as caught:
            read(f"dataset:{name}")
        assert "\n" not in str(caught.value)
