"""Loss and similarity over the encoder's size, one panel for each table and measure."""

from __future__ import annotations

from pathlib import Path

from benchmarks.quality._bundle import DROPPED, RANDOM, SEARCHED, UNIFORM
from benchmarks.quality._results import MEASURES, Results
from benchmarks.quality._setting import TABLES

_MARKS = dict(zip((UNIFORM, *SEARCHED, DROPPED), "osD^v", strict=True))
_COLOURS = dict(zip((UNIFORM, *SEARCHED, DROPPED), ("black", "#0072b2", "#cc79a7", "#009e73", "#d55e00"), strict=True))


def draw(results: Results, file: Path) -> None:
    """Write ``file``; dots are random architectures, other marks means over seeds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    arms, shown = results.arms, MEASURES[:2]
    figure, axes = pyplot.subplots(len(TABLES), len(shown), figsize=(11, 7.5), sharex=True, squeeze=False)
    for row, table in zip(axes, TABLES, strict=True):
        for axis, measure in zip(row, shown, strict=True):
            dots = [
                (_size(results, model), results.draws(table, measure.key, model, seed)[0])
                for size in range(len(arms.sizes))
                for model, seed in results.runs(table, size, RANDOM)
            ]
            axis.plot(*zip(*dots, strict=True) if dots else ([], []), ".", color="0.7", label=RANDOM)
            for arm, mark in _MARKS.items():
                points = [
                    (_size(results, arms.of(size, arm)[0]), value)
                    for size in range(len(arms.sizes))
                    if (value := results.value(table, measure, size, arm)) is not None
                ]
                style = "-" if arm == UNIFORM else ""
                axis.plot(
                    *zip(*points, strict=True) if points else ([], []), mark + style, color=_COLOURS[arm], label=arm
                )
            axis.set_title(f"{measure.title}, start: {table}", fontsize=10)
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("encoder parameters, M")
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _size(results: Results, model: str) -> float:
    return results.arms.models[model].costs["encoder_params"] / 1e6
