"""Tables, figures and the page, on a run of ordinary size and on odd ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from nas_ray.report import (
    BlockTraining,
    RunReport,
    comparison_table,
    front_table,
    stage_line,
    write_figure,
    write_html,
)
from nas_ray.report._text import count, digits, duration, loss, percent, short

Make = Callable[..., RunReport]
HOSTILE = "</title></style><script>alert('1')</script>\"' $x^ {{}} [bold]é☃"


def text(renderable: RenderableType) -> str:
    console = Console(width=100, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


class Page(HTMLParser):
    """Tags, their nesting, and everything that could leave the page."""

    VOID = frozenset({"meta", "use", "path", "rect", "br", "hr", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action") and not (value or "").startswith("#"):
                self.outside.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.outside.append(f"{tag} {name}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def page(report: RunReport, path: Path) -> tuple[str, Page]:
    write_html(report, path)
    found, parsed = path.read_text("utf-8"), Page()
    parsed.feed(found)
    assert parsed.open == []
    assert parsed.outside == []
    assert parsed.tags.count("script") == 1
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    return found, parsed


def test_front_table_is_ordered_and_fits(make: Make) -> None:
    report = make()
    printed = text(front_table(report))
    assert max(len(line) for line in printed.splitlines()) <= 100
    names = [f"◆ {row.label}" if row.label else row.candidate_id for row in report.shown]
    places = [printed.index(name) for name in names]
    assert places == sorted(places)
    assert printed.count("◆ uniform") == 3
    assert "12 encoders on the front" in printed
    assert "000000000024    4.18 M     39 %  8.13 M  7.14  1.07 G  0.2055   .041" in printed
    sizes = [row.encoder_params or 0 for row in report.shown]
    assert sizes == sorted(sizes)


def test_humbling_lines_stand_beside_every_loss(make: Make, tmp_path: Path) -> None:
    linear = "ne linear layer for each block: 0.21, 0.19, 0.52 (block losses, refitted)"
    tau = "0.81 with the measured loss over 49 candidates; parameter count alone 0.74"
    teacher = [replace(row, floor=0.0) if row.label == "teacher" else row for row in make().rows]
    report = make(rows=tuple(teacher))
    printed = text(front_table(report))
    assert linear in printed
    assert tau in " ".join(printed.split())
    assert "0.0000      0" in next(line for line in printed.splitlines() if "teacher  " in line and "◆" in line)
    found, _ = page(report, tmp_path / "report.html")
    assert linear in found
    assert tau in found
    assert 'data-value="0.041">0.0410<' in found
    bare = text(front_table(make(blocks=(), table_check=None)))
    assert "linear" not in bare
    assert "tau" not in bare


def test_comparison_table_and_stage_line(make: Make) -> None:
    printed = text(comparison_table(make()))
    assert max(len(line) for line in printed.splitlines()) <= 100
    assert "-0.0641 … -0.0533" in printed
    assert "…" not in printed.splitlines()[2]
    assert stage_line(make()).endswith("report 3.9 s · total 9 min 27 s")
    assert text(comparison_table(make(comparisons=())))


def test_figure_is_a_png(make: Make, tmp_path: Path) -> None:
    write_figure(make(), tmp_path / "front.png")
    data = (tmp_path / "front.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20]) == 1650
    assert [path.name for path in tmp_path.iterdir()] == ["front.png"]


def test_page_has_everything(make: Make, tmp_path: Path) -> None:
    found, parsed = page(make(), tmp_path / "report.html")
    assert parsed.tags.count("svg") == 3
    assert parsed.tags.count("table") == 2
    for fact in (
        "12</b>", "3.7 % – 66 %", "1 of 3", "whole space", "uniform 192", "undecided",
        "one linear map", "width 128", "rank correlation 0.98", "tau 0.81", "supernet 5 min 12 s",
        "nas-ray resume runs/", "nas-ray ui runs/", "searcher: nsga2",
        "prefers-color-scheme: dark", "var(--ink)",
    ):  # fmt: skip
        assert fact in found, fact
    assert found.count('class="tip"') == 2 * 16


def test_page_is_the_same_each_time(make: Make, tmp_path: Path) -> None:
    assert page(make(), tmp_path / "report.html")[0] == page(make(), tmp_path / "report.html")[0]


def test_hostile_text_stays_text(make: Make, tmp_path: Path) -> None:
    report = make()
    rows = tuple(
        replace(
            row,
            label=HOSTILE if row.kind == "reference" else "",
            arch_id=HOSTILE,
            origin=HOSTILE,
            status=HOSTILE,
        )
        for row in report.rows
    )
    hostile = make(
        name=HOSTILE, teacher=HOSTILE, run_dir=HOSTILE, objectives=(HOSTILE,), guarantee=HOSTILE, rows=rows,
        stage_seconds={HOSTILE: 1.0}, resume_command=HOSTILE, ui_command=HOSTILE, spec_yaml=HOSTILE,
        comparisons=tuple(replace(row, chosen_id=HOSTILE) for row in report.comparisons),
    )  # fmt: skip
    found, _ = page(hostile, tmp_path / "report.html")
    assert "<script>alert" not in found
    assert "&lt;script&gt;alert" in found
    assert "[bold]" in text(front_table(hostile))
    assert text(comparison_table(hostile))
    assert "alert" in stage_line(hostile)
    (tmp_path / "figure").mkdir()
    write_figure(hostile, tmp_path / "figure" / "front.png")


@pytest.mark.parametrize("odd", ["one candidate", "no front", "nothing", "nothing measured", "one size", "nan"])
def test_odd_runs(odd: str, make: Make, tmp_path: Path) -> None:
    report = make()
    unmeasured = ("encoder_params", "params", "latency_ms", "flops", "test_loss", "select_loss")
    rows = {
        "one candidate": report.front[:1],
        "no front": tuple(replace(row, pareto=False) for row in report.rows),
        "nothing": (),
        "nothing measured": tuple(
            replace(row, **dict.fromkeys(unmeasured)) for row in report.rows
        ),
        "one size": tuple(replace(row, encoder_params=10**6, latency_ms=3.0) for row in report.rows),
        "nan": tuple(replace(row, test_loss=float("nan"), latency_ms=float("inf")) for row in report.rows),
    }  # fmt: skip
    bare = make(
        rows=rows[odd],
        comparisons=(),
        stage_seconds={},
        blocks=(),
        latency_check=None,
        table_check=None,
        spec_yaml="",
    )
    assert text(front_table(bare))
    assert stage_line(bare) == "total 0.0 s"
    found, _ = page(bare, tmp_path / "report.html")
    assert "Against uniform" not in found
    assert "shrinking" not in found
    (tmp_path / "figure").mkdir()
    write_figure(bare, tmp_path / "figure" / "front.png")


def test_blocks_with_gaps(make: Make, tmp_path: Path) -> None:
    blocks = (BlockTraining(), BlockTraining(linear_loss=0.2), BlockTraining(curve=((0, 0.5),)))
    found, _ = page(make(blocks=blocks * 3), tmp_path / "report.html")
    assert "block 8" in found
    assert "Progressive" not in found


def test_numbers() -> None:
    assert [count(x) for x in (None, 7, 999, 999_600, 2_310_000, 1.5e9)] == [
        "–",
        "7",
        "999",
        "1.00 M",
        "2.31 M",
        "1.50 G",
    ]
    assert [digits(x) for x in (None, 0.123, 9.999, 12.34, 123.4)] == ["–", "0.12", "10.0", "12.3", "123"]
    assert [duration(x) for x in (3.94, 59.6, 312, 11_400)] == [
        "3.9 s",
        "1 min 0 s",
        "5 min 12 s",
        "3 h 10 min",
    ]
    assert (percent(22, 100), percent(1, 30), percent(None, 3), percent(1, 0)) == ("22 %", "3.3 %", "–", "–")
    assert (loss(0.12345), loss(float("nan"))) == ("0.1235", "–")
    assert short("e128/192:M6-F4-S5/256:S3x1") == "e128 192:M6F4S5 256:S3x1"
    assert short("uniform:D4-A8-H512-I1024") == "D4 A8 H512 I1024"


def test_import_is_light() -> None:
    heavy = "{'torch', 'ray', 'mlflow', 'matplotlib'}"
    code = f"import sys, nas_ray.report; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
