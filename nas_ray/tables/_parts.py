"""Cost of each part of a student: parameters, FLOPs or milliseconds; an architecture costs the sum of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_ray.errors import TableError
from nas_ray.tables._store import read_parquet, write_parquet


@dataclass(frozen=True)
class LatencyCheck:
    """A latency table against whole models that did not calibrate it; stands in its metadata as ``check``."""

    spearman: float
    mape_percent: float
    num_models: int


@dataclass(frozen=True)
class PartTable:
    """``values`` and ``spreads`` by part, in ``unit``.

    The total of a whole model is ``slope * sum + intercept``; ``metadata`` holds the key of the measurement and the
    table's own error against whole models that did not fit the two numbers.
    """

    metric: str
    unit: str
    values: Mapping[str, float]
    spreads: Mapping[str, float] = field(default_factory=dict)
    slope: float = 1.0
    intercept: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> float:
        """The value of one part.

        Raises:
            TableError: the table lacks it.
        """
        try:
            return self.values[name]
        except KeyError:
            raise TableError(
                f"the {self.metric} table lacks the part '{name}'; it was made for another space: measure it again."
            ) from None

    def total(self, parts: Iterable[str]) -> float:
        """The cost of a model made of ``parts``."""
        return self.slope * sum(self.part(part) for part in parts) + self.intercept

    def write(self, path: Path) -> None:
        """Write the table to ``path``."""
        names = sorted(self.values)
        write_parquet(
            path,
            {
                "part": names,
                self.metric: [float(self.values[name]) for name in names],
                "spread": [self.spreads.get(name) for name in names],
            },
            {
                **self.metadata,
                "table": "parts",
                "metric": self.metric,
                "unit": self.unit,
                "slope": self.slope,
                "intercept": self.intercept,
            },
        )

    @classmethod
    def read(cls, path: Path) -> PartTable:
        """The table at ``path``.

        Raises:
            TableError: it is missing, damaged or another table.
        """
        columns, metadata = read_parquet(path)
        if metadata.pop("table", None) != "parts":
            raise TableError(f"{path}: not a table of parts; accepted: a latency or cost table.")
        try:
            metric, unit = metadata.pop("metric"), metadata.pop("unit")
            slope, intercept = metadata.pop("slope"), metadata.pop("intercept")
            values = dict(zip(columns["part"], columns[metric], strict=True))
            spreads = {n: s for n, s in zip(columns["part"], columns["spread"], strict=True) if s is not None}
        except KeyError as error:
            raise TableError(f"{path}: a table of parts without {error}; measure it again.") from error
        return cls(metric, unit, values, spreads, slope, intercept, metadata)
