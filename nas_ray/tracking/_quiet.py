"""MLflow without banner, telemetry, job runner and migration log; the tracker retries in its place."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from nas_ray.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_BRIEF = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_LOGGERS = ("alembic", "mlflow", "urllib3.connectionpool")


def client_class() -> type[MlflowClient]:
    """``mlflow.MlflowClient``, imported quietly; a setting of the user's own environment stays.

    Raises:
        TrackingError: mlflow cannot be imported.
    """
    for name, value in {**QUIET, **_BRIEF}.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise TrackingError(
            f"mlflow cannot be imported ({error}); install it, or set tracking.enabled: false."
        ) from error
    for logger in _LOGGERS:
        logging.getLogger(logger).setLevel(logging.ERROR)
    return MlflowClient
