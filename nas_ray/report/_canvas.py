"""One look for every figure, and figures as elements of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from nas_ray.report._text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by people who see no red or no green.
FRONT, REFERENCE, TEACHER, OTHER = "#0072b2", "#d55e00", "#009e73", "#999999"
WIDTHS = ("#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#0072b2")
INK, MUTED, GRID, PAPER = "#1f2328", "#59636f", "#e3e6ea", "#fefefe"

_FOLLOWS_PAGE = {
    "accent": FRONT,
    "reference": REFERENCE,
    "teacher": TEACHER,
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "paper": PAPER,
}
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "nas_ray",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
_MOST_COLUMNS = 4
_LOG_RATIO = 6.0


@contextmanager
def panels(number: int, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of ``number`` panels, each row ``height`` inches high; the look holds within."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(number, _MOST_COLUMNS)
    rows = -(-number // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(11.0, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for unused in axes[number:]:
            unused.set_axis_off()
        yield figure, axes[:number]


def scale_sizes(panel: Axes, xs: Sequence[float]) -> None:
    """The x axis for ``xs``, sizes or milliseconds: by ratios where they differ much; room for names on the right."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = min(xs), max(xs)
    if high / low > _LOG_RATIO:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlim(low / 1.25, high * 1.35)
    else:
        room = 0.08 * (high - low) or 0.1 * high
        panel.set_xlim(low - room, high + 1.5 * room)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _tick(value: float) -> str:
    text = f"{value / 1e6:g} M" if value >= 1e5 else f"{value:g}"
    return text if len(text) < 9 else count(value)


def to_svg(figure: Figure, tips: dict[str, str]) -> str:
    """The figure as an element whose colours follow the page; ``tips`` name candidates under the pointer."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    text = re.sub(r' (?:width|height)="[^"]*"', "", head) + ">" + rest  # the page sets the size
    for name, colour in _FOLLOWS_PAGE.items():
        text = text.replace(colour, f"var(--{name})")
    for candidate, tip in tips.items():
        opening = f'<g id="tip-{escape(candidate)}">'
        text = text.replace(opening, f'<g class="tip"><title>{escape(tip)}</title>')
    return text
