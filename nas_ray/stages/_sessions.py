"""What is trained as Tune trials outside a run's search: listed candidates once each, or many sets of hyperparameters
for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any

from nas_ray._files import write_text
from nas_ray.search import (
    Asha,
    Candidate,
    DimensionSpace,
    Joint,
    Journal,
    Listed,
    Listener,
    Objective,
    Outcome,
    Proposer,
    SearchSession,
    SetSearcher,
    SetSpace,
    read_journal,
    read_outcomes,
    task_id,
)
from nas_ray.space import AnyArchitecture, Rung
from nas_ray.spec import Range
from nas_ray.stages._changes import set_aside
from nas_ray.stages._searched import dimension_of

Costs = Callable[[AnyArchitecture], Mapping[str, float]]
Searched = Mapping[str, Range | tuple[int, ...]]


def listed_session(
    listed: Sequence[tuple[Candidate, str]],
    ladder: Sequence[Rung],
    file: Path,
    costs: Costs,
    listener: Listener,
    head_size: int = 0,
) -> SearchSession:
    """The candidates of ``listed``, with their origins, each once; the journal ``file`` replayed."""
    asked = {task_id(candidate) for candidate, _ in listed}
    _try_failed_again(file, head_size, asked)
    journal = Journal(file)
    # Candidates of earlier calls stand in the journal, and count.
    known = {record["candidate_id"] for record in journal.records if record["kind"] == "suggested"}
    nothing: Any = SetSpace((), DimensionSpace(()))  # is never drawn from
    proposer: Proposer[Any] = Proposer(
        Listed(), nothing, [Objective("loss")], (), _of_candidates(costs), len(known | asked), enqueued=listed, seed=0
    )
    return SearchSession(proposer, None, ladder, journal, (), costs, listener, head_size, asked)


def sets_session(
    architecture: AnyArchitecture,
    searched: Searched,
    own: Mapping[str, float],
    ladder: Sequence[Rung],
    file: Path,
    costs: Costs,
    listener: Listener,
    *,
    trials: int,
    eta: float,
    seed: int,
    head_size: int = 0,
) -> SearchSession:
    """``trials`` sets of hyperparameters of one architecture, the first nearest to ``own``, in a journal of their own,
    replayed."""
    points = DimensionSpace([dimension_of(name, values) for name, values in searched.items()])
    space = SetSpace([architecture], points)
    first = points.decode({name: _nearest(values, own[name]) for name, values in searched.items()})
    proposer: Proposer[Any] = Proposer(
        SetSearcher(space, first, seed), space, [Objective("loss")], (), _of_candidates(costs), trials, seed=seed
    )
    _try_failed_again(file, head_size)
    scheduler = Asha(range(1, len(ladder) + 1), eta=eta)
    return SearchSession(proposer, scheduler, ladder, Journal(file), (), costs, listener, head_size)


def best_outcome(session: SearchSession) -> Outcome:
    """The completed one of lowest loss; if none was completed, the first."""
    outcomes = list(session.outcomes.values())
    completed = [outcome for outcome in outcomes if outcome.status == "completed"]
    return min(completed, key=lambda outcome: inf if outcome.loss is None else outcome.loss, default=outcomes[0])


def _of_candidates(costs: Costs) -> Callable[[Any], Mapping[str, float]]:
    return lambda found: costs(found.architecture if isinstance(found, Joint) else found)


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
