"""What progressive shrinking is worth: modes `paths`, `operations` and `none` at equal training tokens, paired seeds.

    python benchmarks/shrinking.py --out runs/shrinking            the runs that are missing, then figure and table
    python benchmarks/shrinking.py --out runs/shrinking --space minilm_ops --block 2 --seeds 0 1 2 3

One block of the quickstart's teacher, on its text. Runs of one seed share initial weights, batches and bins (of
parameters; latency is left out). At each epoch's end, behind the shrinking, the refitted loss of a few paths that each
bin still holds is taken. In the end every remaining path is scored: in each bin the best on *select* is measured on
*test*. A finished run is a line of ``runs.jsonl`` in the folder and is not run again; ``shrinking.png`` and the table
are made from all of them that have the settings asked for. With the settings below a run takes about 8 minutes on one
core; a sample of 200 is every path of a bin of `minilm_small`, so each shrinking epoch halves it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_ray.data import Batch, TokenBatches, load_batches
from nas_ray.distill import BlockConfig, LocalBlocks, ShrinkPlan, path_bins, prepare, train
from nas_ray.measure import ScoreSets, States, score_paths
from nas_ray.space import Path as BlockPath
from nas_ray.space import PathSpace
from nas_ray.spec import load_space, load_trial
from nas_ray.teacher import load_teacher, load_tokenizer, resolve_teacher

MODES = ("none", "paths", "operations")
COLOURS = {"none": "#999999", "paths": "#0072b2", "operations": "#d55e00"}
LENGTH = 128
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of rows, figure and table")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.add_argument_group("settings, the same for all rows of a table")
    settings.add_argument("--space", choices=("minilm_small", "minilm_ops"), default="minilm_small")
    settings.add_argument("--block", type=int, default=1)
    settings.add_argument("--start", choices=("inherit", "scratch"), default="inherit")
    for name, default in (
        ("steps", 240), ("sequences", 8), ("paths-per-step", 4), ("epochs", 10), ("warm-epochs", 3), ("bins", 5),
        ("sample", 200), ("keep", 4), ("watched", 8), ("calibrate", 9), ("select", 2), ("test", 12),
    ):  # fmt: skip
        settings.add_argument(f"--{name}", type=int, default=default)
    chosen = vars(parser.parse_args())
    out, modes, seeds = chosen.pop("out"), chosen.pop("modes"), chosen.pop("seeds")
    torch.set_num_threads(chosen.pop("threads"))
    for seed in seeds:
        for mode in modes:
            if not any((row["mode"], row["seed"]) == (mode, seed) for row in rows(out, chosen)):
                write(out, run(mode, seed, chosen))
    found = [row for row in rows(out, chosen) if row["mode"] in modes and row["seed"] in seeds]
    draw(found, out / "shrinking.png")
    text = table(found)
    (out / "shrinking.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def rows(out: Path, settings: Row) -> list[Row]:
    """The finished runs with these settings; a torn last line counts as none."""
    file = out / "runs.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
    return [row for row in map(json.loads, lines) if row["settings"] == settings]


def write(out: Path, row: Row) -> None:
    """Append one run."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "runs.jsonl"
    whole = file.read_text(encoding="utf-8") if file.is_file() else ""
    with file.open("w" if whole[-1:] not in ("", "\n") else "a", encoding="utf-8") as lines:
        if whole[-1:] not in ("", "\n"):  # a run that was killed while it wrote
            lines.write(whole[: whole.rfind("\n") + 1])
        lines.write(json.dumps(row) + "\n")
    print(f"{row['mode']}, seed {row['seed']}: {row['remaining']} paths left, {row['seconds']:.0f} s", flush=True)


# -- one run -----------------------------------------------------------------------------------------------------------


class OneBlock(LocalBlocks):
    """A single block worker behind the teacher's earlier blocks; keeps the block's boundaries on *test*."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__([config])
        teacher = load_teacher(resolve_teacher(config.teacher), config.space.num_blocks)
        self.before = [teacher.embedding, *teacher.blocks[: config.block]] if config.block else []
        self.test: list[States] = []

    @torch.no_grad()
    def feed(self, split: str, index: int, batch: Batch) -> None:
        mask = None if batch.mask is None else torch.from_numpy(batch.mask)
        hidden = torch.from_numpy(batch.ids)
        for number, part in enumerate(self.before):
            hidden = part(hidden, mask) if number else part(hidden)
        (worker,) = self.workers
        output = worker.forward(split, index, hidden.numpy(), batch.mask)
        if split == "test":
            inputs = hidden if self.before or worker.embedding is None else worker.embedding(hidden)
            everywhere = torch.ones(batch.ids.shape, dtype=torch.bool)
            self.test.append(States(inputs, torch.from_numpy(output), everywhere if mask is None else mask))

    def test_sets(self) -> ScoreSets:
        """Readouts fitted as ever, losses on *test*."""
        sets = self.workers[0].sets
        test = States(*(torch.cat([getattr(s, name) for s in self.test]) for name in ("inputs", "targets", "mask")))
        return ScoreSets(sets.fit, sets.held_out, test)


def run(mode: Any, seed: int, settings: Row) -> Row:
    """Train one block with one mode; the row to keep."""
    space = load_space(settings["space"])
    assert isinstance(space, PathSpace)
    batches, began = text(seed, settings), time.perf_counter()
    steps, epochs = settings["steps"], settings["epochs"]
    counts = {split: min(settings[split], batches.num_batches(split)) for split in ("calibrate", "select", "test")}
    distinct = min(batches.num_batches("train"), steps)
    bins = path_bins(space.paths, {}, settings["bins"], "ignore")
    with tempfile.TemporaryDirectory() as folder:
        blocks = OneBlock(config(mode, seed, settings, space, distinct, Path(folder)))
        (worker,) = blocks.workers
        prepare(blocks, batches, counts)
        watched, trained = [watch(blocks, bins, settings)], []
        for epoch in range(1, epochs + 1):
            losses: list[float] = []
            train(
                blocks, batches, steps=round(steps * epoch / epochs), distinct=distinct, counts=counts, in_flight=1,
                progress=lambda _step, loss, losses=losses: losses.append(loss),
            )  # fmt: skip
            trained.append(float(np.mean(losses)))
            watched.append(watch(blocks, bins, settings))
        selected = worker.score()
        assert selected is not None
        best = {}
        for number, paths in bins.items():
            left = [path for path in paths if path.path_id in selected]
            if left:
                path = min(left, key=lambda path: selected[path.path_id])
                best[str(number)] = {
                    "path": path.path_id,
                    "params": path.num_params(),
                    "select": selected[path.path_id],
                }
        chosen = [path for path in space.paths if path.path_id in {found["path"] for found in best.values()}]
        on_test = score_paths(worker.supernet, chosen, blocks.test_sets(), worker.config.ridges)
        for found in best.values():
            found["test"] = on_test[found["path"]]
        row = {
            "mode": mode, "seed": seed, "settings": settings, "trained": trained, "watched": watched,
            "remaining": len(worker.paths), "by_epoch": [entry["remaining"] for entry in worker.shrinking],
            "best": best, "seconds": time.perf_counter() - began,
        }  # fmt: skip
        blocks.close()
    return row


def watch(blocks: OneBlock, bins: Mapping[int, Sequence[BlockPath]], settings: Row) -> dict[str, float]:
    """Mean refitted loss of some of the paths that each bin still holds: the same ones, for as long as they remain."""
    (worker,) = blocks.workers
    left, rng = set(worker.paths), np.random.default_rng(0)
    order = {number: [paths[k] for k in rng.permutation(len(paths))] for number, paths in bins.items()}
    sample = {
        number: [path for path in paths if path in left][: settings["watched"]] for number, paths in order.items()
    }
    scores = worker.score([path.path_id for paths in sample.values() for path in paths])
    assert scores is not None
    return {str(n): float(np.mean([scores[p.path_id] for p in paths])) for n, paths in sample.items() if paths}


def text(seed: int, settings: Row) -> TokenBatches:
    """The quickstart's text; the seed is that of the splits and of the order."""
    spec = load_trial("quickstart")
    source = resolve_teacher(spec.teacher)
    return load_batches(
        [(s.source, s.share, s.field) for s in spec.text.sources], load_tokenizer(source), tokenizer_key="shrinking",
        vocab_size=source.config.vocab_size, length=LENGTH, shares=spec.text.splits.model_dump(),
        batch_sequences=settings["sequences"], mask_probability=0.0, seed=seed, progress=print,
    )  # fmt: skip


def config(mode: Any, seed: int, settings: Row, space: PathSpace, distinct: int, folder: Path) -> BlockConfig:
    """The quickstart's block worker, with a plan to shrink."""
    spec = load_trial("quickstart")
    sample = {"operations": settings["sample"] * settings["bins"], "none": 1}  # none: `watch` gives the curve
    plan = ShrinkPlan(
        **{key: settings[key] for key in ("bins", "epochs", "warm_epochs", "keep")},
        sample=sample.get(mode, settings["sample"]),
        remove=0.3 if mode == "operations" else 0.5,
        mode=mode,
        latency="ignore",
        batches=None,
        stop=False,
    )
    shared = spec.supernet.model_dump(exclude={"shrink", "steps_per_epoch"}) | {
        "start": settings["start"], "steps": settings["steps"], "paths_per_update": settings["paths_per_step"],
        "sample_paths": 1, "evaluations": 1, "checkpoint_every": 10**9,
    }  # fmt: skip
    return BlockConfig(
        block=settings["block"], space=space, teacher=spec.teacher, checkpoint_dir=folder, seed=seed, batches=distinct,
        ridges=spec.tabulate.ridges, tile_tokens=spec.tabulate.tile_tokens, select_batches=None,
        score_precision="fp32", score_bytes=spec.tabulate.memory_bytes, shrink=plan, **shared,
    )  # fmt: skip


# -- figure and table --------------------------------------------------------------------------------------------------


def draw(found: Sequence[Row], file: Path) -> None:
    """Loss by epoch with and without shrinking: mean over seeds, the band from the lowest to the highest.

    Unseen text: the mean over the bins that every run holds to the end.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    held = set.intersection(*(set(row["watched"][-1]) for row in found))
    curves = {
        "trained": lambda row: row["trained"],
        "watched": lambda row: [np.mean([means[b] for b in held]) for means in row["watched"]] if held else [],
    }
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for panel, key, title, first in (
        (panels[0], "trained", "training loss of the sampled paths", 1),
        (panels[1], "watched", "refitted loss of the remaining paths, unseen text", 0),
    ):
        for mode in MODES:
            ys = np.array([curves[key](row) for row in found if row["mode"] == mode])
            if ys.size:
                epochs = np.arange(first, first + ys.shape[1])
                panel.plot(epochs, ys.mean(0), "o-", color=COLOURS[mode], markersize=3.5, label=mode)
                panel.fill_between(epochs, ys.min(0), ys.max(0), color=COLOURS[mode], alpha=0.2, linewidth=0)
        panel.axvline(found[0]["settings"]["warm_epochs"] + 0.5 * first, color="#59636f", linewidth=1, linestyle=":")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set(title=title, xlabel="epoch (dotted: shrinking begins)", ylabel="normalised loss")
        panel.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def table(found: Sequence[Row]) -> str:
    """The best paths' test loss by mode, and its difference from `none`, paired by seed, with a 95 % t interval."""
    bins = sorted(set.intersection(*(set(row["best"]) for row in found)), key=int)
    means = {
        (row["mode"], row["seed"]): float(np.mean([row["best"][b]["test"] for b in bins])) for row in found if bins
    }
    lines = [
        "Best path of each bin, on *test*; mean over the bins that every run has left: "
        f"{', '.join(str(int(b) + 1) for b in bins) or 'none'}.",
        "",
        "| mode | runs | paths left | loss | difference from none | 95 % interval | training loss, last epoch |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode in MODES:
        runs = [row for row in found if row["mode"] == mode and (mode, row["seed"]) in means]
        if not runs:
            continue
        differences = [
            means[mode, row["seed"]] - means["none", row["seed"]] for row in runs if ("none", row["seed"]) in means
        ]
        left = sorted({row["remaining"] for row in runs})
        lines.append(
            f"| {mode} | {len(runs)} | {left[0]}{f' to {left[-1]}' if len(left) > 1 else ''} "
            f"| {np.mean([means[mode, row['seed']] for row in runs]):.4f} | {interval(differences, mode)} "
            f"| {np.mean([row['trained'][-1] for row in runs]):.4f} |"
        )
    return "\n".join(lines)


def interval(differences: Sequence[float], mode: str) -> str:
    """Mean and interval as two cells of a table."""
    from scipy.stats import t

    if mode == "none" or not differences:
        return "|"
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return f"{mean:+.4f} |"
    half = float(t.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / np.sqrt(len(differences)))
    return f"{mean:+.4f} | {mean - half:+.4f} … {mean + half:+.4f}"


if __name__ == "__main__":
    main()
