"""Answers from a finished run's tables alone: the exact front, or the best T, under any bounds; no torch, no ray."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas_ray._files import write_text
from nas_ray.errors import RunError
from nas_ray.search import Front, table_problem, task_id
from nas_ray.space import PathSpace
from nas_ray.stages._agreement import agreement
from nas_ray.stages._run import Run
from nas_ray.tables import Costs, QualityTable, read_rows

_MEASURED = ("select_loss", "test_loss", "status")


def solve(run: Run, objectives: Sequence[str], bounds: Mapping[str, float], top: int | None) -> dict[str, Any]:
    """Rows of architectures by the tables of ``run``, and what is promised of them.

    The exact front in the score and the costs among ``objectives``, small ones first; with ``top`` the so many of least
    score, best first. What the run has measured of an architecture stands beside it.

    Raises:
        RunError: the run has no tables yet. InfeasibleError: no architecture meets ``bounds``.
    """
    space = run.space
    if not isinstance(space, PathSpace):
        raise RunError(f"{run.folder}: space '{space.name}' is of kind uniform and has no tables of paths.")
    if not run.is_done("tabulate"):
        raise RunError(f"{run.folder}: the run has no tables yet; finish it with `nas-ray resume {run.folder}`.")
    costs = Costs.read(run.folder / "tables", space, run.spec.supernet.start)
    quality = QualityTable.read(run.folder / "tables" / "quality.parquet")
    metrics = list(dict.fromkeys([*(name for name in objectives if name != "loss"), *bounds, "encoder_params"]))
    problem = table_problem(costs, quality, metrics)
    bounds = {metric: bound for metric, bound in bounds.items() if math.isfinite(bound)}
    problem.require_feasible(bounds)
    if top is None:
        found = problem.front(["score", *(name for name in objectives if name != "loss")], bounds)
    else:
        found = problem.top(top, bounds)
    judged = _candidates(run)
    rows: list[dict[str, Any]] = []
    known = _by_architecture(judged)
    for point in found.points:
        architecture = problem.architecture(point.names)
        row = {
            "candidate_id": known.get(architecture.arch_id, {}).get("candidate_id", task_id(architecture)),
            "arch_id": architecture.arch_id,
            **{name: _whole(name, value) for name, value in costs.of(architecture).items()},
            "table_loss": quality.total(architecture),
            "score": point.values[0],
        }
        measured = known.get(architecture.arch_id, {})
        rows.append(row | {name: measured.get(name) for name in _MEASURED})
    if top is None:
        rows.sort(key=lambda row: row["encoder_params"])
    return {
        "candidates": rows,
        "of": len(rows),
        "guarantee": _guarantee(found, costs, quality, judged),
        "teacher_encoder_params": costs.shape.encoder_params,
    }


def evaluation_overrides(run: Run, arch_ids: Sequence[str]) -> list[str]:
    """What makes the search of ``run`` go on with those of ``arch_ids`` that it has not judged, if any."""
    search = run.spec.search
    known = {row["arch_id"] for row in _candidates(run)}
    new = [arch_id for arch_id in arch_ids if arch_id not in known]
    if not new:
        return []
    asked = [*search.enqueue.get("tables", ()), *new]
    return [f"search.enqueue.tables={json.dumps(asked)}", f"search.num_candidates={search.num_candidates + len(new)}"]


def verdict(run: Run, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What whole models say of architectures that the tables chose; kept in ``tables/solved.json``.

    How many were judged to the end, Kendall's tau of score and of stitched loss on *select*, and the best of them.
    """
    known = _by_architecture(row for row in _candidates(run) if row["status"] == "completed")
    judged = [known[row["arch_id"]] | {"score": row["score"]} for row in rows if row["arch_id"] in known]
    found: dict[str, Any] = {"asked": len(rows), "judged": len(judged), "kendall_tau": None, "best": None}
    if judged:
        found["best"] = min(judged, key=lambda row: row["select_loss"])["candidate_id"]
    if len(judged) > 2:
        from scipy.stats import kendalltau

        scores, losses = [row["score"] for row in judged], [row["select_loss"] for row in judged]
        found["kendall_tau"] = float(kendalltau(scores, losses).statistic)
    write_text(run.folder / "tables" / "solved.json", json.dumps(found, indent=1))
    return found


def _by_architecture(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A row for each arch_id; of several with hyperparameters of their own the finished one of least loss."""

    def worth(row: dict[str, Any]) -> tuple[bool, float]:
        loss = row["select_loss"]
        return row["status"] != "completed", math.inf if loss is None else loss

    return {row["arch_id"]: row for row in sorted(rows, key=worth, reverse=True)}


def _candidates(run: Run) -> list[dict[str, Any]]:
    """The rows of ``candidates.parquet``; none, if the search is not finished."""
    file = run.folder / "candidates.parquet"
    return read_rows(file)[0] if file.is_file() else []


def _guarantee(found: Front, costs: Costs, quality: QualityTable, judged: list[dict[str, Any]]) -> str:
    about, key, check = quality.metadata, costs.latency.metadata["key"], costs.latency.metadata["check"]
    rule = "" if costs.space.embedding_rule is None else "; the embedding size follows the space's rule, unmeasured"
    agreed = agreement(judged)
    losses = (
        "losses not compared yet"
        if agreed is None
        else f"Kendall's tau {agreed.tables:.2f} between summed and measured loss over {agreed.candidates} "
        f"(parameter count alone {agreed.params:.2f})"
    )
    scope = str(about["guarantee"]).removeprefix("exact over ")
    return (
        f"{found.guarantee}; over {scope}, by the score of losses refitted "
        f"on {about['fit_tokens']:,} tokens and measured on {about['select_tokens']:,}, and by milliseconds on "
        f"{key['processor']}, {key['runtime']} {key['dtype']}, {key['sequence_length']} tokens x {key['batch_size']}"
        f"{rule}. The tables' error against whole models: {losses}; latency rank correlation "
        f"{check['spearman']:.3f}, mean error {check['mape_percent']:.1f} % over {check['num_models']}"
    )


def _whole(name: str, value: float) -> float | int:
    return int(value) if name.endswith("params") else value
