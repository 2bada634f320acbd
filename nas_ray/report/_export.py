"""What an export cost to run, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rich import box
from rich.table import Table

from nas_ray.report._text import digits


class Timed(Protocol):
    """A lower quartile and half an interquartile range, in ms."""

    @property
    def milliseconds(self) -> float: ...

    @property
    def spread_ms(self) -> float: ...


def export_table(timings: Mapping[str, Timed], estimate_ms: float | None) -> Table:
    """Measured latencies, the run's own estimate behind them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("latency", no_wrap=True)
    table.add_column("ms a batch", justify="right", no_wrap=True)
    table.add_column("±", justify="right", no_wrap=True)
    for name, timing in timings.items():
        table.add_row(name, digits(timing.milliseconds), digits(timing.spread_ms))
    if estimate_ms is not None:
        table.add_row("the run's latency table", digits(estimate_ms), "")
    return table
