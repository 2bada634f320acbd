"""The command that opens the MLflow UI; the caller runs it with ``ui_environment``."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from nas_ray.tracking._quiet import QUIET
from nas_ray.tracking._uri import check_uri, scheme, sqlite_file

_PORT = 5000


def ui_command(uri: str, artifact_dir: Path | None = None, port: int = _PORT, path: str = "") -> list[str]:
    """Serve the UI of ``uri`` on 127.0.0.1; for a server that runs already, open ``path`` there in the browser.

    The URI is handed over by ``ui_environment``: arguments can be read by everybody on the machine.

    Raises:
        TrackingError: the URI cannot be used.
    """
    check_uri(uri)
    found = scheme(uri)
    if found in ("http", "https"):
        return [sys.executable, "-m", "webbrowser", ui_address(uri) + path]
    if artifact_dir is None and found == "sqlite":
        artifact_dir = sqlite_file(uri).absolute().parent / "mlartifacts"
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--artifacts-destination", artifact_dir.as_uri()] if artifact_dir else []
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def ui_address(uri: str, port: int = _PORT) -> str:
    """Where the UI of ``uri`` answers; the names of a server's users stay out of it."""
    if scheme(uri) not in ("http", "https"):
        return f"http://127.0.0.1:{port}"
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def ui_environment(uri: str = "") -> dict[str, str]:
    """What to add to the environment of ``ui_command``: the store, no telemetry, no job runner."""
    return {**QUIET, **({"MLFLOW_BACKEND_STORE_URI": uri} if uri else {})}
