"""Retrained students, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from nas_ray.report._text import count, digits, loss


def students_table(students: Sequence[Mapping[str, Any]]) -> Table:
    """Their sizes, and what they reach on the test split."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for head in ("candidate", "encoder", "params", "ms", "loss", "similarity"):
        table.add_column(head, justify="left" if head == "candidate" else "right", no_wrap=True)
    for found in students:
        costs, metrics = found["costs"], found["metrics"]
        table.add_row(
            found["candidate_id"],
            count(costs["encoder_params"]),
            count(costs["params"]),
            digits(costs["latency_ms"]),
            loss(metrics["test_loss"]),
            loss(metrics["test_similarity"]),
        )
    table.caption = "loss (normalised) and cosine of pooled hidden states to the teacher's, on the test split"
    table.caption_justify = "left"
    return table
