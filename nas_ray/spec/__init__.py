"""Trial specs and space files: text to frozen, validated, hashed objects."""

from nas_ray.spec._adapt import Adapt
from nas_ray.spec._agora import Agora
from nas_ray.spec._augment import Augment
from nas_ray.spec._distill import Distill, Range
from nas_ray.spec._extraction import Extraction
from nas_ray.spec._finetune import Finetune, FinetuneSearch
from nas_ray.spec._load import (
    edit,
    find,
    is_space,
    is_task,
    load_space,
    load_space_spec,
    load_task_spec,
    load_task_specs,
    load_trial,
    parse,
    read_settings,
    shipped,
    spec_hash,
    to_yaml,
)
from nas_ray.spec._retrain import Losses, Retrain, RetrainSearch, RetrainText
from nas_ray.spec._search import Scheduler, Search, Searcher
from nas_ray.spec._space import PathSpaceSpec, UniformSpaceSpec
from nas_ray.spec._supernet import Shrink, Supernet
from nas_ray.spec._tables import Latency, Tabulate
from nas_ray.spec._task import Fields, Form, Hub, Kind, Metric, Part, Predictions, TaskSpec
from nas_ray.spec._text import Corpus, Splits, Text, TextSource
from nas_ray.spec._trial import Cluster, Tracking, TrialSpec

__all__ = [
    "Adapt",
    "Agora",
    "Augment",
    "Cluster",
    "Corpus",
    "Distill",
    "Extraction",
    "Fields",
    "Finetune",
    "FinetuneSearch",
    "Form",
    "Hub",
    "Kind",
    "Latency",
    "Losses",
    "Metric",
    "Part",
    "PathSpaceSpec",
    "Predictions",
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
    "TaskSpec",
    "Text",
    "TextSource",
    "Tracking",
    "TrialSpec",
    "UniformSpaceSpec",
    "edit",
    "find",
    "is_space",
    "is_task",
    "load_space",
    "load_space_spec",
    "load_task_spec",
    "load_task_specs",
    "load_trial",
    "parse",
    "read_settings",
    "shipped",
    "spec_hash",
    "to_yaml",
]
