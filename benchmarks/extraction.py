"""What the FPTAS finds against exhaustion and against as many random trainings; resumable.

    python benchmarks/extraction.py run [--seed 0] [--storage runs/extraction]    trains the whole grid: epsilon 1
    python benchmarks/extraction.py table

``run`` is ``nas-ray search bort_small`` with ``extraction.epsilon: 1``: 216 trainings, about ten minutes on two cores.
A training depends on its architecture and the seed alone, so what another epsilon finds follows from these rows. The
order begins at its first element, as in a run; ``any start`` is the mean over the epsilon starts that the order could
have. As many random trainings, without repetition: the mean over 20,000 draws. Rows go to
``benchmarks/results/extraction.jsonl``, one a training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from nas_ray import api
from nas_ray.stages import Silent
from nas_ray.tables import read_parquet

ROWS = Path(__file__).parent / "results" / "extraction.jsonl"
EPSILONS = (1, 2, 4, 6)
DRAWS = 20_000


class Lines(Silent):
    """Progress as plain lines."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, done: float, total: float, unit: str, note: str = "") -> None:
        if done % 12 == 0:
            print(f"  {done:.0f} of {total:.0f} {unit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", type=Path, default=Path("runs/extraction"))
    args = parser.parse_args()
    if args.command == "run":
        run(args.seed, args.storage)
    table()


def run(seed: int, storage: Path) -> None:
    """Train the whole grid, and keep its rows."""
    if any(row["seed"] == seed for row in rows()):
        return
    overrides = ["extraction.epsilon=1", f"seed={seed}", "tracking.enabled=false", f"name=extraction-{seed}"]
    found = api.search("bort_small", overrides=overrides, storage=storage, console=Lines())
    order, _ = read_parquet(found.folder / "tables/order.parquet")
    places = {arch_id: place for place, arch_id in enumerate(order["arch_id"])}
    report = api.load_report(found.folder)
    seconds = report.stage_seconds["search"]
    with ROWS.open("a") as file:
        for row in sorted(report.by_w, key=lambda row: places[row.arch_id]):
            kept = {
                "seed": seed, "place": places[row.arch_id], "arch_id": row.arch_id, "params": row.params,
                "flops": row.flops, "error": row.select_loss, "w": row.w, "search_s": round(seconds, 1),
            }  # fmt: skip
            file.write(json.dumps(kept) + "\n")


def rows() -> list[dict[str, Any]]:
    """All rows so far."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.is_file() else []


def table() -> None:
    """W found over the best W, by epsilon and seed."""
    print("| seed | best | epsilon | trainings | winner | found / best | any start | random |")
    print("|---|---|---|---|---|---|---|---|")
    known = rows()
    for seed in sorted({row["seed"] for row in known}):
        own = sorted((row for row in known if row["seed"] == seed), key=lambda row: row["place"])
        w = np.array([row["w"] for row in own])
        rng = np.random.default_rng(seed)
        for epsilon in EPSILONS:
            starts = [w[start::epsilon].max() for start in range(epsilon)]
            count = len(w[::epsilon])
            random = np.mean([w[rng.choice(len(w), size=count, replace=False)].max() for _ in range(DRAWS)])
            best, winner = own[int(w.argmax())], own[int(w[::epsilon].argmax()) * epsilon]
            name, other = (found["arch_id"].removeprefix("uniform:") for found in (best, winner))
            print(
                f"| {seed} | {name} | {epsilon} | {count} | {other} | {starts[0] / w.max():.4f} | "
                f"{np.mean(starts) / w.max():.4f} | {random / w.max():.4f} |"
            )


if __name__ == "__main__":
    main()
