"""``tracking.enabled: false``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nas_ray.tracking._base import CandidateRecord


class NullTracker:
    """Keeps nothing."""

    def candidate_started(self, record: CandidateRecord) -> None:
        return None

    def candidate_rung(self, candidate_id: str, budget: int, loss: float, metric: str = "loss") -> None:
        return None

    def candidate_ended(
        self,
        candidate_id: str,
        status: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, str] = {},
        documents: Mapping[str, str] = {},
    ) -> None:
        return None

    def mark_pareto(self, candidate_ids: Iterable[str]) -> None:
        return None

    def summary(
        self,
        params: Mapping[str, str | int | float],
        metrics: Mapping[str, float | None],
        artifacts: Sequence[Path] = (),
        inputs: Mapping[str, str] = {},
    ) -> None:
        return None

    def flush(self, timeout: float = 30.0) -> bool:
        return True

    def close(self, timeout: float = 30.0) -> bool:
        return True
