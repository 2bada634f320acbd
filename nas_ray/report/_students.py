"""Retrained students, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from nas_ray.report._text import count, digits, loss


class _Measure(NamedTuple):
    head: str
    meaning: str


_MEASURES = {
    "test_loss": _Measure("loss", "normalised, to the teacher's hidden states"),
    "test_similarity": _Measure("similarity", "cosine of pooled hidden states to the teacher's"),
    "test_masked_accuracy": _Measure("accuracy", "share of hidden tokens that it finds"),
    "test_masked_lm": _Measure("masked LM", "cross-entropy of hidden tokens, nats"),
    "test_divergence": _Measure("divergence", "from the teacher's predictions of them, nats"),
}


def students_table(students: Sequence[Mapping[str, Any]]) -> Table:
    """Their sizes, and what they reach on the test split."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    known = {name for found in students for name in found["metrics"]}
    shown = {name: measure for name, measure in _MEASURES.items() if name in known}
    for head in ("candidate", "encoder", "params", "ms", *(measure.head for measure in shown.values())):
        table.add_column(head, justify="left" if head == "candidate" else "right", no_wrap=True)
    for found in students:
        costs, metrics = found["costs"], found["metrics"]
        table.add_row(
            found["candidate_id"],
            count(costs["encoder_params"]),
            count(costs["params"]),
            digits(costs["latency_ms"]),
            *(loss(metrics[name]) if name in metrics else "" for name in shown),
        )
    table.caption = "On the test split. " + "; ".join(f"{m.head}: {m.meaning}" for m in shown.values())
    table.caption_justify = "left"
    return table
