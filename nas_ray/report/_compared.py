"""Models side by side on tasks: a table for a terminal, one for a file, and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from nas_ray._files import replace_file
from nas_ray.report._canvas import FRONT, TEACHER, panels, scale_sizes
from nas_ray.report._tasks import mean
from nas_ray.report._text import count, digits

_HEIGHT = 4.2
_AXES = {"encoder_params": "encoder parameters", "latency_ms": "latency (ms)"}


def compared_table(found: Mapping[str, Any]) -> Table:
    """A model a row, as the papers print it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for number, head in enumerate(_heads(found)):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for row in found["models"]:
        table.add_row(*_cells(row, found))
    table.caption, table.caption_justify = _caption(found), "left"
    return table


def compared_markdown(found: Mapping[str, Any]) -> str:
    """The same as Markdown."""
    rows = [_heads(found), *(_cells(row, found) for row in found["models"])]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|" + "|".join(["---", *(["---:"] * (len(rows[0]) - 1))]) + "|"
    return "\n".join([lines[0], rule, *lines[1:], "", _caption(found), "", f"    {found['command']}", ""])


def write_compared_figure(found: Mapping[str, Any], path: Path) -> None:
    """The average over size and over latency, with its standard deviation; 150 dpi PNG."""
    reference = found["latency"]["reference"]
    with panels(len(_AXES), _HEIGHT) as (figure, axes), replace_file(path) as temporary:
        for panel, (name, title) in zip(axes, _AXES.items(), strict=True):
            for row in found["models"]:
                average, colour = row["average"], TEACHER if row["label"] == reference else FRONT
                y, error = 100 * average["mean"], 100 * (average["deviation"] or 0.0)
                panel.errorbar(row[name], y, error, fmt="o", color=colour, markersize=6, capsize=3)
                panel.annotate(row["label"], (row[name], y), (6, 4), textcoords="offset points", fontsize=8)
            scale_sizes(panel, [row[name] for row in found["models"]])
            panel.margins(y=0.15)
            panel.set_xlabel(title)
            panel.set_title(f"Average of {len(found['tasks'])} tasks against {title.partition(' (')[0]}", pad=10)
        axes[0].set_ylabel("average over tasks, times 100")
        figure.savefig(temporary, format="png", dpi=150)


def _heads(found: Mapping[str, Any]) -> list[str]:
    return ["model", "encoder", "params", "FLOPs", "ms", "speed-up", *found["tasks"], "average"]


def _cells(row: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    sizes = [count(row[name]) for name in ("encoder_params", "params", "flops")]
    speed = [digits(row["latency_ms"]), f"{row['speedup']:.1f}x"]
    return [row["label"], *sizes, *speed, *(mean(row["tasks"][name]) for name in found["tasks"]), mean(row["average"])]


def _caption(found: Mapping[str, Any]) -> str:
    key, settings = found["latency"], found["settings"]
    metrics = ", ".join(f"{task}: {metric}" for task, metric in found["tasks"].items())
    taught = "" if found["teacher"] is None else f"; taught by {found['teacher']}, itself fine-tuned on each task"
    return (
        f"On test, times 100, mean ± standard deviation over {settings['seeds']} seeds{taught}. {metrics}. FLOPs and "
        f"ms of {key['batch_size']} x {key['sequence_length']} tokens, {key['threads']} threads, {key['processor']}; "
        f"speed-up over {key['reference']}."
    )
