"""What makes students of a finished run: retrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas_ray.api._results import front
from nas_ray.errors import NasRayError, RunError
from nas_ray.search import task_id
from nas_ray.space import Architecture, UniformArchitecture, parse_any
from nas_ray.stages import Console, Context, Run, Silent, first_within, retrain_spec
from nas_ray.tables import read_rows


def retrain(
    folder: str | Path,
    *,
    bounds: Sequence[Mapping[str, float]] = (),
    candidates: Sequence[str] = (),
    overrides: Sequence[str] = (),
    address: str | None = None,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Distil chosen candidates of a finished run into models that transformers loads; resumable.

    Args:
        bounds: of each (``{"encoder_params": 5e6}``) the best of the run's front within it is chosen; within
            ``latency_ms`` when its whole model is measured, too, if this is the machine of the run's table.
        candidates: candidate ids of the run, or arch_ids of its space.
        overrides: ``steps=2000`` and other keys of ``spec.Retrain``.

    Returns:
        What each student's ``student.json`` says, and its ``folder``: a model with its tokenizer. Equal candidates
        count once; what the same settings have finished before is not trained again.

    Raises:
        RunError: the run is not finished, has no such candidate, or it is the teacher. SpecError: an unknown key.
        InfeasibleError: nothing of the front is within a bound. StageError: a student could not be finished.
    """
    run, spec = Run.open(Path(folder)), retrain_spec(overrides)
    if not run.is_done("report"):
        raise RunError(f"{folder}: the run is not finished; go on with `nas-ray resume {folder}`.")
    context = Context(run, console or Silent())
    head_size = context.head_size

    def student(row: dict[str, Any]) -> dict[str, Any]:
        # Known by its architecture: hyperparameters that a search drew for it are not those of its retraining.
        return {**row, "candidate_id": task_id(parse_any(row["arch_id"], head_size))}

    chosen: dict[str, dict[str, Any]] = {}
    for bound in bounds:
        row = student(_best(context, dict(bound)))
        chosen.setdefault(row["candidate_id"], row)
    known, _ = read_rows(run.folder / "candidates.parquet")
    for name in candidates:
        found = [row for row in known if name in (row["candidate_id"], row["arch_id"], student(row)["candidate_id"])]
        row = student(found[0] if found else _unsearched(context, name))
        chosen.setdefault(row["candidate_id"], row)
    if not chosen:
        raise RunError(f"{folder}: nothing to retrain was named; accepted: bounds, candidates, or both.")
    # Now, not before: a process that has loaded torch and ends at once with an error can abort instead.
    from nas_ray.stages.retrain import retrain_candidates
    from nas_ray.student import read_card

    folders = retrain_candidates(run, spec, list(chosen.values()), console, address)
    return [{**asdict(read_card(found)), "folder": str(found)} for found in folders]


def _best(context: Context, bound: dict[str, float]) -> dict[str, Any]:
    """The candidate of least loss of the front within ``bound``; a bound on latency holds when measured too."""
    rows = sorted(front(context.run.folder, bounds=bound)["candidates"], key=lambda row: row["select_loss"])
    return first_within(context, rows, bound["latency_ms"]) if "latency_ms" in bound else rows[0]


def _unsearched(context: Context, name: str) -> dict[str, Any]:
    """An architecture of the space that was no candidate, as a row.

    Raises:
        RunError: there is none of that name.
    """
    folder, space = context.run.folder, context.run.space
    architecture: Any = None
    with suppress(NasRayError):
        architecture = parse_any(name, context.head_size)
    is_kind = isinstance(architecture, UniformArchitecture if context.is_uniform else Architecture)
    if not (is_kind and space.contains(architecture)):
        raise RunError(
            f"{folder}: the run has no candidate '{name}'; accepted: a candidate_id or an arch_id of its "
            f"candidates.parquet, as `nas-ray front {folder} --json` lists them, or another arch_id of its space."
        )
    return {"arch_id": architecture.arch_id, "label": "", **context.costs_of(architecture)}
