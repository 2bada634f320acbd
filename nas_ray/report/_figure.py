"""The front, as a picture: loss against size and against latency."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nas_ray._files import replace_file
from nas_ray.report._canvas import FRONT, MUTED, OTHER, PAPER, REFERENCE, TEACHER, panels, scale_sizes, to_svg
from nas_ray.report._data import CandidateRow, RunReport
from nas_ray.report._extraction import draw_extraction, tips
from nas_ray.report._labels import Label, Mark, place
from nas_ray.report._text import count, described, digits, loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 4.6


class _Point(NamedTuple):
    x: float
    y: float
    row: CandidateRow


class _Axis(NamedTuple):
    title: str
    value: Callable[[CandidateRow], float | None]


_PANELS = (
    _Axis("encoder parameters", lambda row: row.encoder_params),
    _Axis("latency (ms)", lambda row: row.latency_ms),
)


def write_figure(report: RunReport, path: Path) -> None:
    """Loss against encoder parameters and against latency, or error and W of an extraction; 150 dpi PNG."""
    with panels(2, _HEIGHT) as (figure, axes), replace_file(path) as temporary:
        _draw(report, axes)
        figure.savefig(temporary, format="png", dpi=150)


def front_svg(report: RunReport) -> str:
    """The same picture to stand inside a page; hovering over a point names it."""
    with panels(2, _HEIGHT) as (figure, axes):
        _draw(report, axes)
        shown = {row.candidate_id: _tip(row) for row in report.shown}
        return to_svg(figure, shown if report.extraction is None else tips(report.by_w))


def _draw(report: RunReport, axes: list[Axes]) -> None:
    if report.extraction is None:
        _draw_fronts(report, axes)
    else:
        draw_extraction(report, axes)


def _draw_fronts(report: RunReport, axes: list[Axes]) -> None:
    for panel, axis in zip(axes, _PANELS, strict=True):
        _draw_front(report, panel, axis)
    axes[0].set_ylabel("normalised loss")


def plotted_loss(row: CandidateRow) -> float | None:
    """On the test split where it was measured, else on the select split."""
    return row.test_loss if row.test_loss is not None else row.select_loss


def _points(rows: Sequence[CandidateRow], axis: _Axis) -> list[_Point]:
    found = []
    for row in rows:
        x, y = axis.value(row), plotted_loss(row)
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y) and x > 0:
            found.append(_Point(float(x), float(y), row))
    return found


def _draw_front(report: RunReport, panel: Axes, axis: _Axis) -> None:
    front, references = _points(report.front, axis), _points(report.references, axis)
    others = _points([r for r in report.rows if r.kind == "candidate" and not r.pareto], axis)
    panel.set_title(f"Loss against {axis.title.partition(' (')[0]}", pad=10)
    panel.set_xlabel(axis.title)
    if not front + references + others:
        panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center", color=MUTED)
        return
    top = _top(front + references, others)
    _scale(panel, [x for x, _, _ in front + references + others], top)
    kept = [(x, y) for x, y, _ in others if y <= top]
    panel.plot(*_columns(kept), "o", color=OTHER, alpha=0.35, markersize=4, markeredgewidth=0)
    edge = _edge(front)
    panel.plot(*_columns(edge), "-", color=FRONT, linewidth=1.8, alpha=0.8, solid_joinstyle="round")
    for x, y, row in front + references:
        marker, colour, size = _mark(row)
        panel.plot(
            x, y, marker, color=colour, markersize=size, markeredgecolor=PAPER, markeredgewidth=0.8,
            gid=f"tip-{row.candidate_id}",
        )  # fmt: skip
    _draw_labels(panel, front, references, kept, edge)
    if len(kept) < len(others):
        note = f"{len(others) - len(kept)} candidates lie above"
        panel.text(0.99, 0.99, note, transform=panel.transAxes, ha="right", va="top", color=MUTED, fontsize=8)


def _mark(row: CandidateRow) -> tuple[str, str, float]:
    """Marker, colour and size."""
    if row.kind == "candidate":
        return "o", FRONT, 6.5
    return ("*", TEACHER, 15.0) if row.label == "teacher" else ("D", REFERENCE, 8.0)


def _top(important: list[_Point], others: list[_Point]) -> float:
    """The loss at the top of the panel: hopeless candidates do not squeeze the front."""
    most = max((y for _, y, _ in important), default=0.0)
    worst = max((y for _, y, _ in others), default=0.0)
    return max(most, min(worst, 1.35 * most)) if important else worst


def _scale(panel: Axes, xs: list[float], top: float) -> None:
    scale_sizes(panel, xs)
    panel.set_ylim(-0.04 * top if top else -0.1, 1.08 * top or 1.0)


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _edge(front: list[_Point]) -> list[tuple[float, float]]:
    """The lower left edge of the front; with three objectives some members lie above it."""
    found: list[tuple[float, float]] = []
    for x, y in sorted((point.x, point.y) for point in front):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


def _draw_labels(
    panel: Axes,
    front: list[_Point],
    references: list[_Point],
    others: list[tuple[float, float]],
    edge: list[tuple[float, float]],
) -> None:
    """References first; the middle of the front and the worst of the rest stand for all of theirs."""
    labels = [Label(p.x, p.y, _cut(p.row.label or p.row.candidate_id), _mark(p.row)[1]) for p in references]
    if front:
        middle = sorted(front, key=lambda point: point.x)[len(front) // 2]
        labels.append(Label(middle.x, middle.y, "front", FRONT, below=True))
    if others:
        x, y = max(others, key=lambda point: point[1])
        labels.append(Label(x, y, "other candidates", MUTED))
    marks = [Mark(p.x, p.y, 1.0) for p in front + references] + [Mark(x, y, 0.25) for x, y in others]
    place(panel, labels, marks, edge)


def _cut(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"


def _tip(row: CandidateRow) -> str:
    facts = f"{count(row.encoder_params)} encoder, {digits(row.latency_ms)} ms, loss {loss(plotted_loss(row))}"
    return f"{row.label or row.candidate_id}: {facts}\n{described(row.arch_id, row.hyperparameters)}"
