"""Fine-tuned models, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from nas_ray.report._text import NONE


def score(value: float | None) -> str:
    """A metric times 100, as the papers print it."""
    return NONE if value is None else f"{100 * value:.1f}"


def mean(found: Mapping[str, float | None]) -> str:
    """Mean ± standard deviation, times 100."""
    return score(found["mean"]) + ("" if found["deviation"] is None else f" ± {score(found['deviation'])}")


def finetuned_table(record: Mapping[str, Any]) -> Table:
    """Every training and the mean over all, by every metric."""
    metrics = record["metrics"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("model", no_wrap=True)
    for part in ("select", "test"):
        for name in metrics:
            table.add_column(f"{part} {name}", justify="right", no_wrap=True)
    search = record["search"]
    shown = {"mean": record} if search is None else {"the settings": search["settings"], "the best set": record}
    for title, found in shown.items():
        for one in found["trainings"]:
            table.add_row(one["model"], *(score(one[part][name]) for part in ("select", "test") for name in metrics))
        means = (mean(found[part][name]) for part in ("select", "test") for name in metrics)
        table.add_row(title, *means, style="bold", end_section=True)
    table.caption = f"{record['model']} on {record['task']}, times 100; mean ± standard deviation over seeds"
    table.caption_justify = "left"
    return table


def finetuned_lines(record: Mapping[str, Any]) -> list[str]:
    """What the table does not say."""
    metric = record["metrics"][0]
    found = record["test"][metric]
    lines = []
    if found["low"] is not None:
        lines.append(f"mean     {metric} on test {score(found['mean'])}, 95 % {_interval(found)} by Student's t")
    if (search := record["search"]) is not None:
        gain = search["gain"][metric]
        says = {"better": "beats the settings", "worse": "is worse than the settings", "open": "no difference is shown"}
        between = "" if gain["low"] is None else f", 95 % {_interval(gain)}"
        lines.append(f"search   best of {search['trials']} sets: {search['hyperparameters']}")
        lines.append(
            f"         {says[gain['verdict']]} on test: {100 * gain['mean']:+.1f} {metric}, paired by seed{between}"
        )
    lines += [f"server   {record['folder']}/predictions/{name}" for name in record["predictions"]]
    return [*lines, f"model    {record['folder']}/models/{record['best']}  (the best on select)"]


def _interval(found: Mapping[str, float]) -> str:
    return f"{100 * found['low']:.1f} … {100 * found['high']:.1f}"
