"""Every candidate a run in MLflow; survives an unreachable server. The only folder that imports mlflow."""

from nas_ray.tracking._base import CandidateRecord, RecordKind, Tracker, architecture_params
from nas_ray.tracking._mlflow import MlflowTracker
from nas_ray.tracking._null import NullTracker
from nas_ray.tracking._registry import SourceRun, find_source_run, register_export
from nas_ray.tracking._ui import ui_address, ui_command, ui_environment
from nas_ray.tracking._uri import check_uri, local_artifact_dir, local_uri
from nas_ray.tracking._view import compare_path, share_view

__all__ = [
    "CandidateRecord",
    "MlflowTracker",
    "NullTracker",
    "RecordKind",
    "SourceRun",
    "Tracker",
    "architecture_params",
    "check_uri",
    "compare_path",
    "find_source_run",
    "local_artifact_dir",
    "local_uri",
    "register_export",
    "share_view",
    "ui_address",
    "ui_command",
    "ui_environment",
]
