"""Downstream tasks, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

_PARTS = ("train", "select", "test", "server")


def tasks_table(tasks: Sequence[Mapping[str, Any]]) -> Table:
    """A row a task, by benchmark."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for name in ("task", "kind", "metrics"):
        table.add_column(name, no_wrap=True)
    for name in _PARTS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source", overflow="fold")
    for before, task in zip([None, *tasks], tasks, strict=False):
        if before is None or before["group"] != task["group"]:
            table.add_row(f"[bold]{task['group']}[/bold]")
        sizes = [_size(task, part) for part in _PARTS]
        table.add_row(task["name"], task["kind"], ", ".join(task["metrics"]), *sizes, task["source"].split(",")[0])
    table.caption = (
        "examples of each part; cut: select is cut from the training examples, one in ten, at most 2,000; server: "
        "labels are known to the benchmark alone. The first metric chooses. What a hub has is read from --data FOLDER, "
        "too; nas-ray tasks NAME says how its files are called."
    )
    table.caption_justify = "left"
    return table


def task_table(task: Mapping[str, Any]) -> Table:
    """All about one task."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    sizes = "; ".join(f"{part} {_size(task, part) or 'of unknown size'}" for part in task["parts"])
    files = "; ".join(f"{part} {' or '.join(names)}" for part, names in task["files"].items())
    for name, text in {
        "task": task["name"],
        "about": task["title"],
        "kind": task["kind"] + (", with questions that have no answer" if task["answerable"] else ""),
        "classes": ", ".join(task["classes"]),
        "metrics": ", ".join(task["metrics"]),
        "parts": sizes,
        "source": task["source"],
        "columns": _columns(task["fields"]),
        "files": files and f"with --data {task['folder'] or 'FOLDER'}: {files} (csv, tsv, json, jsonl, parquet)",
        "tokens": f"at most {task['max_length']} a row",
        "model": task["trained_on"] and f"one trained on {task['trained_on']}",
        "for the server": task["predictions"],
    }.items():
        if text:
            table.add_row(name, str(text))
    return table


def _size(task: Mapping[str, Any], part: str) -> str:
    if part not in task["parts"]:
        return ""
    if part in task["sizes"]:
        return f"{task['sizes'][part]:,}"
    return "cut" if part == "select" else ""


def _columns(fields: Mapping[str, Any] | None) -> str:
    """What each column is called, alternatives by a stroke."""
    if fields is None:
        return ""
    names = [*fields["texts"], *fields["options"]]
    names += [fields[key] for key in ("label", "start", "id", "group") if fields[key]]
    return ", ".join("|".join(name) for name in names)
