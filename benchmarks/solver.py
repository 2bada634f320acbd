"""How long the exact solver takes, beside an integer program.

    python benchmarks/solver.py blocks             four blocks of 100 paths: 10^8 combinations
    python benchmarks/solver.py whole              the whole space of NAS-BERT: 97,650 paths a block, 9.09e19 in all
    python benchmarks/solver.py whole --milp 600   the same optimum by scipy.optimize.milp, given up after 600 s

Paths, parameters and maps between widths are those of `nas_bert` under a teacher of BERT-base's size. Losses and
milliseconds are made up: a path's loss falls with its size, by its block, with noise; each part runs at a speed of its
own, convolutions slowest. CPU seconds of one core; the tables are made before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nas_ray.measure import flops_table
from nas_ray.search import TableProblem, exact_front, table_problem
from nas_ray.space import PathSpace, TeacherShape, all_parts
from nas_ray.spec import load_space
from nas_ray.tables import Costs, PartTable, QualityTable, params_table, size_scores

ROWS = Path(__file__).parent / "results" / "solver.jsonl"
SHAPE = TeacherShape(
    768, 12, 12, 3072, vocab_size=30522, num_positions=512, embedding_params=23_837_184, encoder_params=85_054_464
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("blocks", "whole"))
    parser.add_argument("--milp", type=float, metavar="SECONDS", help="also by an integer program, for at most so long")
    args = parser.parse_args()
    row: dict[str, Any] = {"benchmark": "solver", "case": args.case}
    problem = timed(row, "tables_s", lambda: tables(100 if args.case == "blocks" else None))
    row["choices"] = [len(slot) for slot in problem.slots]
    middle = _middle(problem)
    bounded = {"params": middle["params"], "latency_ms": middle["latency_ms"]}
    if args.case == "blocks":
        front = timed(row, "front_of_three_s", lambda: problem.front(["score", "params", "latency_ms"], bounded))
        top = timed(row, "top_100_of_two_bounds_s", lambda: problem.top(100, bounded))
    else:
        front = timed(row, "front_of_two_s", lambda: problem.front(["score", "params"], {}))
        whole = timed(row, "front_of_three_s", lambda: problem.front(["score", "params", "latency_ms"], {}))
        row |= {"points_of_three": len(whole.points), "guarantee_of_three": whole.guarantee}
        top = timed(row, "top_100_of_one_bound_s", lambda: problem.top(100, {"params": middle["params"]}))
        timed(row, "top_100_of_two_bounds_s", lambda: problem.top(100, bounded))
    row |= {"front_points": len(front.points), "front_guarantee": front.guarantee, "top_guarantee": top.guarantee}
    row["best"] = top.points[0].values[0]
    row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if args.milp:
        bounds = bounded if args.case == "blocks" else {"params": middle["params"]}
        row["milp"] = timed(row, "milp_s", lambda: milp(problem, bounds, args.milp))
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


def timed(row: dict[str, Any], name: str, run: Callable[[], Any]) -> Any:
    """What ``run`` returns; its CPU seconds go into ``row``."""
    began = time.process_time()
    found = run()
    row[name] = round(time.process_time() - began, 3)
    print(name, row[name], flush=True)
    return found


def tables(paths: int | None) -> TableProblem:
    """The problem, with at most ``paths`` paths a block (those that NAS-BERT's shrinking would leave: all sizes)."""
    space = load_space("nas_bert")
    assert isinstance(space, PathSpace)
    space = replace(space, embedding_sizes=(512,), embedding_rule=None)
    params = params_table(space, SHAPE)
    flops = flops_table(all_parts(space, SHAPE), space.head_size, 128)
    rng = np.random.default_rng(0)
    speed = {part: float(rng.uniform(2e10, 8e10)) / (3 if ":S" in part else 1) for part in sorted(params.values)}
    latency = {part: flops.part(part) / speed[part] * 1e3 + 0.02 for part in params.values}
    costs = Costs(space, SHAPE, "scratch", params, flops, PartTable("latency_ms", "ms", latency))
    sizes = {path.path_id: float(path.num_params()) for path in space.paths}
    names = list(sizes)
    if paths is not None:
        names = sorted(names, key=sizes.__getitem__)[:: len(names) // paths][:paths]
    losses: list[dict[str, float]] = [{"e512": 0.0}]
    most = max(sizes.values())
    for block in range(space.num_blocks):
        noise = np.exp(0.1 * np.random.default_rng([block, 0]).normal(size=len(names))).tolist()
        fall = 0.15 + 0.1 * block
        losses.append({n: fall * (1.3 - (sizes[n] / most) ** 0.4) * z for n, z in zip(names, noise, strict=True)})
    scores = [losses[0], *(size_scores(found, sizes, 0.2) for found in losses[1:])]
    return table_problem(costs, QualityTable(tuple(losses), {}, tuple(scores)), ["params", "latency_ms"])


def _middle(problem: TableProblem) -> dict[str, float]:
    """Bounds that about the middle of the front meets."""
    points = exact_front(problem.slots, problem.seam, [None] * len(problem.metrics), [0, 1], max_points=500).points
    chosen = points[len(points) // 2]
    return dict(zip(problem.metrics, chosen.values, strict=True))


def milp(problem: TableProblem, bounds: dict[str, float], limit: float) -> dict[str, Any]:
    """One variable a choice, one a pair of boundaries at each seam."""
    from itertools import product

    from scipy.optimize import Bounds, LinearConstraint
    from scipy.optimize import milp as solve
    from scipy.sparse import csr_array

    slots = problem.slots
    columns = [choice.values for slot in slots for choice in slot]
    starts = np.cumsum([0, *[len(slot) for slot in slots]])
    rows, at, values, right = [], [], [], []
    for s, slot in enumerate(slots):
        _entries(rows, at, values, len(right), range(starts[s], starts[s + 1]), 1.0)
        right.append(1.0)
        after = slots[s + 1] if s + 1 < len(slots) else None
        befores = dict.fromkeys(c.boundary for c in slot)
        afters: dict[Any, None] = {None: None} if after is None else dict.fromkeys(c.boundary for c in after)
        number = {pair: len(columns) + k for k, pair in enumerate(product(befores, afters))}
        columns += [problem.seam(*pair) for pair in number]
        sides = [(0, slot, int(starts[s]), befores)]
        if after is not None:
            sides.append((1, after, int(starts[s + 1]), afters))
        for side, choices, first, boundaries in sides:
            for boundary in boundaries:
                _entries(rows, at, values, len(right), [i for p, i in number.items() if p[side] == boundary], 1.0)
                mine = [first + i for i, c in enumerate(choices) if c.boundary == boundary]
                _entries(rows, at, values, len(right), mine, -1.0)
                right.append(0.0)
    table = np.array(columns)
    matrix = csr_array((values, (rows, at)), shape=(len(right), len(columns)))
    limits = [LinearConstraint(table[:, problem.metrics.index(n)][None], -np.inf, b) for n, b in bounds.items()]
    found = solve(
        table[:, 0],
        constraints=[LinearConstraint(matrix, right, right), *limits],
        integrality=np.ones(len(columns)),
        bounds=Bounds(0, 1),
        options={"time_limit": limit},
    )
    return {"optimum": None if found.fun is None else float(found.fun), "status": str(found.message)}


def _entries(rows: list[int], at: list[int], values: list[float], row: int, columns: Any, value: float) -> None:
    chosen = list(columns)
    rows.extend([row] * len(chosen))
    at.extend(map(int, chosen))
    values.extend([value] * len(chosen))


if __name__ == "__main__":
    main()
