"""The command that opens the MLflow UI; the caller runs it with ``ui_environment``."""

from __future__ import annotations

import sys
from pathlib import Path

from nas_ray.tracking._quiet import QUIET
from nas_ray.tracking._uri import check_uri, scheme, sqlite_file

_PORT = 5000


def ui_command(uri: str, artifact_dir: Path | None = None, port: int = _PORT) -> list[str]:
    """Serve the UI of ``uri`` on 127.0.0.1; for a server that runs already, open it in the browser.

    Raises:
        TrackingError: the URI cannot be used.
    """
    check_uri(uri)
    found = scheme(uri)
    if found in ("http", "https"):
        return [sys.executable, "-m", "webbrowser", uri]
    if artifact_dir is None and found == "sqlite":
        artifact_dir = sqlite_file(uri).absolute().parent / "mlartifacts"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--artifacts-destination", artifact_dir.as_uri()] if artifact_dir else []
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def ui_environment() -> dict[str, str]:
    """What to add to the environment of ``ui_command``: no telemetry, no job runner."""
    return dict(QUIET)
