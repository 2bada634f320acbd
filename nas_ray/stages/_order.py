"""The stages of each kind of space in their order, and which of them read which key of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

PATH_STAGES = {
    "profile": "what every part costs",
    "supernet": "training the blocks' supernets",
    "tabulate": "scoring every path of every block",
    "search": "judging whole candidates",
    "test": "measuring on unseen text",
    "rank": "checking the tables' ranking by stand-alone training",
    "report": "writing tables, figures and the page",
}

PATH_FEEDS: Mapping[str, tuple[str, ...]] = {
    "name": (),
    "description": (),
    "tracking": (),
    "cluster": (),
    "space": ("profile", "supernet"),
    "teacher": ("profile", "supernet"),
    "seed": ("profile", "supernet"),
    "text": ("supernet",),
    "text.test_batches": ("test",),
    "latency": ("profile",),
    "supernet": ("supernet",),
    "supernet.start": ("profile", "supernet"),
    "supernet.device": (),
    "supernet.cache_bytes": (),
    "supernet.checkpoint_every": (),
    "tabulate": ("tabulate",),
    "tabulate.memory_bytes": (),
    "tabulate.tile_tokens": (),
    "search": ("search",),
    "search.max_concurrent": (),
    "ranking": ("rank",),
    "extraction": (),
}

UNIFORM_STAGES = {
    "profile": "what every layer costs",
    "search": "training every epsilon-th architecture of the order",
    "test": "measuring on unseen text",
    "report": "writing tables, figures and the page",
}

UNIFORM_FEEDS: Mapping[str, tuple[str, ...]] = {
    "name": (),
    "description": (),
    "tracking": (),
    "cluster": (),
    "space": ("profile",),
    "teacher": ("profile",),
    "seed": ("profile", "search"),
    "text": ("search",),
    "text.test_batches": ("test",),
    "latency": ("profile",),
    "supernet": (),
    "tabulate": (),
    "tabulate.ridges": ("search",),
    "search": (),
    "search.constraints": ("search",),
    "search.distill": ("search",),
    "search.objectives": ("test",),
    "search.scheduler": ("search",),
    "extraction": ("search",),
    "extraction.cache_bytes": (),
    "extraction.device": (),
    "extraction.floor": ("test",),
    "extraction.latency": ("test",),
    "ranking": (),
}


@dataclass(frozen=True)
class Course:
    """The way of one kind of space: its stages with their titles, the modules that run them, and by key of the spec the
    stages that read it (the longest prefix counts; empty: results do not depend on it)."""

    package: str
    stages: Mapping[str, str]
    feeds: Mapping[str, tuple[str, ...]]

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the stages."""
        return tuple(self.stages)

    def module(self, stage: str) -> Any:
        """The module that runs ``stage``, loaded now."""
        return import_module(f"{self.package}.{stage}")

    def readers(self, key: str) -> tuple[str, ...]:
        """The stages that read ``key``; one that nobody listed may matter from the first on."""
        while key and key not in self.feeds:
            key = key.rpartition(".")[0]
        return self.feeds.get(key, ("profile",))


COURSES = {
    "paths": Course("nas_ray.stages", PATH_STAGES, PATH_FEEDS),
    "uniform": Course("nas_ray.stages.uniform", UNIFORM_STAGES, UNIFORM_FEEDS),
}
