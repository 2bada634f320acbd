"""Names beside points and lines, each where it covers least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]
_ABOVE = ((10, 7), (9, 0), (0, 13), (-10, 7), (10, -9), (-9, 0), (0, -14), (-10, -9), (0, 24), (14, 20))
_BELOW = ((-10, -9), (0, -14), (-14, -18), (10, -9), (-9, 0), (9, 0), (0, 13), (10, 7))
_STEPS = 10  # points that stand for a stretch of a line


class Label(NamedTuple):
    """A name for the point at ``x``, ``y``."""

    x: float
    y: float
    text: str
    colour: str
    below: bool = False


class Mark(NamedTuple):
    """A point that is better not covered, and how much that matters."""

    x: float
    y: float
    weight: float


def place(
    panel: Axes, labels: Sequence[Label], marks: Sequence[Mark], line: Sequence[tuple[float, float]] = ()
) -> None:
    """Write ``labels``, the first with the first choice, off ``marks`` and off the ``line``."""
    pixels = [_pixels(panel, mark) for mark in marks]
    pixels += _along([_pixels(panel, Mark(x, y, 1.0)) for x, y in line])
    taken: list[Box] = []
    for label in labels:
        sides = _BELOW if label.below else _ABOVE
        costs = [0.1 * i + _try(panel, label, side, pixels, taken)[0] for i, side in enumerate(sides)]
        taken.append(_try(panel, label, sides[costs.index(min(costs))], pixels, taken, keep=True)[1])


def _pixels(panel: Axes, mark: Mark) -> Mark:
    x, y = panel.transData.transform((mark.x, mark.y))
    return Mark(float(x), float(y), mark.weight)


def _along(corners: Sequence[Mark]) -> list[Mark]:
    """Points on the line through ``corners``."""
    steps = [(a, b, i / _STEPS) for a, b in pairwise(corners) for i in range(1, _STEPS)]
    return [Mark(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), 1.0) for a, b, t in steps]


def _try(
    panel: Axes,
    label: Label,
    side: tuple[int, int],
    pixels: Sequence[Mark],
    taken: Sequence[Box],
    *,
    keep: bool = False,
) -> tuple[float, Box]:
    """What ``label`` covers at one side of its point, and its box."""
    text = panel.annotate(
        label.text, (label.x, label.y), side, textcoords="offset points", color=label.colour, va="center",
        ha="left" if side[0] > 0 else "right" if side[0] < 0 else "center",
    )  # fmt: skip
    x0, y0, x1, y1 = text.get_window_extent().extents
    frame = panel.get_window_extent()
    outside = x0 < frame.x0 or x1 > frame.x1 or y0 < frame.y0 or y1 > frame.y1
    if not keep:
        text.remove()
    return 100 * outside + _covered((x0, y0, x1, y1), pixels, taken), (x0, y0, x1, y1)


def _covered(box: Box, marks: Sequence[Mark], taken: Sequence[Box]) -> float:
    x0, y0, x1, y1 = box
    points = sum(m.weight for m in marks if x0 - 5 <= m.x <= x1 + 5 and y0 - 5 <= m.y <= y1 + 5)
    return points + 10 * sum(b[0] < x1 and b[2] > x0 and b[1] < y1 and b[3] > y0 for b in taken)


def name_lines(panel: Axes, lines: Sequence[tuple[str, float, str]]) -> None:
    """Names (text, height, colour) at the right end of level lines, kept apart."""
    highest = max([y for _, y, _ in lines] + list(panel.get_ylim()[1:]))
    apart, last = 0.065 * highest, -math.inf
    for name, y, colour in sorted(lines, key=lambda line: line[1]):
        last = max(y, last + apart)
        panel.annotate(
            name, (1.0, last), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            color=colour, va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip
