"""The stages in their order, and which of them read which key of a spec."""

from __future__ import annotations

from collections.abc import Mapping

STAGES = {
    "profile": "what every part costs",
    "supernet": "training the blocks' supernets",
    "tabulate": "scoring every path of every block",
    "search": "judging whole candidates",
    "test": "measuring on unseen text",
    "rank": "checking the tables' ranking by stand-alone training",
    "report": "writing tables, figures and the page",
}

# The stages that read a key of the spec; the longest prefix counts. Empty: results do not depend on it.
FEEDS: Mapping[str, tuple[str, ...]] = {
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
}
