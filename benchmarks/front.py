"""The tables' answer within a bound against an evolutionary search under the same bound; resumable.

    python benchmarks/front.py run RUN [FOLDER]     RUN: a finished quickstart; it is copied, not changed
    python benchmarks/front.py table

At each bound on the encoder's parameters: the exact 100 best of the whole space by the tables, stitched and judged on
*select* (``nas-ray front RUN --tables --top 100 --evaluate``); and 400 candidates by regularised evolution in Tune,
with the quickstart's rungs and early stopping. Of both the best on *select* is measured on *test*, which chose nothing;
the difference is paired by document. Rows go to ``benchmarks/results/front.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from nas_ray import api
from nas_ray.stages import Context, Run
from nas_ray.stages.test import mean_error, paired_interval, read_errors
from nas_ray.tables import read_rows

ROWS = Path(__file__).parent / "results" / "front.jsonl"
BOUNDS = (2.5e6, 4.5e6, 7.0e6)  # of the teacher's 10.6 M
TOP, TRIALS = 100, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run")
    command.add_argument("run", type=Path)
    command.add_argument("folder", type=Path, nargs="?")
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "run":
        storage = args.folder or Path(tempfile.mkdtemp(prefix="nas_ray-front-"))
        for bound in BOUNDS:
            if all(row["bound"] != bound for row in rows()):
                keep(compare(args.run, storage, bound))
    table()


def compare(source: Path, storage: Path, bound: float) -> dict[str, Any]:
    """Both answers at ``bound``."""
    began = time.perf_counter()
    solved = _copy(source, storage / f"tables-{bound:.0f}")
    found = api.evaluate(solved, bounds={"encoder_params": bound}, top=TOP)
    mine = min((row for row in found["candidates"] if row["status"] == "completed"), key=lambda row: row["select_loss"])
    evaluated, began = time.perf_counter() - began, time.perf_counter()
    evolved = _copy(source, storage / f"evolution-{bound:.0f}")
    overrides = [
        "search.searcher.name=evolution", f"search.num_candidates={TRIALS}", "search.proposals=0",
        f"search.constraints.encoder_params={bound:.0f}", "search.enqueue={}",
    ]  # fmt: skip
    api.resume(evolved, overrides=overrides, start="search")
    searched = time.perf_counter() - began
    rivals = [row for row in read_rows(evolved / "candidates.parquet")[0] if row["kind"] == "candidate"]
    theirs = min((row for row in rivals if row["status"] == "completed"), key=lambda row: row["select_loss"])
    a = read_errors(Context(Run.open(solved)))[mine["candidate_id"]]
    b = read_errors(Context(Run.open(evolved)))[theirs["candidate_id"]]
    difference, low, high = paired_interval(a, b, 0)
    return {
        "bound": bound,
        "top_1_select": found["candidates"][0]["select_loss"],
        "tables_select": mine["select_loss"],
        "tables_test": mean_error(a),
        "tables_arch": mine["arch_id"],
        "kendall_tau": found["verdict"]["kendall_tau"],
        "judged": found["verdict"]["judged"],
        "evolution_select": theirs["select_loss"],
        "evolution_test": mean_error(b),
        "evolution_arch": theirs["arch_id"],
        "trials": len(rivals),
        "difference": difference,
        "low": low,
        "high": high,
        "documents": len(a),
        "evaluate_s": round(evaluated, 1),
        "evolution_s": round(searched, 1),
    }


def _copy(source: Path, target: Path) -> Path:
    """A copy of the run that goes on alone; one that was begun goes on."""
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target)
        text = (target / "spec.yaml").read_text(encoding="utf-8")
        (target / "spec.yaml").write_text(text.replace("enabled: true", "enabled: false"), encoding="utf-8")
    return target


def rows() -> list[dict[str, Any]]:
    """All rows so far."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.is_file() else []


def keep(row: dict[str, Any]) -> None:
    """Add a row."""
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table() -> None:
    """One line a bound."""
    print("| encoder params | best of the tables' 100 | best of 400 by evolution | difference on test | tau |")
    print("|---|---|---|---|---|")
    for row in rows():
        print(
            f"| {row['bound'] / 1e6:g} M | {row['tables_test']:.4f} | {row['evolution_test']:.4f} | "
            f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] | {row['kendall_tau']:.2f} |"
        )


if __name__ == "__main__":
    main()
