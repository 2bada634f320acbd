"""What a search tries: the trial spec, frozen and checked once at the door.

Every field has a default that suits a small search on one machine; a spec file names what differs.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from nas_ray._secrets import has_secret, redacted
from nas_ray.spec._extraction import Extraction
from nas_ray.spec._frozen import Frozen
from nas_ray.spec._search import Search
from nas_ray.spec._supernet import Supernet
from nas_ray.spec._tables import Latency, Ranking, Tabulate
from nas_ray.spec._text import Text


class Tracking(Frozen):
    """MLflow."""

    enabled: bool = True
    """Whether candidates are logged."""
    uri: str | None = None
    """Tracking URI; `sqlite:///<storage>/mlflow.db` if not given."""
    experiment: str | None = None
    """Experiment; the trial's name if not given."""

    @model_validator(mode="after")
    def _check(self) -> Tracking:
        if self.uri and has_secret(self.uri):
            raise ValueError(
                f"uri is {redacted(self.uri)} and holds a secret, which would be written to disk; accepted: a URI "
                "without one, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN in "
                "the environment; or the whole URI as MLFLOW_TRACKING_URI there"
            )
        return self


class Cluster(Frozen):
    """How the run uses Ray."""

    executor: Literal["ray", "local"] = "ray"
    """`local` runs everything in one process, without Ray, for debugging."""
    max_in_flight: int = Field(4, ge=1)
    """Batches of hidden states under way between block actors."""


class TrialSpec(Frozen):
    """A whole trial spec."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the run."""
    description: str = ""
    """One sentence for `nas-ray trials`."""
    space: str
    """A search space: a shipped name or a file."""
    teacher: str = "minilm"
    """An asset of the catalogue, a local folder, or a model-hub name."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    text: Text = Text()
    latency: Latency = Latency()
    supernet: Supernet = Supernet()
    tabulate: Tabulate = Tabulate()
    search: Search = Search()
    ranking: Ranking = Ranking()
    extraction: Extraction = Extraction()
    tracking: Tracking = Tracking()
    cluster: Cluster = Cluster()

    @property
    def sets_each(self) -> int:
        """Hyperparameter sets that an extraction trains every architecture with; no more draws than there are."""
        distill = self.search.distill
        if distill is not None and distill.searched:
            return int(min(self.extraction.draws, distill.num_combinations))
        return max(1, len(self.extraction.hyperparameter_sets))

    @model_validator(mode="before")
    @classmethod
    def _fit_rungs(cls, data: Any) -> Any:
        """Rungs that nobody named end where the selection batches do."""
        text, search = (data.get(name) or {} for name in ("text", "search")) if isinstance(data, dict) else ({}, {})
        if not (isinstance(text, dict) and isinstance(search, dict)) or "rungs" in search:
            return data
        most, usual = text.get("select_batches"), Search().rungs
        if not isinstance(most, int) or most < 1 or most >= usual[-1]:
            return data
        return {**data, "search": {**search, "rungs": [rung for rung in usual if rung <= most]}}

    @model_validator(mode="after")
    def _check(self) -> TrialSpec:
        updates, sequences = self.supernet.updates, self.text.batch_sequences
        if sequences % updates:
            raise ValueError(
                f"supernet.updates is {updates}, text.batch_sequences is {sequences}; accepted: updates that divide it"
            )
        shrink, most = self.supernet.shrink, self.text.select_batches
        if shrink is not None and (shrink.batches or 0) > most:
            raise ValueError(
                f"supernet.shrink.batches is {shrink.batches}, text.select_batches is {most}; accepted: at most that"
            )
        if self.supernet.replicas > 1 and self.cluster.executor == "local":
            raise ValueError(
                f"supernet.replicas is {self.supernet.replicas} with cluster.executor local; accepted: replicas on "
                "executor ray, or 1"
            )
        for name in ("rungs", "block_rungs"):
            last = max(getattr(self.search, name), default=0)
            if last > self.text.select_batches:
                raise ValueError(
                    f"search.{name} end at {last} batches, text.select_batches is {self.text.select_batches}; "
                    "accepted: rungs up to text.select_batches"
                )
        distill = self.search.distill
        if self.extraction.hyperparameter_sets and distill is not None and distill.searched:
            raise ValueError(
                f"extraction.hyperparameter_sets beside ranges in search.distill ({', '.join(distill.searched)}); "
                "accepted: one of the two"
            )
        if self.search.block_rungs and self.supernet.shrink is not None:
            raise ValueError(
                "search.block_rungs with supernet.shrink: candidates would come from the whole space, and shrinking "
                "leaves a part of it; accepted: one of the two"
            )
        return self
