"""Everything that knows Ray: the connection, block actors, Tune's searcher, scheduler and trainable."""

from nas_ray.cluster._session import connect, disconnect, num_cpus  # isort: skip  (sets Ray's environment first)
from nas_ray.cluster._blocks import RayBlocks
from nas_ray.cluster._checks import check_storage
from nas_ray.cluster._standalone import run_standalone
from nas_ray.cluster._teacher import RayOutputs, put, share_outputs, take
from nas_ray.cluster._tune import (
    CandidateTrial,
    SessionScheduler,
    SessionSearcher,
    document_errors,
    run_search,
)

__all__ = [
    "CandidateTrial",
    "RayBlocks",
    "RayOutputs",
    "SessionScheduler",
    "SessionSearcher",
    "check_storage",
    "connect",
    "disconnect",
    "document_errors",
    "num_cpus",
    "put",
    "run_search",
    "run_standalone",
    "share_outputs",
    "take",
]
