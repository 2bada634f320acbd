"""Lookup tables: their schema, their Parquet files, their sums; numpy and pyarrow only."""

from nas_ray.tables._costs import COST_METRICS, Costs, params_table
from nas_ray.tables._parts import PartTable
from nas_ray.tables._quality import QualityTable, size_scores
from nas_ray.tables._ranking import Tau, kendall_tau
from nas_ray.tables._store import read_parquet, write_parquet

__all__ = [
    "COST_METRICS",
    "Costs",
    "PartTable",
    "QualityTable",
    "Tau",
    "kendall_tau",
    "params_table",
    "read_parquet",
    "size_scores",
    "write_parquet",
]
