"""Distillation before fine-tuning (upstream), during it (downstream), both and none, as one table.

    nas-ray compare ALONE TAUGHT --tasks question_type,movie_sentiment
    nas-ray compare ALONE TAUGHT --tasks question_type,movie_sentiment --teacher minilm
    python benchmarks/distillation.py runs/compared/FIRST runs/compared/SECOND

ALONE and TAUGHT are one architecture, retrained without a teacher and with one (``nas-ray retrain``). Differences are
of fine-tunings with the same seed; intervals are Student's t over seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nas_ray.stages.tasks._statistics import spread, verdict

ARMS = ("none", "upstream", "downstream", "both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path, help="folder of the comparison without --teacher")
    parser.add_argument("taught", type=Path, help="folder of the comparison with --teacher")
    args = parser.parse_args()
    found = [json.loads((folder / "comparison.json").read_text()) for folder in (args.plain, args.taught)]
    tasks: dict[str, str] = found[0]["tasks"]
    rows = [row for one in found for row in one["models"]]
    if len(rows) != len(ARMS) or found[1]["tasks"] != tasks or not found[1]["teacher"]:
        parser.error("accepted: two comparisons of the same two models on the same tasks, the second with --teacher")
    print(f"| distilled | {' | '.join(f'{task} | against none' for task in tasks)} |")
    print(f"|---|{'---|---|' * len(tasks)}")
    scores = {
        (arm, task): _scores(Path(row["tasks"][task]["folder"]), metric)
        for arm, row in zip(ARMS, rows, strict=True)
        for task, metric in tasks.items()
    }
    for arm in ARMS:
        cells = []
        for task in tasks:
            mine = spread(scores[arm, task])
            cells.append(f"{100 * (mine['mean'] or 0):.1f} ± {100 * (mine['deviation'] or 0):.1f}")
            pairs = zip(scores[arm, task], scores["none", task], strict=True)
            gain = verdict([one - other for one, other in pairs])
            low, high = (100 * (gain[end] or 0) for end in ("low", "high"))
            cells.append("" if arm == "none" else f"{100 * gain['mean']:+.1f} [{low:+.1f}, {high:+.1f}]")
        print(f"| {arm} | {' | '.join(cells)} |")


def _scores(folder: Path, metric: str) -> list[float]:
    """On *test*, by seed."""
    trainings = json.loads((folder / "finetuned.json").read_text())["trainings"]
    return [one["test"][metric] for one in sorted(trainings, key=lambda one: one["seed"])]


if __name__ == "__main__":
    main()
