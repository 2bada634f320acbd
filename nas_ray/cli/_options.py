"""What several commands share: options, kinds of values, and how the end of a run is shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

_SUFFIXES = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class Number(click.ParamType[float]):
    """A number that may end in K, M, G or T."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text: str = str(value).strip()
        scale = _SUFFIXES.get(text[-1:].upper(), 1.0)
        try:
            number = float(text[:-1] if scale != 1.0 else text) * scale
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"'{value}' is no number above 0; accepted: such as 5M or 1200000", param, ctx)
        return number


def terminal() -> Any:
    """Where commands speak; rich loads when one does."""
    from nas_ray._console import TerminalConsole

    return TerminalConsole()


SET_OPTION = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Edit a key of the spec, such as search.num_candidates=24.",
)
ADDRESS_OPTION = click.option(
    "--address", metavar="auto|HOST:PORT", help="Ray cluster to run on; a local one is started if not given."
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show_run(folder: Path, console: Any) -> None:
    """The end of a search: front, comparison, seconds, and what to do next."""
    from nas_ray.api import load_report
    from nas_ray.report import comparison_table, extraction_table, front_table, stage_line

    found = load_report(folder)
    console.show(front_table(found) if found.extraction is None else extraction_table(found))
    if found.comparisons:
        console.show(comparison_table(found))
    console.say(stage_line(found))
    console.say(f"report   {found.run_dir}/report.html (figure: front.png; data: front.parquet, candidates.parquet)")
    console.say(f"MLflow   {found.ui_command}")
    console.say(f"bounds   {found.front_command} --max-encoder-params 5M")
