"""How truly the tables order whole models: summed losses against the stitched losses that a search measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_LEAST = 3


class Agreement(NamedTuple):
    """Kendall's tau with the measured loss: of the tables, and of parameter count alone, over so many candidates."""

    tables: float
    params: float
    candidates: int


def agreement(rows: Iterable[Mapping[str, Any]]) -> Agreement | None:
    """Over the completed candidates that the tables know; None for fewer than three."""
    from scipy.stats import kendalltau

    finished = [row for row in rows if row["status"] == "completed" and row["kind"] == "candidate"]
    judged = [row for row in finished if row["table_loss"] is not None]
    if len(judged) < _LEAST:
        return None
    losses = [row["select_loss"] for row in judged]
    tables, params = (
        float(kendalltau(scores, losses).statistic)
        for scores in ([row["table_loss"] for row in judged], [-row["encoder_params"] for row in judged])
    )
    return Agreement(tables, params, len(judged))
