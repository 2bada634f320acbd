"""What a retraining evaluates: each student once, or many sets of hyperparameters for one."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any, Protocol

from nas_ray._files import write_text
from nas_ray.search import (
    Asha,
    DimensionSpace,
    Journal,
    Listed,
    Objective,
    Outcome,
    Proposer,
    SearchSession,
    SetSearcher,
    SetSpace,
    read_journal,
    read_outcomes,
)
from nas_ray.space import Rung, parse_any
from nas_ray.spec import Range, Retrain
from nas_ray.stages._candidates import TrackerListener
from nas_ray.stages._changes import set_aside
from nas_ray.stages._context import Context
from nas_ray.stages._searched import dimension_of


class Retrained(Protocol):
    """What sessions need to know of a retraining."""

    context: Context
    spec: Retrain
    journal: Path
    ladder: tuple[Rung, ...]

    @property
    def listener(self) -> TrackerListener: ...


def listed_session(retraining: Retrained, rows: Sequence[dict[str, Any]]) -> SearchSession:
    """The students of ``rows``, each once; its journal replayed."""
    context, file = retraining.context, retraining.journal
    listed = [(parse_any(row["arch_id"], context.head_size), "retrain") for row in rows]
    asked = {row["candidate_id"] for row in rows}
    _try_failed_again(file, context.head_size, asked)
    journal = Journal(file)
    # Students of earlier calls stand in the journal, and count.
    known = {record["candidate_id"] for record in journal.records if record["kind"] == "suggested"}
    proposer: Proposer[Any] = Proposer(
        Listed(), context.run.space, [Objective("loss")], (), context.costs_of, len(known | asked),
        enqueued=listed, seed=0,
    )  # fmt: skip
    return SearchSession(
        proposer, None, retraining.ladder, journal, (), context.costs_of, retraining.listener, context.head_size, asked
    )  # fmt: skip


def searching_session(retraining: Retrained, row: dict[str, Any]) -> SearchSession:
    """The sets of hyperparameters of one student, in a journal of their own, replayed."""
    context, search = retraining.context, retraining.spec.search
    assert search is not None
    architecture = parse_any(row["arch_id"], context.head_size)
    points = DimensionSpace([dimension_of(name, values) for name, values in search.searched.items()])
    space = SetSpace([architecture], points)
    first = points.decode(
        {name: _nearest(values, _own(retraining.spec, name)) for name, values in search.searched.items()}
    )
    proposer: Proposer[Any] = Proposer(
        SetSearcher(space, first, context.spec.seed), space, [Objective("loss")], (),
        lambda candidate: context.costs_of(candidate.architecture), search.trials, seed=context.spec.seed,
    )  # fmt: skip
    file = retraining.journal.with_name(f"journal-{row['candidate_id']}.jsonl")
    _try_failed_again(file, context.head_size)
    return SearchSession(
        proposer, Asha(range(1, len(retraining.ladder) + 1), eta=search.eta), retraining.ladder, Journal(file), (),
        context.costs_of, retraining.listener, context.head_size,
    )  # fmt: skip


def best_outcome(session: SearchSession) -> Outcome:
    """The completed one of lowest loss; if none was completed, the first."""
    outcomes = list(session.outcomes.values())
    completed = [outcome for outcome in outcomes if outcome.status == "completed"]
    return min(completed, key=lambda outcome: inf if outcome.loss is None else outcome.loss, default=outcomes[0])


def _own(spec: Retrain, name: str) -> float:
    return 1.0 if name == "balance" else getattr(spec, name)


def _nearest(values: Range | tuple[int, ...], own: float) -> float | int:
    """What the settings have, moved into what is searched."""
    if isinstance(values, Range):
        return min(max(own, values.low), values.high)
    return min(values, key=lambda value: abs(value - own))


def _try_failed_again(journal: Path, head_size: int, asked: Collection[str] | None = None) -> None:
    """Make the journal say that those that failed (of ``asked``, or all) have not ended: they go on from their last
    good checkpoints."""
    if not journal.is_file():
        return
    ends = read_outcomes(read_journal(journal), head_size)
    failed = {name for name, end in ends.items() if end.status == "failed" and (asked is None or name in asked)}
    if not failed:
        return
    kept = [
        record
        for record in read_journal(journal)
        if record.get("candidate_id") not in failed
        or record["kind"] == "suggested"
        or (record["kind"] == "rung" and isfinite(record["loss"]))
    ]
    set_aside(journal)
    write_text(journal, "".join(f"{json.dumps(record)}\n" for record in kept))
