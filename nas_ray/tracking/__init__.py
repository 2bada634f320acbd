"""Every candidate a run in MLflow; survives an unreachable server. The only folder that imports mlflow."""

from nas_ray.tracking._base import CandidateRecord, Kind, Tracker, architecture_params
from nas_ray.tracking._mlflow import MlflowTracker
from nas_ray.tracking._null import NullTracker
from nas_ray.tracking._ui import ui_command, ui_environment
from nas_ray.tracking._uri import check_uri, local_artifact_dir, local_uri

__all__ = [
    "CandidateRecord",
    "Kind",
    "MlflowTracker",
    "NullTracker",
    "Tracker",
    "architecture_params",
    "check_uri",
    "local_artifact_dir",
    "local_uri",
    "ui_command",
    "ui_environment",
]
