"""Multi-objective ASHA against ASHA by loss and none at equal simulated time, on the table of a real run; resumable.

    python benchmarks/schedulers.py losses RUN      keep the path losses of a finished run of the quickstart
    python benchmarks/schedulers.py run             all that is not in the rows yet (minutes)
    python benchmarks/schedulers.py table           means, and paired differences with 95 % intervals

Rows go to ``benchmarks/results/schedulers.jsonl``. A candidate's loss is made of ``results/quickstart_losses.json`` by
what the 48 candidates of that run showed: stitched loss = 0.71 x (sum of path losses) ** 0.67, off by 5 % (standard
deviation), and at the first and second rung off by another 2.2 and 1.0 %. That is ``batches``, with the quickstart's
rungs. ``distillation`` is made up: at rungs of 1, 3 and 9 large students have gained less of what they will gain than
small ones, and rungs are off by 5 and 3 %. A rung takes time in proportion to its budget, most of it to size.

``moasha`` is Syne Tune's (``pip install -e '.[bench]'``), as it comes and mended (``_rivals.py``).

The front is that of completed candidates in (loss, log encoder_params), its hypervolume a fraction of that of the
table's exact front joined with 20,000 samples.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _rivals import SyneTuneMoasha
from scipy import stats

from nas_ray.search import (
    Asha,
    MemoryJournal,
    NullListener,
    Objective,
    Proposer,
    SearchSession,
    hypervolume,
    log_edges,
    make_searcher,
    non_dominated,
    simulate,
    spread,
    table_problem,
    task_id,
)
from nas_ray.search._asha import Scheduler
from nas_ray.space import Architecture, PathSpace, Rung, TeacherShape
from nas_ray.spec import load_space
from nas_ray.tables import Costs, PartTable, QualityTable, params_table, read_parquet

HERE = Path(__file__).parent
ROWS, LOSSES = HERE / "results" / "schedulers.jsonl", HERE / "results" / "quickstart_losses.json"
SHAPE = TeacherShape(384, 6, 12, 1536, 30522, 512, 11_917_824, 10_646_784)
OBJECTIVES = (Objective("loss"), Objective("encoder_params"))
SIZE = "encoder_params"
WORKERS, POOL = 8, 20_000
SEEDS = {150: range(30), 1000: range(10)}  # by length: about how many candidates `none` completes
MOMENTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Scenario:
    """Rungs, the halving's eta, and how far the logarithm of a loss is off at each rung."""

    rungs: tuple[int, ...]
    eta: float
    noise: tuple[float, ...]
    gained: tuple[float, ...]
    """Share of what distillation will gain; by the largest student twice as much as by the smallest."""


SCENARIOS = {
    "batches": Scenario((1, 2, 4), 2.0, (0.022, 0.010, 0.0), (0.0, 0.0, 0.0)),
    "distillation": Scenario((1, 3, 9), 3.0, (0.05, 0.03, 0.0), (0.4, 0.75, 1.0)),
}


@dataclass(frozen=True)
class Variant:
    """A scheduler, its number of cost bins, and for how many rungs proposals are judged apart."""

    scheduler: str
    bins: int = 4
    apart_rungs: int | None = 1

    @property
    def name(self) -> str:
        bins = "" if self.scheduler == "none" or self.bins == 4 else f", {self.bins} bin"
        return self.scheduler + bins + ("" if self.apart_rungs == 1 else ", apart at all rungs")


VARIANTS = (Variant("none"), Variant("asha"), Variant("asha", 1), Variant("mo_asha"), Variant("mo_asha", 1))
RIVALS = (Variant("moasha"), Variant("moasha, mended"))  # Syne Tune's, which knows no bins
RIVAL_SEEDS = range(10)  # it takes seconds a search where ours takes 0.1

DEFAULT = ("mo_asha, 1 bin", "mo_asha, 1 bin, apart at all rungs")  # without and with enqueued proposals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("losses").add_argument("run", type=Path)
    commands.add_parser("run")
    commands.add_parser("table")
    args = parser.parse_args()
    {"losses": lambda: keep_losses(args.run), "run": run, "table": table}[args.command]()


def keep_losses(run_folder: Path) -> None:
    table, _ = read_parquet(run_folder / "tables" / "quality.parquet")
    slots: list[dict[str, float]] = [{} for _ in range(1 + max(table["slot"]))]
    for slot, choice, loss in zip(table["slot"], table["choice"], table["loss"], strict=True):
        slots[slot][choice] = round(loss, 6)
    LOSSES.write_text(json.dumps(slots) + "\n")
    sizes, _ = read_parquet(run_folder / "candidates.parquet")
    own = [costs().of(a)[SIZE] for a in map(parse, sizes["arch_id"])]
    assert own == sizes[SIZE], "the run has another space or teacher"


# -- the problem -------------------------------------------------------------------------------------------------------


@cache
def space() -> PathSpace:
    found = load_space("minilm_small")
    assert isinstance(found, PathSpace)
    return found


def parse(arch_id: str) -> Architecture:
    from nas_ray.space import parse_architecture

    return parse_architecture(arch_id, space().head_size)


@cache
def costs() -> Costs:
    params = params_table(space(), SHAPE)
    nothing = PartTable("latency_ms", "ms", dict.fromkeys(params.values, 0.0))
    return Costs(space(), SHAPE, "inherit", params, PartTable("flops", "operations", nothing.values), nothing)


@cache
def size_of(architecture: Architecture) -> float:
    return costs().of(architecture)[SIZE]


@cache
def quality() -> QualityTable:
    return QualityTable(tuple(json.loads(LOSSES.read_text())))


@cache
def largest() -> float:
    paths = tuple(max(space().block_paths(b), key=lambda path: path.num_params()) for b in range(space().num_blocks))
    return size_of(Architecture(384, paths))


@cache
def losses_of(architecture: Architecture, scenario: Scenario) -> tuple[float, ...]:
    """At every rung; the noise is the architecture's own."""
    digest = hashlib.sha256(architecture.arch_id.encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(2 + len(scenario.rungs))
    stitched = -0.343 + 0.674 * math.log(quality().total(architecture) + 0.02) + 0.053 * drawn[0]
    gain = 0.3 * (1 + size_of(architecture) / largest()) * (1 + 0.1 * drawn[1])
    return tuple(
        math.exp(stitched - gain * share + noise * own)
        for share, noise, own in zip(scenario.gained, scenario.noise, drawn[2:], strict=True)
    )


def seconds_of(architecture: Architecture, rung: int, scenario: Scenario) -> float:
    before = scenario.rungs[rung - 1] if rung else 0
    return (scenario.rungs[rung] - before) * (0.3 + size_of(architecture) / largest())


@cache
def table_front() -> tuple[Architecture, ...]:
    solver = table_problem(costs(), quality(), [SIZE])
    return tuple(solver.architecture(p.names) for p in solver.front(["score", SIZE], {}).points if p.values[1] > 0)


def values_of(architecture: Architecture, scenario: Scenario) -> tuple[float, float]:
    return losses_of(architecture, scenario)[-1], math.log(size_of(architecture))


@dataclass(frozen=True)
class Oracle:
    """The best front known, and the edge of its cheap third, by log size."""

    corner: tuple[float, float]
    edge: float
    whole: float
    cheap: float


@cache
def oracle(scenario: Scenario) -> Oracle:
    rng = np.random.default_rng(0)
    pool = [*table_front(), *(space().sample(rng) for _ in range(POOL))]
    values = np.array([values_of(architecture, scenario) for architecture in pool])
    front = values[non_dominated(values)]
    corner = (float(values[:, 0].max()), math.log(largest()))
    low, high = front[:, 1].min(), front[:, 1].max()
    edge = float(low + (high - low) / 3)
    return Oracle(corner, edge, hypervolume(values, corner), hypervolume(values, (corner[0], edge)))


# -- one search --------------------------------------------------------------------------------------------------------


def session(scenario: Scenario, searcher: str, variant: Variant, seed: int, num_enqueued: int) -> SearchSession:
    chosen = spread(list(table_front()), num_enqueued, size_of)
    table_costs = lambda a: {SIZE: size_of(a)}  # noqa: E731
    proposer = Proposer(
        make_searcher(searcher, space(), 2, seed),
        space(),
        OBJECTIVES,
        [],
        table_costs,
        100_000,
        enqueued=[(architecture, "front") for architecture in chosen],
        seed=seed,
    )
    asha: Scheduler | None = None
    if variant in RIVALS:
        asha = SyneTuneMoasha(scenario.rungs, scenario.eta, SIZE, mended=variant.scheduler.endswith("mended"))
    elif variant.scheduler != "none":
        smallest = min(size_of(a) for a in table_front())
        asha = Asha(
            scenario.rungs,
            objectives=OBJECTIVES if variant.scheduler == "mo_asha" else OBJECTIVES[:1],
            eta=scenario.eta,
            bin_edges=log_edges(smallest, largest(), variant.bins),
            apart={task_id(architecture) for architecture in chosen},
            apart_rungs=variant.apart_rungs,
        )
    return SearchSession(
        proposer,
        asha,
        [Rung("stitched", b) for b in scenario.rungs],
        MemoryJournal(),
        [],
        table_costs,
        NullListener(),
        space().head_size,
    )


def measure(
    scenario: Scenario, searcher: str, variant: Variant, seed: int, num_enqueued: int, length: int
) -> dict[str, Any]:
    until = length * scenario.rungs[-1] * 0.65 / WORKERS
    search = session(scenario, searcher, variant, seed, num_enqueued)
    began = time.process_time()
    arrivals = simulate(
        search,
        lambda a, rung: losses_of(a, scenario)[rung],
        lambda a, rung: seconds_of(a, rung, scenario),
        num_workers=WORKERS,
        until=until,
    )
    took, best = time.process_time() - began, oracle(scenario)
    found: dict[str, Any] = {"started": len(search.outcomes), "hypervolume": [], "cheap_hypervolume": []}
    for moment in MOMENTS:
        completed = [
            values_of(search.outcomes[a.candidate_id].task.architecture, scenario)
            for a in arrivals
            if a.rung == len(scenario.rungs) - 1 and a.seconds <= moment * until
        ]
        values = np.array(completed).reshape(-1, 2)
        found["hypervolume"].append(round(hypervolume(values, best.corner) / best.whole, 6))
        cheap = hypervolume(values, (best.corner[0], best.edge)) / best.cheap
        found["cheap_hypervolume"].append(round(cheap, 6))
    front = values[non_dominated(values)]
    found |= {"completed": len(values), "front": len(front), "cheap": int((front[:, 1] <= best.edge).sum())}
    return {**found, "seconds": round(took, 2)}


# -- rows --------------------------------------------------------------------------------------------------------------

KEY = ("length", "scenario", "searcher", "enqueued", "scheduler", "seed")
Key = tuple[int, str, str, int, str, int]


def plan() -> Iterator[tuple[Key, Variant]]:
    apart = (Variant("asha", 4, None), Variant("mo_asha", 4, None), Variant("mo_asha", 1, None))
    groups = [
        (150, "random", 0, (*VARIANTS, *RIVALS)),
        (150, "evolution", 0, (*VARIANTS, *RIVALS)),
        (150, "evolution", 24, (*VARIANTS, *apart, *RIVALS)),
        (1000, "evolution", 0, VARIANTS),
    ]
    for length, searcher, enqueued, variants in groups:
        for seed, scenario, variant in product(SEEDS[length], SCENARIOS, variants):
            if variant not in RIVALS or seed in RIVAL_SEEDS:
                yield (length, scenario, searcher, enqueued, variant.name, seed), variant


def rows() -> dict[tuple[Any, ...], dict[str, Any]]:
    found = map(json.loads, ROWS.read_text().splitlines() if ROWS.is_file() else [])
    return {tuple(row[name] for name in KEY): row for row in found}


def run() -> None:
    known = rows()
    for key, variant in plan():
        if key in known:
            continue
        length, scenario, searcher, enqueued, _, seed = key
        row = measure(SCENARIOS[scenario], searcher, variant, seed, enqueued, length)
        with ROWS.open("a") as file:
            file.write(json.dumps(dict(zip(KEY, key, strict=True)) | row) + "\n")
        print(*key, {name: row[name] for name in ("started", "completed", "cheap", "seconds")}, flush=True)


def table() -> None:
    groups: dict[tuple[Any, ...], dict[str, dict[int, Mapping[str, Any]]]] = defaultdict(dict)
    for (*group, name, seed), row in rows().items():
        groups[tuple(group)].setdefault(name, {})[seed] = row
    for (length, scenario, searcher, enqueued), by_name in groups.items():
        print(f"\n{scenario}, {searcher}, {enqueued} enqueued, length {length}\n")
        print(
            "| scheduler | started | completed | hypervolume | the default is ahead by | in the cheap third | empty |"
        )
        print("|---|---|---|---|---|---|---|")
        for name, found in by_name.items():
            print("|", " | ".join([name, *line(found, by_name[DEFAULT[enqueued > 0]])]), "|")


def line(found: Mapping[int, Mapping[str, Any]], ours: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    for name in ("started", "completed"):
        yield f"{np.mean([row[name] for row in found.values()]):.0f}"
    for name in ("hypervolume", "cheap_hypervolume"):
        values = {seed: row[name][-1] for seed, row in found.items()}
        mean = f"{np.mean(list(values.values())):.4f}"
        gains = np.array([ours[seed][name][-1] - value for seed, value in values.items() if seed in ours])
        if found is ours or len(gains) < 2:
            ahead = ""
        else:
            half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / math.sqrt(len(gains))
            ahead = f"{gains.mean():+.4f} ± {half:.4f}"
        if name == "hypervolume":
            yield mean
            yield ahead
        else:
            yield f"{mean} {ahead and f'({ahead})'}"
    yield f"{sum(row['cheap'] == 0 for row in found.values())} of {len(found)}"


if __name__ == "__main__":
    main()
