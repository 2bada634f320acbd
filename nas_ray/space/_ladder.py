"""The ladder of fidelity: what a candidate is measured by, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

RungKind = Literal["blocks", "stitched", "distilled"]

_METRICS = {"blocks": "block_loss", "stitched": "loss", "distilled": "distilled_loss"}


@dataclass(frozen=True)
class Rung:
    """One rung: ``blocks`` sums the refitted losses of its blocks, ``stitched`` is the whole student's loss, each on
    ``budget`` selection batches; ``distilled`` the student's loss on all of them after ``budget`` training steps."""

    kind: RungKind
    budget: int

    @property
    def metric(self) -> str:
        """Its name in MLflow; losses of different kinds are not compared."""
        return _METRICS[self.kind]

    @property
    def unit(self) -> str:
        """What the budget counts."""
        return "steps" if self.kind == "distilled" else "batches"

    def __str__(self) -> str:
        one = {"steps": "step", "batches": "batch"}[self.unit]
        return f"{self.kind} {self.budget} {one if self.budget == 1 else self.unit}"


def describe_ladder(ladder: Sequence[Rung]) -> str:
    """All rungs in a few words, as in ``stitched 1, 2, 4 batches, distilled 20, 60 steps``."""
    kinds = ((kind, list(rungs)) for kind, rungs in groupby(ladder, key=lambda rung: rung.kind))
    return ", ".join(f"{kind} {', '.join(str(r.budget) for r in rungs)} {rungs[0].unit}" for kind, rungs in kinds)
