"""What a retraining evaluates: each student once, or many sets of hyperparameters for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from nas_ray.search import SearchSession
from nas_ray.space import Rung, parse_any
from nas_ray.spec import Retrain
from nas_ray.stages._candidates import TrackerListener
from nas_ray.stages._context import Context
from nas_ray.stages._sessions import listed_session, sets_session


class Retrained(Protocol):
    """What sessions need to know of a retraining."""

    context: Context
    spec: Retrain
    journal: Path
    ladder: tuple[Rung, ...]

    @property
    def listener(self) -> TrackerListener: ...


def students_session(retraining: Retrained, rows: Sequence[dict[str, Any]]) -> SearchSession:
    """The students of ``rows``, each once."""
    context = retraining.context
    listed = [(parse_any(row["arch_id"], context.head_size), "retrain") for row in rows]
    return listed_session(
        listed, retraining.ladder, retraining.journal, context.costs_of, retraining.listener, context.head_size
    )


def journal_of(journal: Path, candidate_id: str) -> Path:
    """The journal of a student's sets of hyperparameters, beside that of all students."""
    return journal.with_name(f"journal-{candidate_id}.jsonl")


def searching_session(retraining: Retrained, row: dict[str, Any]) -> SearchSession:
    """The sets of hyperparameters of one student."""
    context, search = retraining.context, retraining.spec.search
    assert search is not None
    return sets_session(
        parse_any(row["arch_id"], context.head_size),
        search.searched,
        {**dict(retraining.spec), "balance": 1.0},
        retraining.ladder,
        journal_of(retraining.journal, row["candidate_id"]),
        context.costs_of,
        retraining.listener,
        trials=search.trials,
        eta=search.eta,
        seed=context.spec.seed,
        head_size=context.head_size,
    )
