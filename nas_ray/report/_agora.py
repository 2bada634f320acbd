"""Agora's rounds, for a terminal and for a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from nas_ray.report._tasks import score

_HEADS = ("round", "sets", "trained on", "dev, best", "dev, mean", "mistakes", "new examples", "select", "test")
_LEAK = (
    "dev is split off from the training examples and feeds the loop, so its scores rise by themselves; select, which "
    "chooses the round, and test, which is reported, are never seen by it."
)


def agora_table(found: Mapping[str, Any]) -> Table:
    """A round a row, and the plain trainings."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for row in _rows(found):
        table.add_row(*row)
    table.caption, table.caption_justify = _caption(found), "left"
    return table


def agora_markdown(found: Mapping[str, Any]) -> str:
    """The same as Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (_HEADS, *_rows(found))]
    rule = "|" + "---:|" * len(_HEADS)
    return "\n".join([lines[0], rule, *lines[1:], "", _caption(found), "", f"    {found['command']}", ""])


def _rows(found: Mapping[str, Any]) -> list[list[str]]:
    metric, plain = found["metrics"][0], found["plain"]
    rows = [
        [
            str(one["round"]), str(one["sets"]), f"{one['train']:,}", score(one["dev"]["best"]),
            score(one["dev"]["mean"]), str(one["mistakes"]), str(one["generated"]), score(one["select"][metric]),
            score(one["test"][metric]),
        ]
        for one in found["rounds"]
    ]  # fmt: skip
    scores = (score(plain[part][metric]) for part in ("select", "test"))
    return [*rows, ["plain", str(plain["trainings"]), f"{plain['train']:,}", "", "", "", "", *scores]]


def _caption(found: Mapping[str, Any]) -> str:
    metric, best, plain = found["metrics"][0], found["best"], found["plain"]
    gain, low, high = (100 * found["gain"][name] for name in ("difference", "low", "high"))
    return (
        f"{found['model']} on {found['task']}, {metric} times 100. {_LEAK} Round {best['round']} is chosen: "
        f"{gain:+.1f} on test, 95 % [{low:+.1f}, {high:+.1f}] over test examples, against the best by select of "
        f"{plain['trainings']} plain trainings (which train on dev)."
    )
