"""Stage 5: the front, the references and what is compared with them, on the split that chose nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from nas_ray.distill import AnyJudgeConfig, Assignment, DocumentJudge, TrainingText
from nas_ray.search import non_dominated, read_journal, read_outcomes
from nas_ray.stages._candidates import TEACHER, outcome_row
from nas_ray.stages._context import Context
from nas_ray.stages.search import STUDENTS, judge_config, training_text
from nas_ray.tables import read_parquet, write_parquet

Errors = dict[int, tuple[float, int]]

_LEAST_DOCUMENTS = 8


def run(context: Context) -> list[Path]:
    """Write ``tables/test_errors.parquet``: squared error and tokens of every test document and candidate."""
    rows = judged_rows(context)
    completed = [row for row in rows if row["status"] == "completed"]
    chosen = [row for row in completed if row["pareto"] or row["kind"] == "reference"]
    chosen += [row for row, _ in comparisons(rows) if row not in chosen]
    return measure(context, chosen, judge_config(context), context.published(), training_text(context))


def measure(
    context: Context, chosen: list[dict[str, Any]], config: AnyJudgeConfig, arrays: list[Any], text: TrainingText | None
) -> list[Path]:
    """Write the errors of the ``chosen`` rows; the distilled weights of all others are deleted."""
    assignments = [
        Assignment(row["candidate_id"], row["arch_id"], json.loads(row["hyperparameters"] or "{}")) for row in chosen
    ]

    def progress(done: int) -> None:
        context.console.progress(done, len(assignments), "models")

    if context.is_local:
        judge = config.build(arrays, text)
        assert isinstance(judge, DocumentJudge), "a run's candidates are judged by documents"
        errors = []
        for number, assignment in enumerate(assignments, start=1):
            errors.append(judge.document_errors(assignment))
            progress(number)
    else:
        from nas_ray.cluster import document_errors

        errors = document_errors(config, arrays, text, assignments, progress)
    _forget_others(context, {row["candidate_id"] for row in chosen})
    file = context.path("tables/test_errors.parquet")
    _write(file, [row["candidate_id"] for row in chosen], errors)
    return [file]


def _forget_others(context: Context, kept: set[str]) -> None:
    """Delete the distilled weights of those that are neither on the front nor compared with it."""
    for folder in context.path(STUDENTS).glob("*"):
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def judged_rows(context: Context) -> list[dict[str, Any]]:
    """All candidates and references of the journal; those that no other dominates are marked ``pareto``.

    Membership is decided on the select split, among candidates that reached the last rung.
    """
    outcomes = read_outcomes(read_journal(context.path("journal.jsonl")), context.head_size)
    rows = [outcome_row(context, outcome) for outcome in outcomes.values()]
    finished = [row for row in rows if row["kind"] == "candidate" and row["status"] == "completed"]
    names = ["select_loss" if name == "loss" else name for name in context.spec.search.objectives]
    if finished:
        mask = non_dominated(np.array([[float(row[name]) for name in names] for row in finished]))
        for row, keep in zip(finished, mask, strict=True):
            row["pareto"] = bool(keep)
    return rows


def comparisons(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """For each uniform reference the finished candidate of at most its encoder parameters that *select* prefers."""
    completed = [row for row in rows if row["status"] == "completed"]
    finished = [row for row in completed if row["kind"] == "candidate"]
    found = []
    for reference in completed:
        if reference["kind"] != "reference" or reference["label"] == TEACHER:
            continue
        smaller = [row for row in finished if row["encoder_params"] <= reference["encoder_params"]]
        if smaller:
            found.append((min(smaller, key=lambda row: row["select_loss"]), reference))
    return found


def read_errors(context: Context) -> dict[str, Errors]:
    """Errors by candidate and document."""
    columns, _ = read_parquet(context.path("tables/test_errors.parquet"))
    found: dict[str, Errors] = {}
    for name, document, error, tokens in zip(
        columns["candidate_id"], columns["document"], columns["error"], columns["tokens"], strict=True
    ):
        found.setdefault(name, {})[document] = (error, tokens)
    return found


def mean_error(errors: Errors) -> float:
    """Normalised loss over all documents."""
    return sum(error for error, _ in errors.values()) / sum(tokens for _, tokens in errors.values())


def paired_interval(a: Errors, b: Errors, seed: int, resamples: int = 4000) -> tuple[float, float, float]:
    """Loss of ``a`` minus loss of ``b`` on the same documents, with a 95 % interval from resampling documents.

    Of fewer than eight documents resamples say next to nothing: the interval is not a number.
    """
    documents = sorted(a)
    difference = np.array([a[d][0] - b[d][0] for d in documents])
    tokens = np.array([a[d][1] for d in documents], dtype=float)
    rng = np.random.default_rng([seed, 11])
    draws = rng.integers(len(documents), size=(resamples, len(documents)))
    means = difference[draws].sum(1) / tokens[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5]) if len(documents) >= _LEAST_DOCUMENTS else (np.nan, np.nan)
    return float(difference.sum() / tokens.sum()), float(low), float(high)


def _write(file: Path, candidates: list[str], errors: list[Errors]) -> None:
    rows = [
        (candidate, document, error, tokens)
        for candidate, found in zip(candidates, errors, strict=True)
        for document, (error, tokens) in found.items()
    ]
    names = ("candidate_id", "document", "error", "tokens")
    columns = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    write_parquet(file, columns, {"table": "test_errors", "unit": "normalised squared error, summed over tokens"})
