"""The pipeline, read top to bottom: profile, supernet, tabulate, search, test, rank, report."""

from nas_ray.stages._changes import change
from nas_ray.stages._checks import check_latency, check_room, check_run
from nas_ray.stages._console import Console, Silent
from nas_ray.stages._context import Context
from nas_ray.stages._enqueued import enqueue_overrides
from nas_ray.stages._order import COURSES, PATH_STAGES, UNIFORM_STAGES
from nas_ray.stages._pipeline import execute, execute_one, remember, remember_command, resume_command
from nas_ray.stages._plan import Plan, plan
from nas_ray.stages._run import Run
from nas_ray.stages._solve import evaluation_overrides, solve, verdict
from nas_ray.stages._sync import synchronise
from nas_ray.stages._trial import (
    absolute_teacher,
    adapt_spec,
    agora_spec,
    edit_run_specs,
    finetune_spec,
    load_run_specs,
    retrain_spec,
    retraining_part,
    tracked_as,
    tracking_uri,
)
from nas_ray.stages._whole import first_within

__all__ = [
    "COURSES",
    "PATH_STAGES",
    "UNIFORM_STAGES",
    "Console",
    "Context",
    "Plan",
    "Run",
    "Silent",
    "absolute_teacher",
    "adapt_spec",
    "agora_spec",
    "change",
    "check_latency",
    "check_room",
    "check_run",
    "edit_run_specs",
    "enqueue_overrides",
    "evaluation_overrides",
    "execute",
    "execute_one",
    "finetune_spec",
    "first_within",
    "load_run_specs",
    "plan",
    "remember",
    "remember_command",
    "resume_command",
    "retrain_spec",
    "retraining_part",
    "solve",
    "synchronise",
    "tracked_as",
    "tracking_uri",
    "verdict",
]
