"""What waits to be written: an event says what is to become true, so repeating it is harmless."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

SUMMARY = "summary"
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"

_LONGEST_VALUE = 5000  # MLflow takes 6,000 characters in a param and 8,000 in a tag


@dataclass(frozen=True)
class Point:
    """One value of one metric."""

    key: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True)
class Change:
    """What becomes of one MLflow run, a candidate id or ``SUMMARY``; empty fields change nothing."""

    run: str
    time_ms: int
    name: str = ""
    state: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    artifacts: tuple[str, ...] = ()
    documents: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    def then(self, later: Change) -> Change:
        """Both, one after the other."""
        return replace(
            self,
            name=later.name or self.name,
            state=next_state(self.state, later.state),
            tags={**self.tags, **later.tags},
            params={**later.params, **self.params},
            points=self.points + later.points,
            artifacts=self.artifacts + tuple(a for a in later.artifacts if a not in self.artifacts),
            documents={**self.documents, **later.documents},
            inputs={**self.inputs, **later.inputs},
        )


@dataclass(frozen=True)
class Front:
    """These candidates, and no others, are on the front."""

    candidate_ids: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    """The process goes away: whatever still runs was interrupted."""

    time_ms: int


Event = Change | Front | Stop


def next_state(now: str, wanted: str) -> str:
    """The state after ``wanted`` is asked for; a mere start does not reopen what has finished or failed."""
    if not wanted or (wanted == RUNNING and now in (FINISHED, FAILED)):
        return now
    return wanted


def end_state(status: str) -> str:
    """The MLflow state for how a candidate ended: a word, and after a colon why."""
    return {"failed": FAILED, "interrupted": KILLED}.get(status.partition(":")[0], FINISHED)


def points(metrics: Mapping[str, float | None], time_ms: int) -> tuple[Point, ...]:
    """The finite ones of ``metrics``."""
    return tuple(
        Point(key, float(value), 0, time_ms)
        for key, value in metrics.items()
        if value is not None and math.isfinite(value)
    )


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """``values`` as MLflow stores params and tags."""
    return {key: str(value)[:_LONGEST_VALUE] for key, value in values.items()}


def encode(event: Event) -> str:
    """One line of JSON."""
    return json.dumps({type(event).__name__: asdict(event)}, separators=(",", ":"))


def decode(line: str) -> Event | None:
    """The event, or None for a line that a killed process left torn."""
    try:
        ((name, fields),) = json.loads(line).items()
        if name == "Front":
            return Front(tuple(fields["candidate_ids"]))
        if name == "Stop":
            return Stop(fields["time_ms"])
        fields["points"] = tuple(Point(**point) for point in fields["points"])
        return Change(**{**fields, "artifacts": tuple(fields["artifacts"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
