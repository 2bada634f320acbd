"""How the blocks learned and shrank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas_ray.report._canvas import FRONT, INK, MUTED, OTHER, WIDTHS, panels, to_svg
from nas_ray.report._data import BlockTraining, RankingCheck
from nas_ray.report._labels import name_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def training_svg(blocks: Sequence[BlockTraining]) -> str:
    """Refitted loss by step for each block, with the linear map and the floors as lines."""
    with panels(len(blocks), 3.2) as (figure, axes):
        for i, (block, panel) in enumerate(zip(blocks, axes, strict=True)):
            _draw_training(panel, i, block)
        axes[0].set_ylabel("normalised loss, refitted")
        return to_svg(figure, {})


def shrinking_svg(blocks: Sequence[BlockTraining]) -> str:
    """Best and mean loss by number of remaining paths."""
    with panels(len(blocks), 2.8) as (figure, axes):
        for i, (block, panel) in enumerate(zip(blocks, axes, strict=True)):
            _draw_shrinking(panel, i, block)
        axes[0].set_ylabel("normalised loss")
        return to_svg(figure, {})


def ranking_svg(check: RankingCheck) -> str:
    """Loss of stand-alone training by table loss for each block; on the line both agree."""
    with panels(len(check.points), 3.0) as (figure, axes):
        for number, (points, panel) in enumerate(zip(check.points, axes, strict=True)):
            panel.set_title(f"block {number}")
            panel.set_xlabel("table loss")
            most = max((max(point) for point in points), default=1.0) * 1.05
            panel.plot([0, most], [0, most], color=OTHER, linewidth=1.0, linestyle=":")
            panel.plot([x for x, _ in points], [y for _, y in points], "o", color=FRONT, markersize=4.5)
            panel.set_xlim(0, most)
            panel.set_ylim(0, most)
        axes[0].set_ylabel("stand-alone loss")
        return to_svg(figure, {})


def _draw_training(panel: Axes, number: int, block: BlockTraining) -> None:
    panel.set_title(f"block {number}")
    panel.set_xlabel("step")
    steps = [step for step, _ in block.curve] or [0, 1]
    if block.curve:
        panel.plot(steps, [y for _, y in block.curve], "o-", color=FRONT, markersize=3.5, linewidth=1.8)
    floors = enumerate(sorted(block.floors.items()))
    lines = [(f"width {width}", y, WIDTHS[i % len(WIDTHS)]) for i, (width, y) in floors]
    if block.linear_loss is not None:
        lines.append(("one linear map", block.linear_loss, INK))
    for name, y, colour in lines:
        panel.axhline(y, color=colour, linewidth=1.2, linestyle="--" if name.startswith("one") else ":")
    name_lines(panel, lines)
    panel.set_ylim(bottom=0)
    panel.margins(x=0.03)


def _draw_shrinking(panel: Axes, number: int, block: BlockTraining) -> None:
    panel.set_title(f"block {number}")
    panel.set_xlabel("epoch")
    epochs = [step.epoch for step in block.shrinking]
    best, mean = [s.best_loss for s in block.shrinking], [s.mean_loss for s in block.shrinking]
    for name, ys, colour in (("mean", mean, OTHER), ("best", best, FRONT)):
        panel.plot(epochs, ys, "o-", color=colour, markersize=4, linewidth=1.8)
        if ys:
            panel.annotate(name, (epochs[-1], ys[-1]), (5, 0), textcoords="offset points", color=colour, va="center")
    for step in block.shrinking:
        panel.annotate(
            f"{step.remaining:,}", (step.epoch, step.mean_loss), (0, 7), textcoords="offset points",
            color=MUTED, ha="center", fontsize=8,
        )  # fmt: skip
    panel.margins(x=0.12, y=0.2)
