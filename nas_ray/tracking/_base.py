"""What a search tells a tracker, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from nas_ray.space import AnyArchitecture, GivenModel, UniformArchitecture

RecordKind = Literal["candidate", "reference"]

_OPERATIONS = ("attention", "feed_forward", "separable_conv")


@dataclass(frozen=True)
class CandidateRecord:
    """A candidate or reference as it enters the search; ``params`` never change afterwards."""

    candidate_id: str
    arch_id: str
    origin: str
    kind: RecordKind = "candidate"
    label: str = ""
    params: Mapping[str, str | int | float] = field(default_factory=dict)


class Tracker(Protocol):
    """Takes records and never raises, never waits: a search does not depend on its log.

    Saying the same thing twice, in one process or after a resume, changes nothing. A call after ``close`` is
    ignored.
    """

    def candidate_started(self, record: CandidateRecord) -> None:
        """The candidate is being judged."""

    def candidate_rung(self, candidate_id: str, budget: int, loss: float, metric: str = "loss") -> None:
        """The loss at one rung, under the name ``metric``; ``budget`` is cumulative."""

    def candidate_ended(
        self,
        candidate_id: str,
        status: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, str] = {},
        documents: Mapping[str, str] = {},
    ) -> None:
        """Metrics and why: ``completed``, ``stopped``, ``failed: why`` or ``interrupted``.

        ``tags`` are named without ``nas_ray.``; ``documents`` are texts to keep as files, by file name.
        """

    def mark_pareto(self, candidate_ids: Iterable[str]) -> None:
        """These, and no others, are on the front."""

    def summary(
        self,
        params: Mapping[str, str | int | float],
        metrics: Mapping[str, float | None],
        artifacts: Sequence[Path] = (),
        inputs: Mapping[str, str] = {},
    ) -> None:
        """The outcome of the whole run, files to keep with it, and what it read: a hash by data set."""

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything is written; False if that took longer than ``timeout`` seconds."""

    def close(self, timeout: float = 30.0) -> bool:
        """End what is still open as interrupted, then ``flush`` and stop."""


def architecture_params(architecture: AnyArchitecture) -> dict[str, str | int | float]:
    """The few parameters by which candidates are compared side by side."""
    if isinstance(architecture, UniformArchitecture):
        return {
            "depth": architecture.depth,
            "heads": architecture.heads,
            "hidden": architecture.hidden,
            "intermediate": architecture.intermediate,
        }
    if isinstance(architecture, GivenModel):
        return {}
    paths, digits = architecture.paths, len(str(len(architecture.paths) - 1))
    kinds: list[str] = [operation.kind for path in paths for operation in path.operations]
    return {
        "embedding_size": architecture.embedding_size,
        "widths": "-".join(str(path.width) for path in paths),
        "depths": "-".join(str(path.depth) for path in paths),
        "depth": len(kinds),
        **{f"num_{kind}": kinds.count(kind) for kind in _OPERATIONS},
        **{f"block_{i:0{digits}d}": path.path_id for i, path in enumerate(paths)},
    }
