"""Loss of each choice of each slot: slot 0 is the embedding, slot b + 1 is block b."""

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

    ``metadata`` says on how many tokens readouts were fitted and losses measured, and what the guarantee covers.
    """

    losses: tuple[Mapping[str, float], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

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
        rows = [(slot, name, loss) for slot, losses in enumerate(self.losses) for name, loss in losses.items()]
        write_parquet(
            path,
            {"slot": [r[0] for r in rows], "choice": [r[1] for r in rows], "loss": [r[2] for r in rows]},
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
            losses: list[dict[str, float]] = [{} for _ in range(metadata.pop("slots"))]
            for slot, choice, loss in zip(columns["slot"], columns["choice"], columns["loss"], strict=True):
                losses[slot][choice] = loss
        except (KeyError, IndexError) as error:
            raise TableError(f"{path}: a quality table without {error}; tabulate again.") from error
        metadata.pop("unit", None)
        return cls(tuple(losses), metadata)
