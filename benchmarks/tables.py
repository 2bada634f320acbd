"""How near a latency table is to whole models that did not calibrate it, and whether budgets hold when measured.

    nas-ray profile minilm_small --runtime onnxruntime --output FOLDER/one.parquet
    nas-ray profile minilm_small --runtime onnxruntime --batch-size 8 --output FOLDER/eight.parquet
    python benchmarks/tables.py models minilm_small FOLDER/one.parquet FOLDER/eight.parquet
    python benchmarks/tables.py budgets RUN FOLDER/one.parquet
    python benchmarks/tables.py table

On an idle machine, minutes after the tables were measured; what a table holds for is in it. ``models``: seeded students
of the space, stratified by size, in rounds over all of them. ``budgets``: at each budget of encoder parameters and of
milliseconds the best of the whole space by the tables of RUN, its weights counted and its latency measured in the same
rounds. Rows go to ``benchmarks/results/tables.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nas_ray.blocks import build_student
from nas_ray.measure import LatencyRequest, measure_models, spearman
from nas_ray.modeling import Numerics
from nas_ray.search import table_problem
from nas_ray.space import Architecture, PathSpace, TeacherShape, teacher_path
from nas_ray.spec import load_space
from nas_ray.stages import Run
from nas_ray.stages.profile import check_models
from nas_ray.tables import Costs, PartTable, QualityTable, params_table
from nas_ray.teacher import resolve_teacher, teacher_shape

ROWS = Path(__file__).parent / "results" / "tables.jsonl"
CALIBRATING = 128  # models, at most, that a table was calibrated on
DRAWN = 4000  # random students that strata are made of
SHARES = (0.75, 0.5, 0.25, 0.1)  # of the teacher's cost: budgets

Parts = tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("models")
    command.add_argument("space")
    command.add_argument("tables", type=Path, nargs="+")
    command.add_argument("--teacher", default="minilm")
    command.add_argument("--models", type=int, default=30)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("budgets")
    command.add_argument("run", type=Path)
    command.add_argument("table", type=Path)
    for name in ("models", "budgets"):
        commands.choices[name].add_argument("--repeats", type=int, default=20)
        commands.choices[name].add_argument("--rows", type=Path, default=ROWS)
    command = commands.add_parser("table")
    command.add_argument("--rows", type=Path, default=ROWS)
    args = parser.parse_args()
    if args.command == "models":
        space, shape = load_space(args.space), teacher_shape(resolve_teacher(args.teacher).config)
        assert isinstance(space, PathSpace), "spaces of kind paths"
        for file in args.tables:
            keep(args.rows, compare(space, shape, PartTable.read(file), args.models, args.repeats, args.seed))
    elif args.command == "budgets":
        for row in budgets(args.run, PartTable.read(args.table), args.repeats):
            keep(args.rows, row)
    table(args.rows)


def compare(
    space: PathSpace, shape: TeacherShape, latency: PartTable, count: int, repeats: int, seed: int
) -> dict[str, Any]:
    """The table's error on ``count`` models that it has not seen."""
    params = params_table(space, shape)
    costs = Costs(space, shape, "inherit", params, params, latency)
    models = held_out(costs, count, seed)
    teacher = costs.parts(teacher_of(space, shape))
    *measured, teacher_ms = times([*models, teacher], latency, repeats)
    return {
        "kind": "models",
        **key_of(latency),
        "space": space.name,
        "repeats": repeats,
        "teacher_table_ms": round(latency.total(teacher), 3),
        "teacher_ms": round(teacher_ms, 3),
        **errors(models, costs, measured, teacher_ms / latency.total(teacher)),
    }


def teacher_of(space: PathSpace, shape: TeacherShape) -> Architecture:
    """The teacher as the space writes it."""
    frozen = teacher_path(shape, space.num_blocks, space.head_size)
    assert frozen is not None, "the space can write the teacher"
    return Architecture(shape.hidden, (frozen,) * space.num_blocks)


def held_out(costs: Costs, count: int, seed: int) -> list[Parts]:
    """Random students, one of each of ``count`` equal strata by size; none that may have calibrated a table."""
    rng = np.random.default_rng([seed, 29])
    known = {
        parts for number in range(8, 129, 8) for parts in check_models(costs.space, costs.shape, "inherit", number, 0)
    }
    drawn = dict.fromkeys(costs.parts(costs.space.sample(rng)) for _ in range(DRAWN))
    ordered = sorted((parts for parts in drawn if parts not in known), key=lambda parts: size_of(costs, parts))
    strata = np.array_split(np.arange(len(ordered)), count)
    return [ordered[int(rng.choice(stratum))] for stratum in strata]


def errors(models: Sequence[Parts], costs: Costs, measured: Sequence[float], slowdown: float) -> dict[str, Any]:
    """Median error of the table's sums, rank correlation over all models and within the middle third of sizes.

    ``slowdown``: the teacher's milliseconds now, by the table's. Sums times it are what the table says about models as
    shares of the teacher, whatever the machine's speed has become since.
    """
    found, true = np.array([costs.latency.total(parts) for parts in models]), np.array(measured)
    order = np.argsort([size_of(costs, parts) for parts in models], kind="stable")
    middle = np.array_split(order, 3)[1]
    return {
        "models": len(models),
        "median_error_percent": round(100 * float(np.median(np.abs(found / true - 1))), 2),
        "worst_error_percent": round(100 * float(np.max(np.abs(found / true - 1))), 2),
        "median_share_error_percent": round(100 * float(np.median(np.abs(found * slowdown / true - 1))), 2),
        "spearman": round(spearman(found, true), 4),
        "spearman_middle": round(spearman(found[middle], true[middle]), 4),
        "table_ms": [round(float(v), 3) for v in found[order]],
        "measured_ms": [round(float(v), 3) for v in true[order]],
    }


def budgets(folder: Path, latency: PartTable, repeats: int) -> list[dict[str, Any]]:
    """The best model of each budget by the tables, as it is when counted and measured."""
    run = Run.open(folder)
    assert isinstance(run.space, PathSpace), "runs of kind paths"
    costs = replace(Costs.read(folder / "tables", run.space, run.spec.supernet.start), latency=latency)
    problem = table_problem(
        costs, QualityTable.read(folder / "tables" / "quality.parquet"), ("encoder_params", "latency_ms")
    )
    teacher = costs.of(teacher_of(run.space, costs.shape))
    found = []
    for metric in ("encoder_params", "latency_ms"):
        for share in SHARES:
            budget = share * teacher[metric]
            points = problem.top(1, {metric: budget}).points
            if points:  # else nothing is so small
                architecture = problem.architecture(points[0].names)
                found.append((metric, share, budget, architecture.arch_id, costs.parts(architecture)))
    whole = costs.parts(teacher_of(run.space, costs.shape))
    *measured, teacher_ms = times([*(parts for *_, parts in found), whole], latency, repeats)
    rows = []
    for (metric, share, budget, arch_id, parts), milliseconds in zip(found, measured, strict=True):
        true = {"encoder_params": float(counted(parts, latency)), "latency_ms": milliseconds}[metric]
        rows.append({
            "kind": "budget", **key_of(latency), "metric": metric, "share": share, "budget": round(budget, 3),
            "arch_id": arch_id, "measured": round(true, 3), "over": true > budget,
            "table_ms": round(latency.total(parts), 3), "measured_ms": round(milliseconds, 3),
            "teacher_table_ms": round(teacher["latency_ms"], 3), "teacher_ms": round(teacher_ms, 3),
        })  # fmt: skip
    return rows


def times(models: Sequence[Parts], latency: PartTable, repeats: int) -> list[float]:
    """Milliseconds of each model at the table's own key, in rounds over all of them."""
    return measure_models(LatencyRequest.whole(latency.metadata["key"], models, repeats))


def counted(parts: Parts, latency: PartTable) -> int:
    """Weights behind the embedding of a student that is built."""
    key = latency.metadata["key"]
    student = build_student(parts, key["vocab_size"], key["num_positions"], key["head_size"], Numerics())
    return sum(weight.numel() for weight in student.stages.parameters())


def size_of(costs: Costs, parts: Parts) -> float:
    """Encoder parameters."""
    return costs.additive(parts, "encoder_params")


def key_of(latency: PartTable) -> dict[str, Any]:
    """What tells one table from another."""
    key = latency.metadata["key"]
    return {name: key[name] for name in ("processor", "runtime", "dtype", "threads", "sequence_length", "batch_size")}


def keep(file: Path, row: dict[str, Any]) -> None:
    """Add a row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def table(file: Path) -> None:
    """All rows as Markdown."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    print("| runtime | batch | threads | models | median error | worst | of the share | Spearman | middle third |")
    print("|---" * 9 + "|")
    for row in (row for row in rows if row["kind"] == "models"):
        print(
            f"| {row['runtime']} | {row['batch_size']} | {row['threads']} | {row['models']} | "
            f"{row['median_error_percent']:.1f} % | {row['worst_error_percent']:.1f} % | "
            f"{row.get('median_share_error_percent', '-')} % | {row['spearman']:.3f} | {row['spearman_middle']:.3f} |"
        )
    print("\n| budget | chosen | measured | over |")
    print("|---" * 4 + "|")
    for row in (row for row in rows if row["kind"] == "budget"):
        digits = 2 if row["metric"] == "latency_ms" else 0
        print(
            f"| {row['budget']:,.{digits}f} {row['metric']} ({row['share']:.0%} of the teacher) | `{row['arch_id']}` | "
            f"{row['measured']:,.{digits}f} | {'yes' if row['over'] else 'no'} |"
        )


if __name__ == "__main__":
    main()
