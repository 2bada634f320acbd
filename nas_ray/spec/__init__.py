"""Trial specs and space files: text to frozen, validated, hashed objects."""

from nas_ray.spec._distill import Distill, Range
from nas_ray.spec._extraction import Extraction
from nas_ray.spec._load import (
    edit,
    find,
    is_space,
    load_space,
    load_space_spec,
    load_trial,
    parse,
    shipped,
    spec_hash,
    to_yaml,
)
from nas_ray.spec._retrain import Losses, Retrain, RetrainSearch, RetrainText
from nas_ray.spec._search import Scheduler, Search, Searcher
from nas_ray.spec._space import PathSpaceSpec, UniformSpaceSpec
from nas_ray.spec._supernet import Shrink, Supernet
from nas_ray.spec._tables import Latency, Tabulate
from nas_ray.spec._text import Splits, Text, TextSource
from nas_ray.spec._trial import Cluster, Tracking, TrialSpec

__all__ = [
    "Cluster",
    "Distill",
    "Extraction",
    "Latency",
    "Losses",
    "PathSpaceSpec",
    "Range",
    "Retrain",
    "RetrainSearch",
    "RetrainText",
    "Scheduler",
    "Search",
    "Searcher",
    "Shrink",
    "Splits",
    "Supernet",
    "Tabulate",
    "Text",
    "TextSource",
    "Tracking",
    "TrialSpec",
    "UniformSpaceSpec",
    "edit",
    "find",
    "is_space",
    "load_space",
    "load_space_spec",
    "load_trial",
    "parse",
    "shipped",
    "spec_hash",
    "to_yaml",
]
