"""The sections of a page about an extraction."""

from __future__ import annotations

from html import escape

from nas_ray.report import _elements as page
from nas_ray.report._data import CandidateRow, Extraction, RunReport
from nas_ray.report._extraction import HEADS, cells, places, row_speed, speed_text, winner_row
from nas_ray.report._text import count, described, duration, loss, percent


def extraction_tiles(report: RunReport, extraction: Extraction) -> list[tuple[str, str]]:
    best = winner_row(report)
    tiles = [
        (described(best.arch_id, ""), "wins"),
        (count(best.params), f"weights, {percent(best.params, extraction.maximum.params)} of the maximum point"),
        (loss(best.select_loss), "its error after a few steps"),
        (f"{len(report.by_w)}", f"trainings; {len(extraction.order)} architectures in the order"),
    ]
    if report.stage_seconds:
        tiles.append((duration(sum(report.stage_seconds.values())), "all stages together"))
    return tiles


def extraction_section(report: RunReport) -> str:
    if (extraction := report.extraction) is None:
        return ""
    note = f"Error: {extraction.error}. Speed: {extraction.speed}. The largest W wins; it is tinted."
    found = places(extraction)
    rows = "".join(_trained_row(row, extraction, found.get(row.arch_id)) for row in report.by_w)
    choices = "".join(f"<li>{escape(text)}</li>" for text in extraction.choices)
    return page.section(
        "Trained for a few steps",
        page.note(note),
        page.table(HEADS, rows, sortable=True),
        page.note(extraction.statement),
        f'<p class="note">Left open by the papers and chosen here:</p><ul class="note">{choices}</ul>',
    )


def _trained_row(row: CandidateRow, extraction: Extraction, place: int | None) -> str:
    speed = row_speed(row, extraction)
    values = (place, row.arch_id, row.params, row.encoder_params, speed, row.select_loss, row.w, row.test_loss)
    texts = cells(row, extraction, place)
    styled = zip(texts, values, HEADS, strict=True)
    best = row.candidate_id == extraction.winner_id
    return page.row(
        (page.cell(text, value, "left arch" if head == "architecture" else "") for text, value, head in styled),
        "reference" if best else "",
    )


def order_section(report: RunReport) -> str:
    if (extraction := report.extraction) is None:
        return ""
    rows = "".join(
        page.row(
            [
                page.cell(str(place), place),
                page.cell(described(found.arch_id, ""), found.arch_id, "left arch"),
                page.cell(count(found.params), found.params),
                page.cell(speed_text(found.speed, extraction), found.speed),
                page.cell("trained" if found.trained else "", found.trained),
            ],
            "reference" if found.trained else "",
        )
        for place, found in enumerate((*extraction.order, extraction.maximum), start=1)
    )
    heads = ("place", "architecture", "params", "speed", "")
    summary = f"The intrinsic order: {len(extraction.order)} architectures and, last, the maximum point"
    return f"<section><details><summary>{escape(summary)}</summary>{page.table(heads, rows)}</details></section>"
