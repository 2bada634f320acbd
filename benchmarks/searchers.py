"""How fast searchers find a front, against an oracle that knows every architecture; resumable.

    python benchmarks/searchers.py search --oracle stitched [--objective latency_ms] [--prior] [--first-seed 10]
    python benchmarks/searchers.py table                  fractions and paired tests, from the rows so far
    python benchmarks/searchers.py simulate --run RUN     an oracle by formula from RUN's block losses, in seconds
    python benchmarks/searchers.py evaluate --run RUN     an oracle of stitched losses: 18 paths a block make 5,832

An oracle is a space of so many paths a block, stratified over width and size, whose architectures are all evaluated
once and kept in ``benchmarks/results/oracle/NAME.parquet``: to search in one, no run is needed. A search is told
nothing but the losses of what it proposes; costs come from tables, as in a run; no architecture is proposed twice,
whoever proposes. What is reported is the hypervolume of the proposals so far over that of all architectures, below the
worst loss and the worst cost of the oracle. With ``--prior`` all searchers begin with the same 24 points, evenly of the
front by the quality table's scores, and those of ours that can are told its losses.

Rivals are in ``_rivals.py``; they need ``pip install -e '.[bench]'``.

The simulated loss is no sum: a block's error is what it adds and what it carries on of the error before it, by a
factor of both blocks' paths, and 2 % of it are noise by architecture. Rows go to
``benchmarks/results/searchers.jsonl``; a row that is there is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _rivals import NAMES, make_rival
from scipy.stats import wilcoxon

from nas_ray.distill import stratified_sample
from nas_ray.measure import CandidateEvaluator
from nas_ray.search import Objective, Proposer, hypervolume, make_price, make_searcher, non_dominated, spread
from nas_ray.space import Architecture, PathSpace, parse_architecture
from nas_ray.space import Path as BlockPath
from nas_ray.tables import Costs, PartTable
from nas_ray.tables._store import read_parquet, write_parquet

ROWS = Path(__file__).parent / "results" / "searchers.jsonl"
ORACLES = Path(__file__).parent / "results" / "oracle"
PARTIAL = Path("runs/searchers")
COUNTS = (50, 100, 200, 400)
ENQUEUED = 24
OURS = ("random", "evolution", "nsga2", "tpe", "surrogate")
COSTS = ("encoder_params", "params", "latency_ms", "flops")


# -- oracles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Oracle:
    """A space whose architectures are all known."""

    name: str
    space: PathSpace
    columns: Mapping[str, list[Any]]

    @cached_property
    def rows(self) -> dict[str, int]:
        return {arch_id: row for row, arch_id in enumerate(self.columns["arch_id"])}

    def loss(self, architecture: Architecture) -> float:
        return float(self.columns["loss"][self.rows[architecture.arch_id]])

    def costs(self, architecture: Architecture) -> dict[str, float]:
        row = self.rows[architecture.arch_id]
        return {name: float(self.columns[name][row]) for name in COSTS}

    def sum_of_losses(self, architecture: Architecture) -> float:
        """What the quality table says."""
        return float(self.columns["table_loss"][self.rows[architecture.arch_id]])

    def proposals(self, objective: str) -> list[Architecture]:
        """``ENQUEUED`` points of the front that the quality table's scores promise."""
        cost = dict(zip(self.columns["arch_id"], self.columns[objective], strict=True))
        points = np.column_stack((self.columns["table_score"], self.columns[objective])).astype(np.float64)
        front = [self.columns["arch_id"][row] for row in non_dominated(points).nonzero()[0]]
        head_size = self.space.head_size
        return [parse_architecture(a, head_size) for a in spread(front, ENQUEUED, lambda a: float(cost[a]))]

    def values(self, objective: str) -> np.ndarray[Any, Any]:
        return np.column_stack((self.columns["loss"], self.columns[objective])).astype(np.float64)


def load_oracle(name: str) -> Oracle:
    """The oracle ``name``, of architectures of one embedding size."""
    columns, about = read_parquet(ORACLES / f"{name}.parquet")
    space = _space_of(about["space"]).restrict([frozenset(paths) for paths in about["paths"]])
    return Oracle(name, space, columns)


def simulate(args: argparse.Namespace) -> None:
    """An oracle by formula."""
    space, values = _chosen_space(args.run, args.paths), _block_values(args.run)
    losses = {a.arch_id: simulated_loss(a.paths, values) for a in _architectures(space)}
    _write(args, _opened(args.run), space, losses, "simulated")


def simulated_loss(paths: tuple[BlockPath, ...], losses: list[dict[str, float]]) -> float:
    """Errors add up and are partly carried on, by a factor of the paths on both sides of a seam."""
    error, before = 0.0, ""
    for block, path in enumerate(paths):
        added = losses[block + 1][path.path_id]
        carried = 0.75 + 0.15 * _draw("carried", block, path.width, path.operations[0].kind, before)
        error = added + error * (1 - min(1.0, added)) * carried
        before = path.operations[-1].kind
    return error * (1 + 0.02 * _draw("noise", *(path.path_id for path in paths)))


def evaluate(args: argparse.Namespace) -> None:
    """An oracle of stitched losses from the supernets of ``--run``; what is there is not evaluated again."""
    from nas_ray.measure import stitched_losses

    space, partial = _walked_space(args.run, args.paths), PARTIAL / f"{args.oracle or 'stitched'}.jsonl"
    partial.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, float] = {row["arch_id"]: row["loss"] for row in _lines(partial)}
    choices = [list(space.block_paths(block)) for block in range(space.num_blocks)]
    spread_over_sizes = [*choices[0][::2], *choices[0][1::2]]
    choices[0] = spread_over_sizes[: args.first_paths]
    space = _restricted(args.run, choices)
    with _stitching(args) as (context, evaluator, sequences), partial.open("a", encoding="utf-8") as file:
        began, size = time.monotonic(), max(space.embedding_sizes)
        for scored in stitched_losses(evaluator.stitcher, size, choices, sequences, known):
            for a, loss in scored:
                known[a.arch_id] = loss
                file.write(json.dumps({"arch_id": a.arch_id, "loss": loss}) + "\n")
            file.flush()
            print(f"{len(known)} of {space.num_architectures}, {time.monotonic() - began:.0f} s", flush=True)
        _write(args, context, space, known, "stitched")


def check(args: argparse.Namespace) -> None:
    """Losses of an evaluated oracle against those of students assembled one by one."""
    rows = _lines(PARTIAL / f"{args.oracle or 'stitched'}.jsonl")
    with _stitching(args) as (_, evaluator, _):
        for row in np.random.default_rng(0).choice(rows, args.limit or 12, replace=False):
            loss = evaluator.loss(evaluator.assemble(row["arch_id"]), args.select_batches)
            print(f"{row['loss']:.8f} {loss:.8f} {row['loss'] / loss - 1 if loss else 0:+.1e} {row['arch_id']}")


@contextmanager
def _stitching(args: argparse.Namespace) -> Iterator[tuple[Any, CandidateEvaluator, int]]:
    """The run's context, its evaluator cut to so many batches, and the sequences of *select* to measure on."""
    from nas_ray.stages.search import judge_config

    context = _opened(args.run)
    try:
        config = judge_config(context).evaluator
        evaluator = CandidateEvaluator(config, context.published())
        splits = evaluator.stitcher.splits
        splits["calibrate"] = splits["calibrate"].first(args.calibrate_batches * config.batch_sequences)
        yield context, evaluator, args.select_batches * config.batch_sequences
    finally:
        context.close()


def _write(args: argparse.Namespace, context: Any, space: PathSpace, losses: Mapping[str, float], name: str) -> None:
    costs = context.costs
    if args.latency:
        costs = replace(costs, latency=PartTable.read(Path(args.latency)))
    rows = [_row(a, costs, args.run, losses[a.arch_id]) for a in _architectures(space)]
    paths = [[path.path_id for path in space.block_paths(block)] for block in range(space.num_blocks)]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    write_parquet(ORACLES / f"{args.oracle or name}.parquet", columns, {"space": context.spec.space, "paths": paths})
    print(f"{len(rows)} architectures")


def _row(a: Architecture, costs: Costs, run: str, loss: float) -> dict[str, Any]:
    table = {}
    for name in ("loss", "score"):
        values = _block_values(run, name)
        table[f"table_{name}"] = sum(values[slot][path.path_id] for slot, path in enumerate(a.paths, start=1))
    return {"arch_id": a.arch_id, "loss": loss, **table, **{name: costs.of(a)[name] for name in COSTS}}


def _architectures(space: PathSpace) -> Iterator[Architecture]:
    """All with the largest embedding."""
    for paths in product(*(space.block_paths(block) for block in range(space.num_blocks))):
        yield Architecture(max(space.embedding_sizes), paths)


def _space_of(name: str) -> PathSpace:
    from nas_ray.spec import load_space

    space = load_space(name)
    assert isinstance(space, PathSpace)
    return replace(space, embedding_sizes=(max(space.embedding_sizes),), embedding_rule=None)


def _chosen_space(run: str, count: int) -> PathSpace:
    """``count`` paths a block, stratified over width and size."""
    return _restricted(run, [stratified_sample(paths, count, block) for block, paths in enumerate(_scored(run))])


def _walked_space(run: str, count: int) -> PathSpace:
    """The same, but the last block's are a few such paths with all they begin with: each costs one operation then."""
    blocks, few = [stratified_sample(paths, count, block) for block, paths in enumerate(_scored(run))], 1
    while len(closed := _with_beginnings(stratified_sample(_scored(run)[-1], few, len(blocks)))) < count:
        few += 1
    return _restricted(run, [*blocks[:-1], closed])


def _with_beginnings(paths: Sequence[BlockPath]) -> list[BlockPath]:
    found = (replace(path, operations=path.operations[:depth]) for path in paths for depth in range(1, path.depth + 1))
    return list({path.path_id: path for path in found}.values())


def _scored(run: str) -> list[list[BlockPath]]:
    """By block, the paths that the quality table has."""
    space = _space_of(str(Path(run) / "space.yaml"))
    return [[path for path in space.paths if path.path_id in known] for known in _block_values(run)[1:]]


def _restricted(run: str, chosen: Sequence[Sequence[BlockPath]]) -> PathSpace:
    space = _space_of(str(Path(run) / "space.yaml"))
    return space.restrict([frozenset(path.path_id for path in paths) for paths in chosen])


@cache
def _block_values(run: str, name: str = "loss") -> list[dict[str, float]]:
    """By slot and choice, from the quality table."""
    columns, about = read_parquet(Path(run) / "tables" / "quality.parquet")
    found: list[dict[str, float]] = [{} for _ in range(about["slots"])]
    for slot, choice, value in zip(columns["slot"], columns["choice"], columns[name], strict=True):
        found[slot][choice] = value
    return found


def _opened(folder: str) -> Any:
    """The context of a run, whatever it was run on, without Ray."""
    from nas_ray.stages._context import Context
    from nas_ray.stages._run import Run

    run = Run.open(Path(folder))
    cluster = run.spec.cluster.model_copy(update={"executor": "local"})
    run.spec = run.spec.model_copy(update={"cluster": cluster})
    return Context(run)


def _draw(*key: Any) -> float:
    """Between -1 and 1, the same for the same key."""
    return int(hashlib.sha256("|".join(map(str, key)).encode()).hexdigest()[:8], 16) / 2**31 - 1


# -- searches ----------------------------------------------------------------------------------------------------------


def search(args: argparse.Namespace) -> None:
    """Seeds of one oracle and objective."""
    oracle = load_oracle(args.oracle)
    reference = oracle.values(args.objective).max(axis=0) * 1.0001
    whole = hypervolume(oracle.values(args.objective), reference)
    counts = [count for count in COUNTS if count <= args.most]
    known = {_key(row) for row in _lines(ROWS) if str(counts[-1]) in row["fractions"]}
    for seed, name in product(range(args.first_seed, args.first_seed + args.seeds), args.searchers):
        row = {"oracle": oracle.name, "objective": args.objective, "searcher": name, "seed": seed, "prior": args.prior}
        row["architectures"] = len(oracle.rows)
        if _key(row) in known:
            continue
        found, seconds = _search(oracle, args.objective, name, seed, args.prior, counts[-1])
        row["fractions"] = {count: round(hypervolume(found[:count], reference) / whole, 6) for count in counts}
        row["ask_ms"] = round(1e3 * float(np.median(seconds)), 3)
        row["late_ask_ms"] = round(1e3 * float(np.median(seconds[-50:])), 3)
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def _search(oracle: Oracle, objective: str, name: str, seed: int, prior: bool, count: int) -> tuple[Any, list[float]]:
    objectives = (Objective("loss"), Objective(objective))
    searcher: Any
    if name in NAMES:
        searcher = make_rival(name, oracle.space, seed)
    else:
        price = make_price(oracle.space, objectives, [], oracle.costs, oracle.sum_of_losses if prior else None)
        searcher = make_searcher(name, oracle.space, 2, seed, price=price)
    enqueued = [(a, "front") for a in oracle.proposals(objective)] if prior else []
    proposer = Proposer(searcher, oracle.space, objectives, [], oracle.costs, count, enqueued=enqueued, seed=seed)
    found, seconds = [], []
    while True:
        began = time.process_time()
        proposal = proposer.ask()
        seconds.append(time.process_time() - began)
        if proposal is None:
            return np.array(found), seconds[:-1]
        loss = oracle.loss(proposal.architecture)
        found.append((loss, proposal.costs[objective]))
        proposer.tell(proposal.arch_id, {"loss": loss}, finished=True)


# -- table -------------------------------------------------------------------------------------------------------------


def table(args: argparse.Namespace) -> None:
    """Mean fractions; in brackets how many seeds ``surrogate`` leads by pair, and Wilcoxon's two-sided p."""
    rows = list({_key(row): row for row in _lines(ROWS)}.values())
    for case in sorted({(row["oracle"], row["objective"], row["prior"]) for row in rows}):
        mine = [row for row in rows if (row["oracle"], row["objective"], row["prior"]) == case]
        print(f"\n| {case[0]}, loss and {case[1]}{', with the prior' if case[2] else ''} |", end=" ")
        print(" | ".join(map(str, COUNTS)), "| ask, ms | seeds |\n|---|---|---|---|---|---|---|")
        ours = {row["seed"]: row["fractions"] for row in mine if row["searcher"] == "surrogate"}
        for name in sorted({row["searcher"] for row in mine}):
            theirs = {row["seed"]: row["fractions"] for row in mine if row["searcher"] == name}
            cells = [_cell(ours, theirs, str(count), name) for count in COUNTS]
            milliseconds = np.median([row["late_ask_ms"] for row in mine if row["searcher"] == name])
            print(f"| {name} | {' | '.join(cells)} | {milliseconds:.1f} | {len(theirs)} |")


def _cell(ours: Mapping[int, Any], theirs: Mapping[int, Any], count: str, name: str) -> str:
    known = {seed: fractions[count] for seed, fractions in theirs.items() if count in fractions}
    if not known:
        return ""
    mean = f"{np.mean(list(known.values())):.4f}"
    both = sorted(set(ours) & set(known))
    if name == "surrogate" or len(both) < 5:
        return mean
    gaps = np.array([ours[seed][count] - known[seed] for seed in both])
    p = wilcoxon(gaps).pvalue if gaps.any() else 1.0
    return f"{mean} ({(gaps > 0).sum()}/{len(gaps)}, {p:.3f})"


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("oracle", "architectures", "objective", "searcher", "seed", "prior"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("simulate", "evaluate", "check", "search", "table"))
    parser.add_argument("--run", help="folder of a run with tables (and, to evaluate, a trained supernet)")
    parser.add_argument("--latency", help="another latency table of the same space, if the run's is poor")
    parser.add_argument("--first-paths", type=int, help="only so many paths of the first block")
    parser.add_argument("--calibrate-batches", type=int, default=3, help="for the readouts of the oracle")
    parser.add_argument("--select-batches", type=int, default=1, help="for the losses of the oracle")
    parser.add_argument("--paths", type=int, default=18, help="paths a block")
    parser.add_argument("--limit", type=int, help="check so many")
    parser.add_argument("--oracle", help="its name")
    parser.add_argument("--objective", choices=COSTS, default="encoder_params")
    parser.add_argument("--searchers", nargs="+", choices=(*OURS, *NAMES), default=[*OURS, *NAMES])
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="evaluations")
    parser.add_argument("--prior", action="store_true", help="begin with the front of the quality table")
    args = parser.parse_args()
    {"simulate": simulate, "evaluate": evaluate, "check": check, "search": search, "table": table}[args.command](args)


if __name__ == "__main__":
    main()
