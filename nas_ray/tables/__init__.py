"""Lookup tables: their schema, their Parquet files, their sums; numpy and pyarrow only."""

from nas_ray.tables._costs import COST_METRICS, Costs, params_table
from nas_ray.tables._parts import LatencyCheck, PartTable
from nas_ray.tables._quality import QualityTable, size_scores
from nas_ray.tables._ranking import Tau, kendall_tau
from nas_ray.tables._store import read_parquet, read_rows, write_parquet
from nas_ray.tables._surrogates import (
    Surrogates,
    UniformCosts,
    all_uniform_parts,
    maximum_point,
    parse_layer,
    uniform_of,
    uniform_parts,
)

__all__ = [
    "COST_METRICS",
    "Costs",
    "LatencyCheck",
    "PartTable",
    "QualityTable",
    "Surrogates",
    "Tau",
    "UniformCosts",
    "all_uniform_parts",
    "kendall_tau",
    "maximum_point",
    "params_table",
    "parse_layer",
    "read_parquet",
    "read_rows",
    "size_scores",
    "uniform_of",
    "uniform_parts",
    "write_parquet",
]
