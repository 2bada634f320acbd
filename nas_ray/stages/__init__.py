"""The pipeline, read top to bottom: profile, supernet, tabulate, search, test, report."""

from nas_ray.stages._context import Console, Context, Silent
from nas_ray.stages._pipeline import STAGES, execute, remember, resume_command
from nas_ray.stages._plan import Plan, plan
from nas_ray.stages._run import Run

__all__ = [
    "STAGES",
    "Console",
    "Context",
    "Plan",
    "Run",
    "Silent",
    "execute",
    "plan",
    "remember",
    "resume_command",
]
