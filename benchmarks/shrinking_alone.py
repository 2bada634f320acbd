"""What shrinking chose, trained by itself: are the paths that one mode prefers better than those of another?

    python benchmarks/ranking.py states                    hidden states of every block, once (2 GB)
    python -m benchmarks.shrinking_alone run               the trainings that are missing
    python -m benchmarks.shrinking_alone table

Reads the rows of ``shrinking.py``: of each seed and bin the path that each mode chose on *select*. Where modes agree,
equal paths make equal models; where they differ, each path is trained alone from the teacher's weights on 0.3 million
tokens, with the seed of its row, and read by a readout of its own. Rows go to ``results/shrinking/alone.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ranking import COUNTS, RATES, Held, worker
from nas_ray.distill import StandAlonePlan

FOLDER = Path(__file__).parent / "results" / "shrinking"
CHOICES, ROWS = FOLDER / "runs.jsonl", FOLDER / "alone.jsonl"
MODES = ("none", "paths", "operations")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("run", "table"))
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.task == "run":
        run()
    else:
        table()


def read(file: Path) -> list[Row]:
    """The whole lines of ``file``."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def choices() -> dict[tuple[int, int], dict[str, str]]:
    """By seed and bin: the path that each mode chose, of the bins in which all modes have one."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    for row in read(CHOICES):
        for number, best in row["best"].items():
            found.setdefault((row["seed"], int(number)), {})[row["mode"]] = best["path"]
    return {key: by_mode for key, by_mode in sorted(found.items()) if set(by_mode) == set(MODES)}


def run() -> None:
    """Train whatever modes disagree about and has no row."""
    (block,) = {row["settings"]["block"] for row in read(CHOICES)}
    done = {(row["seed"], row["path"]) for row in read(ROWS)}
    disputed = {
        (seed, path) for (seed, _), paths in choices().items() if len({*paths.values()}) > 1 for path in paths.values()
    }
    here = worker(block, 0, "auto", steps=0, start="inherit")
    here.standalone.cache = Held(block, "train")  # type: ignore[assignment]
    plan = StandAlonePlan(steps=COUNTS["train"] * 2, sequences=4, learning_rate=RATES["inherit"][block])
    for seed, path in sorted(disputed - done):
        began = time.perf_counter()
        loss = here.train_standalone(path, plan, COUNTS["train"], "inherit", seed)
        row = {
            "seed": seed,
            "block": block,
            "path": path,
            "loss": loss,
            "seconds": round(time.perf_counter() - began, 1),
        }
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def table() -> None:
    """By bin: what modes chose, and the loss trained alone minus that of the choice without shrinking."""
    alone = {(row["seed"], row["path"]): row["loss"] for row in read(ROWS)}
    print("| bin | seed | none | paths | operations | paths - none | operations - none |")
    print("|---|---|---|---|---|---|---|")
    pooled: dict[str, list[float]] = {mode: [] for mode in MODES[1:]}
    for (seed, number), paths in choices().items():
        own = paths["none"]
        differences = {
            mode: 0.0 if paths[mode] == own else alone[seed, paths[mode]] - alone[seed, own] for mode in MODES[1:]
        }
        for mode, difference in differences.items():
            pooled[mode].append(difference)
        if len({*paths.values()}) > 1:
            cells = [f"`{paths[mode]}` {alone[seed, paths[mode]]:.4f}" for mode in MODES]
            shown = [f"{difference:+.4f}" for difference in differences.values()]
            print(f"| {number + 1} | {seed} | {' | '.join([*cells, *shown])} |")
    for mode, found in pooled.items():
        print(f"{mode} - none, mean over {len(found)} bins and seeds: {np.mean(found):+.5f}")


if __name__ == "__main__":
    main()
