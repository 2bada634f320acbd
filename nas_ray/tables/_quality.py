"""Loss and score of each choice of each slot: slot 0 is the embedding, slot b + 1 is block b.

The loss is what was measured with shared weights; the score predicts the order of losses after training alone. Such
training improves large paths more than shared weights let on, so the score grows as sizes shrink:

    score = loss x (parameters / most parameters of a path) ** -size_exponent

`docs/benchmarks.md` says on what the exponent was chosen and what it is worth on other paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_ray.errors import TableError
from nas_ray.space import Architecture
from nas_ray.tables._store import read_parquet, write_parquet


@dataclass(frozen=True)
class QualityTable:
    """``losses[slot][choice]``: normalised loss (1.0 = predicting the mean) of ``e<size>`` or of a path id.

    ``scores`` are what choices are ranked by; the losses, if not given. ``metadata`` says on how many tokens readouts
    were fitted and losses measured, and what the guarantee covers.
    """

    losses: tuple[Mapping[str, float], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Mapping[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.scores:
            object.__setattr__(self, "scores", self.losses)

    def total(self, architecture: Architecture) -> float:
        """Sum of the losses of all slots; a size of embedding that was not measured counts 0.

        Raises:
            TableError: a path was not scored, or the table has another number of blocks.
        """
        if len(architecture.paths) != len(self.losses) - 1:
            raise TableError(
                f"the quality table has {len(self.losses) - 1} blocks, the architecture {len(architecture.paths)}; "
                "it was made for another space: tabulate again."
            )
        loss = self.losses[0].get(f"e{architecture.embedding_size}", 0.0)
        for slot, path in enumerate(architecture.paths, start=1):
            if path.path_id not in self.losses[slot]:
                raise TableError(f"the quality table has no loss for path {path.path_id} of block {slot - 1}.")
            loss += self.losses[slot][path.path_id]
        return loss

    def write(self, path: Path) -> None:
        """Write the table to ``path``."""
        rows = [
            (slot, name, loss, self.scores[slot][name])
            for slot, losses in enumerate(self.losses)
            for name, loss in losses.items()
        ]
        write_parquet(
            path,
            {name: [row[place] for row in rows] for place, name in enumerate(("slot", "choice", "loss", "score"))},
            {**self.metadata, "table": "quality", "unit": "normalised MSE", "slots": len(self.losses)},
        )

    @classmethod
    def read(cls, path: Path) -> QualityTable:
        """The table at ``path``.

        Raises:
            TableError: it is missing, damaged or another table.
        """
        columns, metadata = read_parquet(path)
        if metadata.pop("table", None) != "quality":
            raise TableError(f"{path}: not a quality table; accepted: the table of losses that a search writes.")
        try:
            slots = metadata.pop("slots")
            losses, scores = _by_slot(slots, columns, "loss"), _by_slot(slots, columns, "score")
        except (KeyError, IndexError) as error:
            raise TableError(f"{path}: a quality table without {error}; tabulate again.") from error
        metadata.pop("unit", None)
        return cls(losses, metadata, scores)


def size_scores(losses: Mapping[str, float], params: Mapping[str, float], exponent: float) -> dict[str, float]:
    """Scores of one block's paths from their ``losses`` and ``params``, by path id."""
    most = max(params[name] for name in losses)
    return {name: loss * (params[name] / most) ** -exponent for name, loss in losses.items()}


def _by_slot(slots: int, columns: Mapping[str, list[Any]], name: str) -> tuple[dict[str, float], ...]:
    found: tuple[dict[str, float], ...] = tuple({} for _ in range(slots))
    for slot, choice, value in zip(columns["slot"], columns["choice"], columns[name], strict=True):
        found[slot][choice] = value
    return found
