from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nas_ray.assets import _cache as cache_module
from nas_ray.assets import cache_dir, fetch, is_cached, where
from nas_ray.errors import AssetError


def test_variable_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_RAY_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    assert where("minilm") == tmp_path / "minilm"


def test_relative_and_home_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NAS_RAY_CACHE", "here")
    assert cache_dir() == Path.cwd() / "here"
    monkeypatch.setenv("NAS_RAY_CACHE", "~/there")
    assert cache_dir() == tmp_path / "there"


@pytest.mark.parametrize(
    ("platform", "variable", "value", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "/x/cache", "/x/cache/nas_ray"),
        ("linux", "XDG_CACHE_HOME", "relative", "/home/me/.cache/nas_ray"),
        ("linux", "XDG_CACHE_HOME", "", "/home/me/.cache/nas_ray"),
        ("darwin", "XDG_CACHE_HOME", "/x/cache", "/home/me/Library/Caches/nas_ray"),
        ("win32", "LOCALAPPDATA", "/x/local", "/x/local/nas_ray"),
        ("win32", "LOCALAPPDATA", "", "/home/me/AppData/Local/nas_ray"),
    ],
)
def test_default_of_each_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv("NAS_RAY_CACHE", "")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_dir() == Path(expected)


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NAS_RAY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(AssetError, match="set NAS_RAY_CACHE to a folder"):
        cache_dir()


def test_files_are_hashed_once_a_process_and_again_when_they_change(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = cache_module._sha256

    def counted(file: Path) -> str:
        hashed.append(file.name)
        return real(file)

    monkeypatch.setattr(cache_module, "_sha256", counted)
    assert is_cached("tiny")
    assert is_cached("tiny")
    assert hashed == ["config.json", "weights.bin"]
    body = bytearray((filled / "weights.bin").read_bytes())
    body[7] ^= 1
    (filled / "weights.bin").write_bytes(body)
    os.utime(filled / "weights.bin", ns=(1, 1))
    assert not is_cached("tiny")


@pytest.mark.parametrize("name", ["nothing", "../tiny"])
def test_unknown_names(name: str) -> None:
    for function in (is_cached, where, fetch):
        with pytest.raises(AssetError, match="unknown asset"):
            function(name)
