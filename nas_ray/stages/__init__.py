"""The pipeline, read top to bottom: profile, supernet, tabulate, search, test, rank, report."""

from nas_ray.stages._checks import check_latency, check_run
from nas_ray.stages._context import Console, Context, Silent
from nas_ray.stages._pipeline import STAGES, execute, execute_one, remember, resume_command
from nas_ray.stages._plan import Plan, plan
from nas_ray.stages._run import Run
from nas_ray.stages._sync import synchronise
from nas_ray.stages._trial import load_run_specs, tracking_uri

__all__ = [
    "STAGES",
    "Console",
    "Context",
    "Plan",
    "Run",
    "Silent",
    "check_latency",
    "check_run",
    "execute",
    "execute_one",
    "load_run_specs",
    "plan",
    "remember",
    "resume_command",
    "synchronise",
    "tracking_uri",
]
