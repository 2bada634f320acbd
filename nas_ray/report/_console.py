"""The same facts as the page, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas_ray.report._data import CandidateRow, RunReport, UniformComparison
from nas_ray.report._text import count, described, digits, duration, floor, interval, loss, percent, short


def front_table(report: RunReport) -> Table:
    """The front, small encoders first, with the references between, marked by ◆."""
    table = _table(f"{escape(report.name)}: {len(report.front)} encoders on the front")
    table.add_column("candidate", no_wrap=True)
    plain = report.is_plain
    for head in ("encoder", "teacher", "params", "ms", "FLOPs", "loss", "W" if plain else "floor"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("architecture", min_width=24, overflow="fold")
    for row in report.shown:
        table.add_row(*_front_cells(row, report), style="cyan" if row.kind == "reference" else "")
    losses = "loss: normalised, on the test split; floor: what its last width cannot reach; "
    losses = ("loss: the error, on the test split; " if plain else losses) if report.shown else ""
    legend = "◆ reference; " if any(row.kind == "reference" for row in report.shown) else ""
    check = "" if report.table_check is None else f"table losses: {report.table_check.sentence}"
    lines = (f"{losses}{legend}guarantee: {escape(report.guarantee)}", report.trained_line, report.linear_line, check)
    table.caption = "\n".join(filter(None, lines))
    table.caption_justify = "left"
    return table


def _front_cells(row: CandidateRow, report: RunReport) -> tuple[Text, ...]:
    name = f"◆ {row.label or row.candidate_id}" if row.kind == "reference" else row.candidate_id
    cells = (
        name if len(name) <= 16 else name[:15] + "…",
        count(row.encoder_params),
        percent(row.encoder_params, report.teacher_encoder_params),
        count(row.params),
        digits(row.latency_ms),
        count(row.flops),
        loss(row.test_loss),
        loss(row.w) if report.is_plain else floor(row.floor),
        described(row.arch_id, row.hyperparameters),
    )
    return tuple(Text(cell) for cell in cells)


def comparison_table(report: RunReport) -> Table:
    """Uniform encoders against what the search chose at no more parameters."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.title = "Against uniform encoders of the same size (loss on the test split)"
    table.title_style, table.title_justify = "bold", "left"
    table.add_column("uniform", no_wrap=True)
    for head in ("size", "loss", "chosen", "size", "loss", "difference", "95 % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in report.comparisons:
        table.add_row(*(Text(cell) for cell in _comparison_cells(row)), style=_verdict_style(row))
    counts = sorted({row.num_documents for row in report.comparisons})
    table.caption = f"intervals over {' or '.join(map(str, counts))} documents; negative: the chosen is better"
    table.caption_justify = "left"
    return table


def _comparison_cells(row: UniformComparison) -> tuple[str, ...]:
    return (
        str(row.width),
        count(row.uniform_params),
        loss(row.uniform_test),
        row.chosen_id[:12],
        count(row.chosen_params),
        loss(row.chosen_test),
        f"{row.difference:+.4f}",
        interval(row.low, row.high),
    )


def _verdict_style(row: UniformComparison) -> str:
    """Colour only where the interval excludes zero."""
    return "green" if row.high < 0 else "red" if row.low > 0 else ""


def stage_line(report: RunReport) -> str:
    """``profile 12 s · supernet 3 min 5 s · total 3 min 17 s``."""
    stages = [f"{stage} {duration(spent)}" for stage, spent in report.stage_seconds.items()]
    return " · ".join([*stages, f"total {duration(sum(report.stage_seconds.values()))}"])


def rows_table(rows: Sequence[Mapping[str, Any]], teacher_encoder_params: int, guarantee: str, of: int) -> Table:
    """Rows of ``front.parquet``, which holds ``of``, as ``front_table`` shows them."""
    report = RunReport(
        name="front",
        run_dir="",
        teacher="",
        teacher_encoder_params=teacher_encoder_params,
        vocab_size=0,
        objectives=(),
        guarantee=guarantee,
        rows=tuple(CandidateRow(**row) for row in rows),
    )
    table = front_table(report)
    if len(rows) < of:
        table.title = f"{len(rows)} of the {of} encoders on the front"
    return table


def solved_table(rows: Sequence[Mapping[str, Any]], teacher_encoder_params: int, guarantee: str) -> Table:
    """Architectures by the tables, with what was measured of them."""
    table = _table(f"{len(rows)} architectures by the tables")
    table.add_column("candidate", no_wrap=True)
    for head in ("encoder", "teacher", "params", "ms", "FLOPs", "score", "table", "measured"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("architecture", min_width=24, overflow="fold")
    for row in rows:
        cells = (
            row["candidate_id"],
            count(row["encoder_params"]),
            percent(row["encoder_params"], teacher_encoder_params),
            count(row["params"]),
            digits(row["latency_ms"]),
            count(row["flops"]),
            loss(row["score"]),
            loss(row["table_loss"]),
            f"{loss(row['select_loss'])}{'' if row['status'] in (None, 'completed') else ' ' + row['status']}",
            short(row["arch_id"]),
        )
        table.add_row(*(Text(cell) for cell in cells))
    legend = "score: summed table losses by size; table: summed losses; measured: on *select*, where it was judged; "
    table.caption = f"{legend}guarantee: {escape(guarantee)}"
    table.caption_justify = "left"
    return table


def spaces_table(spaces: Sequence[Mapping[str, Any]]) -> Table:
    """Search spaces and their sizes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("space", no_wrap=True)
    for head in ("kind", "ops a layer", "paths a block", "blocks", "architectures"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for facts in spaces:
        table.add_row(*(Text(cell) for cell in _space_cells(facts)))
    return table


def _space_cells(facts: Mapping[str, Any]) -> tuple[str, ...]:
    name, kind, about = facts["name"], facts["kind"], facts["description"]
    if kind == "paths":
        sizes = (facts["operations_per_layer"], facts["paths_per_block"], facts["blocks"])
        return (name, kind, *(str(size) for size in sizes), f"{facts['architectures']:.2e}", about)
    return (name, kind, "", "", "", f"{facts['architectures']:.0f} valid tuples of {facts['tuples']}", about)


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.title, table.title_style, table.title_justify = title, "bold", "left"
    return table
