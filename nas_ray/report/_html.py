"""One page that needs nothing but itself: no request leaves it, every text is escaped."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from nas_ray._files import write_text
from nas_ray.report import _elements as page
from nas_ray.report._canvas import WIDTHS
from nas_ray.report._curves import ranking_svg, shrinking_svg, training_svg
from nas_ray.report._data import CandidateRow, RunReport, UniformComparison
from nas_ray.report._extraction_html import extraction_section, extraction_tiles, order_section
from nas_ray.report._figure import front_svg
from nas_ray.report._text import count, described, digits, duration, interval, loss, percent

_HEADS = (
    "candidate",
    "encoder",
    "of teacher",
    "params",
    "ms",
    "FLOPs",
    "loss (test)",
    "floor",
    "origin",
    "architecture",
)


def write_html(report: RunReport, path: Path) -> None:
    """The whole report as one self-contained page."""
    template = Template(files("nas_ray.report").joinpath("page.html").read_text("utf-8"))
    sections: tuple[Callable[[RunReport], str], ...] = (
        _headline, _figures, extraction_section, order_section, _front, _comparisons, _training, _shrinking, _tables,
        _ranking, _stages, _commands, _spec,
    )  # fmt: skip
    body = "\n".join(filter(None, (section(report) for section in sections)))
    write_text(path, template.substitute(title=escape(f"{report.name} · nas_ray"), body=body))


def _headline(report: RunReport) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in _tiles(report)
    )
    objectives = ", ".join(report.objectives)
    return (
        f"<header><h1>{escape(report.name)}</h1>"
        f'<p class="muted">Smaller encoders of {escape(report.teacher)}, by {escape(objectives)}.</p>'
        f'<div class="tiles">{tiles}</div></header>'
    )


def _tiles(report: RunReport) -> list[tuple[str, str]]:
    candidates = [row for row in report.rows if row.kind == "candidate"]
    completed = sum(row.status == "completed" for row in candidates)
    if report.extraction is not None:
        return extraction_tiles(report, report.extraction)
    tiles = [(f"{len(report.front)}", "encoders on the front")]
    sizes = [row.encoder_params for row in report.front if row.encoder_params is not None]
    if sizes:
        smallest, largest = (percent(size, report.teacher_encoder_params) for size in (min(sizes), max(sizes)))
        span = smallest if smallest == largest else f"{smallest} – {largest}"
        tiles.append((span, f"of the teacher's {count(report.teacher_encoder_params)} encoder parameters"))
    tiles.append((f"{len(candidates)}", f"candidates tried, {completed} to the last rung"))
    better = sum(row.high < 0 for row in report.comparisons)
    if report.comparisons:
        tiles.append((f"{better} of {len(report.comparisons)}", "uniform encoders clearly beaten at their size"))
    if report.stage_seconds:
        tiles.append((duration(sum(report.stage_seconds.values())), "all stages together"))
    return tiles


def _figures(report: RunReport) -> str:
    if report.extraction is not None:
        caption = "The star wins. Ticks at the bottom: every architecture of the intrinsic order. Hover over a point."
        return f"<section>\n<figure>{front_svg(report)}<figcaption>{escape(caption)}</figcaption></figure>\n</section>"
    caption = (
        "The line joins the lower left edge of the front; with more than two objectives some of its "
        "members lie above. Losses are of the test split; of candidates that were not measured there, of "
        "the select split at their last rung. Hover over a point to see its architecture."
    )
    figure = f"<figure>{front_svg(report)}<figcaption>{escape(caption)}</figcaption></figure>"
    return f"<section>\n{figure}\n</section>"


def _front(report: RunReport) -> str:
    note = "Small encoders first; click a column to sort. Tinted rows are references."
    if report.is_plain:
        note = "Small encoders first; click a column to sort. Losses are errors on the test split."
    else:
        note += " Floor: the share of the teacher's output that no readout of the last block's width can reach."
    note += f" {trained[0].upper()}{trained[1:]}." if (trained := report.trained_line) else ""
    note += f" Guarantee: {report.guarantee}."
    sizes = f"Encoder: all weights without embeddings. Params: with them ({report.vocab_size:,} words)."
    if not report.shown:
        return page.section("The front", page.note("No candidate reached the front."))
    rows = "".join(_front_row(row, report) for row in report.shown)
    heads = ("W" if report.is_plain and head == "floor" else head for head in _HEADS)
    linear = page.note(f"{report.linear_line[0].upper()}{report.linear_line[1:]}.") if report.linear_line else ""
    return page.section("The front", page.note(f"{note} {sizes}"), page.table(heads, rows, sortable=True), linear)


def _front_row(row: CandidateRow, report: RunReport) -> str:
    reference = row.kind == "reference"
    name = f"◆ {row.label or row.candidate_id}" if reference else row.candidate_id
    last = row.w if report.is_plain else row.floor
    cells = (
        (name, row.label or row.candidate_id, ""),
        (count(row.encoder_params), row.encoder_params, ""),
        (percent(row.encoder_params, report.teacher_encoder_params), row.encoder_params, ""),
        (count(row.params), row.params, ""),
        (digits(row.latency_ms), row.latency_ms, ""),
        (count(row.flops), row.flops, ""),
        (loss(row.test_loss), row.test_loss, ""),
        (loss(last), last, ""),
        (row.origin, row.origin, "left"),
        (described(row.arch_id, row.hyperparameters), row.arch_id, "left arch"),
    )
    return page.row((page.cell(*cell) for cell in cells), "reference" if reference else "")


def _comparisons(report: RunReport) -> str:
    if not report.comparisons:
        return ""
    heads = (
        "uniform width",
        "encoder",
        "loss",
        "chosen",
        "encoder",
        "loss",
        "difference",
        "95 % interval",
        "",
    )
    rows = "".join(_comparison_row(row) for row in report.comparisons)
    note = (
        "Each uniform encoder against the searched one that was chosen for its size on the select split. "
        "Losses and differences are of the test split; the interval is over documents. Negative: the "
        "searched encoder is better."
    )
    return page.section("Against uniform encoders", page.note(note), page.table(heads, rows))


def _comparison_row(row: UniformComparison) -> str:
    verdict, style = "undecided", ""
    if row.high < 0:
        verdict, style = "better", "good"
    elif row.low > 0:
        verdict, style = "worse", "bad"
    cells = (
        str(row.width),
        count(row.uniform_params),
        loss(row.uniform_test),
        row.chosen_id,
        count(row.chosen_params),
        loss(row.chosen_test),
        f"{row.difference:+.4f}",
        f"{interval(row.low, row.high)} ({row.num_documents} documents)",
    )
    return page.row([*(page.cell(text, None) for text in cells), page.cell(verdict, None, style)])


def _training(report: RunReport) -> str:
    if not any(block.curve or block.floors or block.linear_loss is not None for block in report.blocks):
        return ""
    note = (
        "Loss with refitted projections, 1 = predicting the mean. Dashed: what one linear map from the "
        "block's input to its output reaches without learning. Dotted: the floor below which no path of "
        "that width can come."
    )
    figure = f"<figure>{training_svg(report.blocks)}</figure>"
    return page.section("How the supernet learned", page.note(note), figure)


def _shrinking(report: RunReport) -> str:
    if not any(block.shrinking for block in report.blocks):
        return ""
    note = "Best and mean loss of the paths that remain; the numbers count them."
    figure = f"<figure>{shrinking_svg(report.blocks)}</figure>"
    return page.section("Progressive shrinking", page.note(note), figure)


def _tables(report: RunReport) -> str:
    facts = []
    if (latency := report.latency_check) is not None:
        text = f"rank correlation {latency.spearman:.2f}, mean error {latency.mape_percent:.1f} %"
        facts.append(("Latency table", f"{text}, against {latency.num_models} whole models it was not fitted to"))
    if (table := report.table_check) is not None:
        facts.append(("Additive loss table", table.sentence))
    if not facts:
        return ""
    return page.section("How far the tables can be trusted", page.facts((n, escape(text)) for n, text in facts))


def _ranking(report: RunReport) -> str:
    if (check := report.ranking) is None:
        return ""
    note = (
        f"A few paths of each block, trained by themselves on {check.tokens:,} tokens each. Kendall's tau says how "
        "well a score orders them: 1 = as training does, 0 = by chance. What the table is worth shows against "
        "parameter count, above all among paths of like size. The table ranks by loss and size: training alone favours "
        "large paths more than shared weights let on."
    )
    rows = "".join(
        page.row(
            page.cell(text, None)
            for text in (
                row.score,
                f"{row.tau:.2f} [{row.low:.2f}, {row.high:.2f}]",
                f"{row.close_tau:.2f} [{row.close_low:.2f}, {row.close_high:.2f}] ({row.close_pairs} pairs)",
                ", ".join(f"{tau:.2f}" for tau in row.blocks),
            )
        )
        for row in check.rows
    )
    table = page.table(("score", "tau", "tau, like sizes", "by block"), rows)
    return page.section("How truly the tables rank", page.note(note), table, f"<figure>{ranking_svg(check)}</figure>")


def _stages(report: RunReport) -> str:
    total = sum(report.stage_seconds.values())
    if not total:
        return ""
    stages = [(stage, spent, WIDTHS[i % len(WIDTHS)]) for i, (stage, spent) in enumerate(report.stage_seconds.items())]
    bar = "".join(f'<i style="flex:{spent / total:.4f};background:{colour}"></i>' for _, spent, colour in stages)
    keys = "".join(
        f'<span><i class="key" style="background:{colour}"></i>{escape(stage)} {duration(spent)}</span>'
        for stage, spent, colour in stages
    )
    return page.section(f"Stages: {duration(total)}", f'<div class="bar">{bar}</div><div class="stages">{keys}</div>')


def _commands(report: RunReport) -> str:
    commands = (
        ("Query the front", report.front_command),
        ("Resume", report.resume_command),
        ("MLflow UI", report.ui_command),
    )
    facts = [(name, f"<code>{escape(command)}</code>") for name, command in commands if command]
    return page.section("Go on", page.facts([*facts, ("Run folder", f"<code>{escape(report.run_dir)}</code>")]))


def _spec(report: RunReport) -> str:
    if not report.spec_yaml:
        return ""
    return (
        "<section><details><summary>The trial spec, resolved</summary>"
        f"<pre>{escape(report.spec_yaml)}</pre></details></section>"
    )
