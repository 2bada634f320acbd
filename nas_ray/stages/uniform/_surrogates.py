"""The three surrogates of every trained candidate, its W, and the winner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nas_ray.search import Trained, w_coefficient
from nas_ray.space import UniformArchitecture, parse_uniform
from nas_ray.stages._context import Context
from nas_ray.tables import maximum_point

if TYPE_CHECKING:
    from nas_ray.distill import ErrorKind


def error_kind(context: Context) -> ErrorKind:
    """What the spec asks for, or what the teacher allows."""
    from nas_ray.teacher import has_masked_lm_head

    wanted = context.spec.extraction.error
    if wanted != "auto":
        return wanted
    return "cross_entropy" if has_masked_lm_head(context.teacher_source.config) else "hidden_state"


def speed_metric(context: Context) -> str:
    """The cost that stands for speed in W."""
    return "latency_ms" if context.spec.extraction.latency == "measured" else "flops"


def trained(context: Context, architecture: UniformArchitecture, error: float) -> Trained:
    """``architecture`` with its surrogates."""
    costs = context.costs_of(architecture)
    return Trained(architecture, costs["params"], costs[speed_metric(context)], error)


def maximum(context: Context) -> Trained:
    """The maximum point; its error is 0 by hidden states, and its W is 0 by definition."""
    return trained(context, maximum_point(context.shape), 0.0)


def add_w(context: Context, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their W; None where training did not end."""
    top, floor = maximum(context), context.spec.extraction.floor
    found = []
    for row in rows:
        w = None
        if row["status"] == "completed":
            w = w_coefficient(trained(context, parse_uniform(row["arch_id"]), row["select_loss"]), top, floor)
        found.append({**row, "w": w})
    return found


def winner(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The completed row of largest W; of equals the smaller."""
    completed = [row for row in rows if row["w"] is not None]
    return max(completed, key=lambda row: (row["w"], -row["params"]))
