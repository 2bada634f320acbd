"""How candidates are proposed, judged and stopped."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas_ray.space import Rung
from nas_ray.spec._distill import Distill, is_rising
from nas_ray.spec._frozen import Frozen


class Searcher(Frozen):
    """How candidates are proposed."""

    name: str = "surrogate"
    """random, evolution, nsga2, tpe, or surrogate: a model of all results so far."""
    options: dict[str, int] = Field(default_factory=dict)
    """Options of that searcher."""


class Scheduler(Frozen):
    """Asynchronous successive halving."""

    name: Literal["mo_asha", "asha", "none"] = "mo_asha"
    """`mo_asha` judges by all objectives, `asha` by the loss alone, `none` stops nobody."""
    eta: float = Field(2.0, gt=1)
    """One in `eta` goes on at each rung."""
    bins: int | None = Field(None, ge=1)
    """Cost bins; a candidate is judged against others of like size. If not given, 1 for `mo_asha` and 4 for `asha`."""
    min_per_bin: int = Field(3, ge=1)
    """Candidates a bin must have seen at a rung before one of them is stopped."""
    cost: Literal["encoder_params", "params", "latency_ms", "flops"] = "encoder_params"
    """What the bins are cut by."""

    @property
    def num_bins(self) -> int:
        """The bins given, or what suits the scheduler: rank by several objectives needs none."""
        return self.bins or (1 if self.name == "mo_asha" else 4)


class Search(Frozen):
    """The search by Tune trials."""

    num_candidates: int = Field(48, ge=1)
    """Candidates, solver proposals included; references are extra."""
    proposals: float = Field(0.5, ge=0, le=0.5)
    """Share of the candidates that are proposals from the tables' exact front."""
    enqueue: dict[Literal["tables", "user", "warm"], tuple[str, ...]] = Field(default_factory=dict)
    """Architectures (arch_ids) that are judged too. `tables`: before all others and never stopped, as
    `nas-ray front --evaluate` asks for; after those of the front: one's own (`user`), and those that `--warm-start RUN`
    takes from the front of an earlier run (`warm`)."""
    objectives: tuple[Literal["loss", "encoder_params", "params", "latency_ms", "flops"], ...] = (
        "loss",
        "encoder_params",
    )
    """What is minimised; `loss` must be among them."""
    constraints: dict[Literal["encoder_params", "params", "latency_ms", "flops"], Annotated[float, Field(gt=0)]] = (
        Field(default_factory=dict)
    )
    """Largest accepted values; candidates above are never started."""
    searcher: Searcher = Searcher()
    """How candidates are proposed after the front's."""
    scheduler: Scheduler = Scheduler()
    """Who is stopped early."""
    block_rungs: tuple[int, ...] = ()
    """Cumulative selection batches of rungs before those: the sum of a candidate's refitted block losses. For spaces
    whose tables hold a sample (`tabulate.max_paths`): candidates then come from the whole space."""
    rungs: tuple[int, ...] = (1, 2, 4)
    """Cumulative selection batches at which the stitched student's loss is judged."""
    distill: Distill | None = None
    """Rungs after those: short distillation of the stitched student; none if not given."""
    max_concurrent: int | None = Field(None, ge=1)
    """Tune trials at a time; one a core if not given."""

    @model_validator(mode="after")
    def _check(self) -> Search:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives are {list(self.objectives)}; accepted: each once")
        if "loss" not in self.objectives or len(self.objectives) < 2:
            raise ValueError(f"objectives are {list(self.objectives)}; accepted: loss and at least one cost")
        if not self.rungs:
            raise ValueError("rungs are []; accepted: rising numbers of batches, from 1")
        for name in ("rungs", "block_rungs"):
            if not is_rising(found := getattr(self, name)):
                raise ValueError(f"{name} are {list(found)}; accepted: rising numbers of batches, from 1")
        return self

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """All rungs, cheapest first."""
        steps = () if self.distill is None else self.distill.steps
        return (
            *(Rung("blocks", budget) for budget in self.block_rungs),
            *(Rung("stitched", budget) for budget in self.rungs),
            *(Rung("distilled", budget) for budget in steps),
        )
