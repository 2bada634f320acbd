"""The tables of ``docs/benchmarks.md`` and a figure, from the committed rows alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from benchmarks.quality._bundle import ARMS_FILE, DROPPED, RANDOM, SEARCHED, UNIFORM, Arms
from benchmarks.quality._intervals import Interval
from benchmarks.quality._results import MEASURES, Measure, Results
from benchmarks.quality._rows import Rows
from benchmarks.quality._setting import RESULTS, TABLES, Setting

DOCS = Path(__file__).parents[2] / "docs"
ORDER = (UNIFORM, *SEARCHED, DROPPED, RANDOM)
_COMPARED = [*((arm, UNIFORM) for arm in SEARCHED), ("searched, encoder", DROPPED), ("searched, encoder", RANDOM)]
_TITLES = {"teacher": "All start from the teacher's weights", "scratch": "All start from scratch"}


def report(setting: Setting, file: Path | None = None) -> None:
    """Print the tables; write the figure beside the rows, or to ``docs/`` if they are the committed ones."""
    results, figure = RESULTS, DOCS / f"quality-{setting.name}.png"
    if file is not None:
        results, figure = file.parent, file.with_suffix(".png")
    arms = Arms.read(results / ARMS_FILE)
    rows = Rows(file or setting.file, arms.digest, setting.tokens).read()
    for line in lines(arms, Results(arms, rows), setting, _speed(results / "speed.json", arms)):
        print(line)
    from benchmarks.quality._figure import draw

    draw(Results(arms, rows), figure)
    print(f"\nfigure: {figure.name}")


def lines(arms: Arms, results: Results, setting: Setting, speed: dict[str, float]) -> Iterable[str]:
    """All of the report."""
    yield from _about(arms, results, setting)
    yield from _models(arms, speed)
    for table in TABLES:
        if any(key[0] == table for key in results.rows):
            yield f"\n**{_TITLES[table]}**\n"
            yield from _values(arms, results, table)
            yield from _differences(arms, results, table)
            yield from _places(arms, results, table)


def _about(arms: Arms, results: Results, setting: Setting) -> Iterable[str]:
    about, rows = arms.about, list(results.rows.values())
    trained = [row for row in rows if row["table"]]
    tokens = sorted({row["tokens"] for row in trained})
    spent = sum(row["train_s"] + row["measure_s"] for row in rows) / 3600
    seen = about["test_texts_in_search"]
    yield (
        f"{len(trained)} trainings of {min(tokens, default=0):,} to {max(tokens, default=0):,} tokens "
        f"({setting.sequences} texts a step), {spent:.1f} hours of one process in all. Supernets of the search: "
        f"{about['supernet_tokens']:,} tokens a block, {about['supernet_path_tokens']:,} path tokens; "
        + ("none of the test texts were among them." if not seen else f"{seen:,} of their texts are test texts.")
    )
    teacher = results.rows.get(("", "teacher", 0))
    if teacher:
        found = {k: results.resamples[k].means(teacher["parts"][k])[0] for k in ("movie", "question")}
        yield (
            f"Teacher: movie sentiment {found['movie']:.3f} (chance {about['chance']['movie']:.3f}), question types "
            f"{found['question']:.3f} ({about['chance']['question']:.3f}).\n"
        )


def _models(arms: Arms, speed: dict[str, float]) -> Iterable[str]:
    key = arms.about["latency_key"]
    yield _row(
        "size",
        "arm",
        "architecture",
        "encoder",
        "params",
        "FLOPs",
        f"table, {key['runtime']}",
        "PyTorch",
        "ONNX Runtime",
    )
    yield _rule(9)
    for size, name in enumerate(arms.sizes):
        for arm in ORDER[:-1]:
            for number in arms.of(size, arm):
                cost = arms.models[number].costs
                sizes = [f"{cost[name] / 1e6:.2f} M" for name in ("encoder_params", "params")]
                work = [f"{cost['flops'] / 1e9:.2f} G", f"{cost['latency_ms']:.2f} ms"]
                ups = [_faster(speed, runtime, number) for runtime in ("torch", "onnxruntime")]
                yield _row(name, arm, f"`{arms.models[number].arch}`", *sizes, *work, *ups)
        randoms = [arms.models[number].costs["encoder_params"] / 1e6 for number in arms.of(size, RANDOM)]
        yield _row(name, f"{len(randoms)} random", "", f"{min(randoms):.2f} to {max(randoms):.2f} M", *[""] * 5)


def _values(arms: Arms, results: Results, table: str) -> Iterable[str]:
    yield _row("measure", "size", *ORDER)
    yield _rule(2 + len(ORDER))
    for measure in MEASURES:
        for size, name in enumerate(arms.sizes):
            cells = [_value(results, table, measure, size, arm) for arm in ORDER]
            if any(cells):
                yield _row(measure.title, name, *cells)


def _differences(arms: Arms, results: Results, table: str) -> Iterable[str]:
    yield "\nDifferences, 95 % intervals; bold: the interval leaves 0 out. Pooled: the mean over sizes.\n"
    yield _row("measure", "difference", *arms.sizes, "pooled")
    yield _rule(3 + len(arms.sizes))
    for measure in MEASURES:
        better = "less is better" if measure.lower_is_better else "more is better"
        for arm, other in _COMPARED:
            found, pooled = results.compared(table, measure, arm, other)
            if pooled is not None:
                cells = [_interval(one, measure) for one in (*found, pooled)]
                yield _row(f"{measure.title} ({better})", f"{arm} - {other}", *cells)


def _places(arms: Arms, results: Results, table: str) -> Iterable[str]:
    yield "\nPlace of the first seed among the random architectures of a size, same texts in the same order:\n"
    yield _row("measure", "arm", *arms.sizes)
    yield _rule(2 + len(arms.sizes))
    for measure in MEASURES:
        for arm in SEARCHED:
            places = [results.place(table, measure, size, arm) for size in range(len(arms.sizes))]
            if any(places):
                yield _row(measure.title, arm, *("" if p is None else f"{p[0]} of {p[1]}" for p in places))


def _value(results: Results, table: str, measure: Measure, size: int, arm: str) -> str:
    found = results.values(table, measure, size, arm)
    if not found:
        return ""
    digits = measure.digits
    mean = f"{sum(found) / len(found):.{digits}f}"
    return f"{mean} ({min(found):.{digits}f} … {max(found):.{digits}f})" if arm == RANDOM else mean


def _interval(found: Interval | None, measure: Measure) -> str:
    if found is None:
        return ""
    digits = measure.digits
    text = f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
    return f"**{text}**" if found.excludes_0 else text


def _speed(file: Path, arms: Arms) -> dict[str, float]:
    """Milliseconds by runtime and model, if they were measured for these arms."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return dict(found["milliseconds"]) if found.get("bundle") == arms.digest else {}


def _faster(speed: dict[str, float], runtime: str, model: str) -> str:
    mine, teacher = speed.get(f"{runtime} {model}"), speed.get(f"{runtime} teacher")
    return "" if mine is None or teacher is None else f"{mine:.2f} ms, {teacher / mine:.1f}x"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(count: int) -> str:
    return "|" + "---|" * count
