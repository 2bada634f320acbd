"""An empty cache, an index on this machine, and an asset that only it has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas_ray.assets import CATALOGUE, Asset, Source
from tests.assets.fakes import FILES, Index, make_asset, make_wheel, serve, sha256, write_files


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache; pip has no settings, and an index that nobody serves."""
    for name in list(os.environ):
        if name.upper().startswith("PIP_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    folder = tmp_path / "a cache's folder"
    monkeypatch.setenv("NAS_RAY_CACHE", str(folder))
    return folder


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Index]:
    """A running index; pip asks nothing else."""
    with serve() as found:
        monkeypatch.setenv("PIP_INDEX_URL", found.url)
        yield found


@pytest.fixture
def add_asset(monkeypatch: pytest.MonkeyPatch) -> Callable[[Asset], Asset]:
    """Put an asset into the catalogue for one test."""

    def add(asset: Asset) -> Asset:
        monkeypatch.setitem(CATALOGUE, asset.name, asset)
        return asset

    return add


@pytest.fixture
def tiny(index: Index, add_asset: Callable[[Asset], Asset]) -> Asset:
    """The asset 'tiny': two files in one wheel that the index serves."""
    wheel = make_wheel("tiny_model", {f"tiny_model/data/{name}": body for name, body in FILES.items()})
    index.wheels["tiny_model-1.0-py3-none-any.whl"] = wheel
    source = Source("tiny-model==1.0", sha256(wheel), len(wheel), folder="tiny_model/data")
    return add_asset(make_asset("tiny", FILES, source))


@pytest.fixture
def filled(tiny: Asset, cache: Path) -> Path:
    """The folder of 'tiny', filled by hand."""
    write_files(cache / "tiny", FILES)
    return cache / "tiny"
