"""An extraction for people: W and error along the sizes, the trainings by W, the whole order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas_ray.report._canvas import FRONT, OTHER, PAPER, TEACHER
from nas_ray.report._data import CandidateRow, Extraction, RunReport
from nas_ray.report._text import NONE, count, described, digits, loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADS = ("place", "architecture", "params", "encoder", "speed", "error", "W", "error (test)")
_SHOWN = 12


def places(extraction: Extraction) -> dict[str, int]:
    """The place in the intrinsic order by architecture, from 1."""
    return {found.arch_id: place for place, found in enumerate(extraction.order, start=1)}


def winner_row(report: RunReport) -> CandidateRow:
    """The row of the answer."""
    assert report.extraction is not None
    return next(row for row in report.rows if row.candidate_id == report.extraction.winner_id)


def row_speed(row: CandidateRow, extraction: Extraction) -> float | None:
    """What stands for speed."""
    return row.latency_ms if extraction.is_measured else row.flops


def speed_text(value: float | None, extraction: Extraction) -> str:
    """In the unit that ``extraction`` names."""
    return digits(value) if extraction.is_measured else count(value)


def cells(row: CandidateRow, extraction: Extraction, place: int | None) -> tuple[str, ...]:
    """A training as texts, in the order of ``HEADS``."""
    return (
        NONE if place is None else str(place),
        described(row.arch_id, row.hyperparameters),
        count(row.params),
        count(row.encoder_params),
        speed_text(row_speed(row, extraction), extraction),
        loss(row.select_loss),
        NONE if row.w is None else f"{row.w:.4f}",
        loss(row.test_loss),
    )


def extraction_table(report: RunReport) -> Table:
    """The trainings of largest W, with what the answer is worth."""
    extraction = report.extraction
    assert extraction is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.title = f"{escape(report.name)}: {described(winner_row(report).arch_id, '')} wins"
    table.title_style, table.title_justify = "bold", "left"
    for head in HEADS:
        table.add_column(head, justify="left" if head == "architecture" else "right", overflow="fold")
    found = places(extraction)
    for row in report.by_w[:_SHOWN]:
        style = "green" if row.candidate_id == extraction.winner_id else ""
        table.add_row(*(Text(cell) for cell in cells(row, extraction, found.get(row.arch_id))), style=style)
    more = len(report.by_w) - _SHOWN
    lines = (
        f"{more} more in the report" if more > 0 else "",
        f"error: {extraction.error}; speed: {extraction.speed}; place: in the intrinsic order of "
        f"{len(extraction.order)}; maximum point {described(extraction.maximum.arch_id, '')}, "
        f"{count(extraction.maximum.params)} weights, speed {speed_text(extraction.maximum.speed, extraction)}",
        extraction.statement,
    )
    table.caption = escape("\n".join(filter(None, lines)))
    table.caption_justify = "left"
    return table


def draw_extraction(report: RunReport, axes: list[Axes]) -> None:
    """Error and W over all weights; the winner is starred."""
    assert report.extraction is not None
    trained, best = report.by_w, winner_row(report)
    for panel, name in zip(axes, ("Error", "W"), strict=True):
        panel.set_title(f"{name} against size", pad=10)
        panel.set_xlabel("weights, embeddings included (M)")
        panel.set_ylabel("error (select split)" if name == "Error" else "W-coefficient (larger is better)")
        for row in trained:
            value, is_best = (row.select_loss if name == "Error" else row.w), row is best
            if value is None:
                continue
            panel.plot(
                (row.params or 0) / 1e6, value, "*" if is_best else "o", color=TEACHER if is_best else FRONT,
                markersize=15.0 if is_best else 6.5, markeredgecolor=PAPER, markeredgewidth=0.8,
                gid=f"tip-{row.candidate_id}", zorder=3 if is_best else 2,
            )  # fmt: skip
        for size in (found.params / 1e6 for found in report.extraction.order):
            panel.plot(size, 0.0, "|", color=OTHER, markersize=7, transform=panel.get_xaxis_transform(), clip_on=False)
        panel.margins(x=0.06, y=0.12)


def tips(rows: Iterable[CandidateRow]) -> dict[str, str]:
    """What the pointer shows, by candidate."""
    return {
        row.candidate_id: f"{described(row.arch_id, row.hyperparameters)}\n{count(row.params)} weights, "
        f"error {loss(row.select_loss)}, W {loss(row.w)}"
        for row in rows
    }
