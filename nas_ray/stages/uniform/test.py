"""Stage 3: the winner and the front on the split that chose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_ray.stages._context import Context
from nas_ray.stages.test import judged_rows, measure
from nas_ray.stages.uniform._surrogates import add_w, winner
from nas_ray.stages.uniform.search import judging


def run(context: Context) -> list[Path]:
    """Write ``tables/test_errors.parquet``: summed error and tokens of every test document and candidate."""
    rows: list[dict[str, Any]] = add_w(context, judged_rows(context))
    best = winner(rows)
    chosen = [row for row in rows if row["pareto"] or row["candidate_id"] == best["candidate_id"]]
    return measure(context, chosen, *judging(context))
