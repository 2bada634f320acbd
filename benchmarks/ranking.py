"""How truly the supernets of the embedded teacher rank paths, against stand-alone training; resumable.

    python benchmarks/ranking.py states                          hidden states of every block, once (2 GB)
    python benchmarks/ranking.py standalone --block 1 --start inherit --seed 0
    python benchmarks/ranking.py supernet --block 1 --recipe "step 1" --seed 0
    python benchmarks/ranking.py table                           tau of every recipe, from the rows so far

Rows go to ``benchmarks/results/ranking.jsonl``; a row that is there is not measured again. Two draws of 20 paths a
block, by seed and stratified over width and size (the teacher's own path left out: its score is 0 by definition): what
is chosen is chosen on the first, and reported on the second. 0.3 million tokens each, readouts refitted on both sides
on 16,384 tokens and scored on 4,096.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_ray.data import load_batches
from nas_ray.distill import BlockConfig, BlockWorker, StandAlonePlan, stratified_sample
from nas_ray.distill._store import Boundary
from nas_ray.measure import rank_floors
from nas_ray.space import Path as BlockPath
from nas_ray.space import PathSpace, teacher_path
from nas_ray.spec import load_space, load_trial
from nas_ray.tables import kendall_tau, size_scores
from nas_ray.teacher import load_teacher, load_tokenizer, resolve_teacher

HERE = Path(__file__).parent
ROWS = HERE / "results" / "ranking.jsonl"
STATES = Path("runs/ranking-states")
COUNTS = {"train": 300, "calibrate": 18, "select": 4}  # batches of 8 x 128 tokens
PATHS, DRAWS = 20, {"choose": 2026, "report": 2027}
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RATES = {"inherit": (2e-3,) * 3, "scratch": (3e-3, 3e-3, 1e-3)}  # stand-alone, by block: 3e-3 diverges in the last
# What differs from the quickstart of step 1, at about equal path tokens but for `untrained` and `480 updates`.
_LAW: dict[str, Any] = {"steps": 80, "updates": 4, "learning_rate": 5e-4, "rate_exponent": 1.5}
RECIPES: dict[str, dict[str, Any]] = {
    "untrained": {"steps": 0},
    "paths, batch 2, 5e-4 x1.5": {**_LAW, "sampling": "paths"},
    "widths, batch 2, 5e-4 x1.5": {**_LAW, "sampling": "widths"},
    "depths, batch 2, 5e-4 x1.5": {**_LAW, "sampling": "depths"},
    "sandwich, batch 2, 5e-4 x1.5": {**_LAW, "sampling": "sandwich"},
    "scratch, prefixes, batch 2, 2e-3 x1": {
        **_LAW,
        "steps": 60,
        "start": "scratch",
        "sampling": "prefixes",
        "learning_rate": 2e-3,
        "rate_exponent": 1.0,
    },
    "step 1": {"steps": 80, "learning_rate": 5e-4, "rate_exponent": 0.0},
    "batch 2, 1e-3": {"steps": 80, "updates": 4, "learning_rate": 1e-3},
    "batch 2, 3e-4 x2": {"steps": 80, "updates": 4, "learning_rate": 3e-4, "rate_exponent": 2.0},
    "sandwich, batch 2, 3e-4 x2": {
        "steps": 80,
        "updates": 4,
        "sampling": "sandwich",
        "learning_rate": 3e-4,
        "rate_exponent": 2.0,
    },
    "prefixes, batch 2, 3e-4 x2": {
        "steps": 60,
        "updates": 4,
        "sampling": "prefixes",
        "learning_rate": 3e-4,
        "rate_exponent": 2.0,
    },
    "prefixes, batch 2, 5e-4 x1.5": {
        "steps": 60,
        "updates": 4,
        "sampling": "prefixes",
        "learning_rate": 5e-4,
        "rate_exponent": 1.5,
    },
    "prefixes, batch 2, 5e-4 x1.5, 480 updates": {
        "steps": 120,
        "updates": 4,
        "sampling": "prefixes",
        "learning_rate": 5e-4,
        "rate_exponent": 1.5,
    },
    "prefixes, batch 2, 5e-4 x1.5, 960 updates": {
        "steps": 240,
        "updates": 4,
        "sampling": "prefixes",
        "learning_rate": 5e-4,
        "rate_exponent": 1.5,
    },
    "prefixes, batch 2, 2e-3 x1, 960 updates": {
        "steps": 240,
        "updates": 4,
        "sampling": "prefixes",
        "learning_rate": 2e-3,
        "rate_exponent": 1.0,
    },
    "prefixes, batch 2, 1e-3 x1.5, 960 updates": {
        "steps": 240,
        "updates": 4,
        "sampling": "prefixes",
        "learning_rate": 1e-3,
        "rate_exponent": 1.5,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("states", "standalone", "supernet", "table"))
    parser.add_argument("--block", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--draw", choices=tuple(DRAWS), default="choose")
    parser.add_argument("--start", choices=("inherit", "scratch"), default="inherit")
    parser.add_argument("--recipe", nargs="+", default=["step 1"])
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.task == "states":
        write_states()
    elif chosen.task == "standalone":
        for block, seed in ((b, s) for s in chosen.seed for b in chosen.block):
            standalone(block, chosen.draw, chosen.start, seed, chosen.precision)
    elif chosen.task == "supernet":
        for block, name, seed in ((b, r, s) for s in chosen.seed for r in chosen.recipe for b in chosen.block):
            supernet(block, name, seed, chosen.precision)
    else:
        table()


# -- hidden states -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def write_states() -> None:
    """Every boundary of every batch, as ``<split>-<boundary>.npy`` of shape (batches, 8, 128, hidden)."""
    spec = load_trial("quickstart")
    source = resolve_teacher(spec.teacher)
    teacher = load_teacher(source, space().num_blocks)
    tokenizer = load_tokenizer(source)
    batches = load_batches(
        [(s.source, s.share, s.field) for s in spec.text.sources], tokenizer, tokenizer_key="ranking",
        vocab_size=source.config.vocab_size, length=128, shares=spec.text.splits.model_dump(),
        batch_sequences=8, mask_probability=0.0, seed=0, progress=print,
    )  # fmt: skip
    STATES.mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        shape = (count, 8, 128, teacher.shape.hidden)
        files = [
            np.lib.format.open_memmap(STATES / f"{split}-{k}.npy", "w+", np.float32, shape)
            for k in range(space().num_blocks + 1)
        ]
        for index in range(count):
            batch = batches.batch(split, index)
            assert batch.mask is None, "packed text without padding is expected"
            hidden = teacher.embedding(torch.from_numpy(batch.ids))
            files[0][index] = hidden.numpy()
            for k, block in enumerate(teacher.blocks, start=1):
                hidden = block(hidden, None)
                files[k][index] = hidden.numpy()
        print(split, count, "batches")


class Held:
    """The written states of one block as a boundary cache."""

    def __init__(self, block: int, split: str) -> None:
        self.arrays = [np.load(STATES / f"{split}-{k}.npy", mmap_mode="r") for k in (block, block + 1)]
        self.held = dict.fromkeys(range(len(self.arrays[0])))

    def get(self, index: int) -> Boundary:
        inputs, targets = (torch.from_numpy(np.array(array[index])) for array in self.arrays)
        return Boundary(inputs, targets, None)


def space() -> PathSpace:
    found = load_space("minilm_small")
    assert isinstance(found, PathSpace)
    return found


def worker(block: int, seed: int, precision: str, **changes: Any) -> BlockWorker:
    """The block worker of the quickstart, fed with the written states."""
    spec = load_trial("quickstart").supernet
    shared = spec.model_dump(exclude={"shrink", "steps_per_epoch"})
    shared |= {"batches": COUNTS["train"], "precision": precision, "checkpoint_every": 10**9, **changes}
    found = BlockWorker(
        BlockConfig(
            block=block, space=space(), teacher="minilm", seed=seed,
            checkpoint_dir=Path(tempfile.mkdtemp(prefix="nas_ray-ranking-")),
            ridges=RIDGES, tile_tokens=1024, score_precision="fp32", score_bytes=8 << 30, select_batches=None,
            shrink=None, **shared,
        )
    )  # fmt: skip
    for split in ("calibrate", "select"):
        states = Held(block, split)
        for index in states.held:
            found.evaluation.put(split, index, states.get(index))
    found.prepare()
    return found


# -- measurements ------------------------------------------------------------------------------------------------------


@cache
def drawn(block: int) -> dict[str, list[BlockPath]]:
    """The block's 20 paths of each draw: the same for every run, none in both."""
    here, found = space(), dict[str, list[BlockPath]]()
    taken = {teacher_path(resolve_shape(), here.num_blocks, here.head_size)}
    for name, seed in DRAWS.items():
        found[name] = stratified_sample([p for p in here.block_paths(block) if p not in taken], PATHS, seed + block)
        taken |= set(found[name])
    return found


def all_drawn(block: int) -> list[BlockPath]:
    return [path for paths in drawn(block).values() for path in paths]


def resolve_shape() -> Any:
    from nas_ray.teacher import teacher_shape

    return teacher_shape(resolve_teacher("minilm").config)


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.is_file() else []


def write(row: dict[str, Any]) -> None:
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def standalone(block: int, draw: str, start: str, seed: int, precision: str) -> None:
    done = {
        r["path"]
        for r in rows()
        if (r["kind"], r["block"], r.get("start"), r["seed"]) == ("standalone", block, start, seed)
    }
    todo = [path for path in drawn(block)[draw] if path.path_id not in done]
    if not todo:
        return
    here = worker(block, 0, precision, steps=0, start="inherit")
    here.standalone.cache = Held(block, "train")  # type: ignore[assignment]
    plan = StandAlonePlan(steps=COUNTS["train"] * 2, sequences=4, learning_rate=RATES[start][block])
    for path in todo:
        began = time.perf_counter()
        loss = here.train_standalone(path.path_id, plan, COUNTS["train"], start, seed)  # type: ignore[arg-type]
        row = {"kind": "standalone", "block": block, "start": start, "seed": seed, "path": path.path_id,
               "params": path.num_params(), "loss": loss, "seconds": round(time.perf_counter() - began, 1)}  # fmt: skip
        write(row)
        print(row, flush=True)


def supernet(block: int, recipe: str, seed: int, precision: str) -> None:
    paths = all_drawn(block)
    wanted = {path.path_id for path in paths}
    key = ("supernet", block, recipe, seed)
    if any((r["kind"], r["block"], r.get("recipe"), r["seed"]) == key and wanted <= set(r["refitted"]) for r in rows()):
        return
    here = worker(block, seed, precision, **RECIPES[recipe])
    states, began = Held(block, "train"), time.perf_counter()
    for step in range(here.config.steps):
        here.pending[step] = states.get(step % COUNTS["train"])
        here.train_step(step)
    trained = time.perf_counter() - began
    losses = here.score([path.path_id for path in paths])
    shared = {path.path_id: shared_loss(here, path) for path in paths}
    assert losses is not None
    own = teacher_path(resolve_shape(), space().num_blocks, space().head_size)
    row = {"kind": "supernet", "block": block, "recipe": recipe, "seed": seed, "seconds": round(trained, 1),
           "floors": rank_floors(here.sets, space().widths),
           "refitted": losses, "shared": shared, "own": here.score([own.path_id]) if own else None}  # fmt: skip
    write(row)
    widths = {w: np.mean([losses[p.path_id] for p in paths if p.width == w]) for w in space().widths}
    print(recipe, block, seed, {w: round(float(v), 4) for w, v in widths.items()}, row["own"], trained, flush=True)


@torch.no_grad()
def shared_loss(here: BlockWorker, path: BlockPath) -> float:
    """Loss on *select* through the shared map out."""
    states = here.sets.select
    error = (here.supernet(states.inputs, path, states.mask) - states.targets).square().mean()
    return float(error) / states.variance()


# -- the table ---------------------------------------------------------------------------------------------------------

Scores = dict[int, dict[str, float]]  # by block and path


def table() -> None:
    found = rows()
    truth: dict[tuple[str, int], Scores] = defaultdict(lambda: defaultdict(dict))
    for row in found:
        if row["kind"] == "standalone":
            truth[row["start"], row["seed"]][row["block"]][row["path"]] = row["loss"]
    blocks = range(space().num_blocks)
    params = {b: {p.path_id: float(p.num_params()) for p in all_drawn(b)} for b in blocks}
    for draw in DRAWS:
        ids = {b: [p.path_id for p in drawn(b)[draw]] for b in blocks}
        for (start, seed), losses in truth.items():
            own = {b: {p: losses[b][p] for p in ids[b] if p in losses[b]} for b in losses}
            if any(map(len, own.values())):
                print(f"\nto {draw}; against stand-alone training, start {start}, seed {seed}")
                for name, scores in scorers(found, truth, (start, seed), params):
                    if found_line := list(line(scores, own, params)):
                        print(f"{name:60}", *found_line)


def scorers(
    found: list[dict[str, Any]], truth: Any, own: tuple[str, int], params: Scores
) -> Iterator[tuple[str, Scores]]:
    yield "more parameters", {b: {p: -v for p, v in sizes.items()} for b, sizes in params.items()}
    for key, blocks in truth.items():
        if key != own:
            yield f"stand-alone {key[0]}, seed {key[1]}", blocks
    by: dict[tuple[str, int, str], Scores] = defaultdict(lambda: defaultdict(dict))
    for row in found:
        if row["kind"] == "supernet":
            for kind in ("refitted", "shared"):
                by[row["recipe"], row["seed"], kind][row["block"]] |= row[kind]
    exponent = load_trial("quickstart").tabulate.size_exponent
    for (recipe, seed, kind), scores in by.items():
        yield f"{recipe}, seed {seed}, {kind}", scores
        if kind == "refitted":
            sized = {b: size_scores(losses, params[b], exponent) for b, losses in scores.items()}
            yield f"{recipe}, seed {seed}, score", sized


def line(scores: Scores, truth: Scores, params: Scores) -> Iterator[str]:
    both = {b: [p for p in truth[b] if p in scores.get(b, {})] for b in truth}
    both = {b: paths for b, paths in both.items() if len(paths) > 2}
    if not both:
        return
    a = {b: [scores[b][p] for p in paths] for b, paths in both.items()}
    t = {b: [truth[b][p] for p in paths] for b, paths in both.items()}
    sizes = {b: [params[b][p] for p in paths] for b, paths in both.items()}
    pooled, close = kendall_tau(a, t), kendall_tau(a, t, within=(sizes, 0.1))
    yield f"tau {pooled.value:.3f} [{pooled.low:.3f}, {pooled.high:.3f}]"
    yield f"close {close.value:.3f} [{close.low:.3f}, {close.high:.3f}] ({close.pairs})"
    for b in both:
        yield f"block {b} {kendall_tau({b: a[b]}, {b: t[b]}).value:.3f}"


if __name__ == "__main__":
    main()
