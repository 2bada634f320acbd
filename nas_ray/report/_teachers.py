"""An adapted teacher, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.table import Table

from nas_ray.report._text import loss


def adapted_table(figures: Mapping[str, float]) -> Table:
    """What it predicts of hidden words beside their frequencies, and how far it is still the teacher."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("hidden words", no_wrap=True)
    table.add_column("right", justify="right", no_wrap=True)
    table.add_column("loss", justify="right", no_wrap=True)
    for name, row in (("masked", "the adapted teacher"), ("unigram", "the most frequent word")):
        table.add_row(row, f"{100 * figures[f'test_{name}_accuracy']:.1f} %", loss(figures[f"test_{name}_loss"]))
    table.caption = (
        f"{figures['test_hidden_words']:,} of the test split, loss in nats; cosine of its embeddings of plain text "
        f"with those of the teacher as it was: {figures['test_similarity']:.4f}"
    )
    table.caption_justify = "left"
    return table
