"""Tracking URIs: which can be used, and where the default one is."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from nas_ray._secrets import redacted
from nas_ray.errors import TrackingError

DATABASES = ("mssql", "mysql", "postgresql", "sqlite")
_SCHEMES = (*DATABASES, "databricks", "http", "https")
_MAGIC = b"SQLite format 3\0"


def local_uri(storage: Path) -> str:
    """The database that the runs below ``storage`` share.

    Raises:
        TrackingError: the path has a ``?``, which no sqlite URI can carry.
    """
    path = storage.resolve() / "mlflow.db"
    if "?" in str(path):
        raise TrackingError(f"'{path}' has a '?', which no sqlite URI can carry; choose another --storage.")
    return f"sqlite:///{path}"


def local_artifact_dir(storage: Path) -> Path:
    """The files that belong to ``local_uri(storage)``."""
    return storage.resolve() / "mlartifacts"


def scheme(uri: str) -> str:
    """``sqlite`` of ``sqlite:///x``, ``postgresql`` of ``postgresql+psycopg2://x``, empty for a path."""
    if uri == "databricks":
        return uri
    return uri.partition("://")[0].partition("+")[0] if "://" in uri else ""


def sqlite_file(uri: str) -> Path:
    """The file of a sqlite URI."""
    return Path(uri.partition("://")[2].removeprefix("/").partition("?")[0])


def check_uri(uri: str) -> None:
    """Refuse what cannot work, before a search starts.

    Raises:
        TrackingError: a file store, an unknown scheme, no host, or a sqlite file that cannot be one.
    """
    found = scheme(uri)
    accepted = "accepted: sqlite:////<folder>/mlflow.db, http(s)://<host>:<port>, postgresql://..., mysql://..."
    if found in ("", "file"):
        raise TrackingError(
            f"tracking.uri: '{redacted(uri)}' is MLflow's file store, which nas_ray does not use; {accepted}. "
            "Leave tracking.uri out to get a sqlite file in the storage folder."
        )
    plugins = {point.name for point in entry_points(group="mlflow.tracking_store")}
    if found not in _SCHEMES and found not in plugins:
        raise TrackingError(f"tracking.uri: unknown scheme '{found}' in '{redacted(uri)}'; {accepted}.")
    if found in ("http", "https") and not urlsplit(uri).hostname:
        raise TrackingError(f"tracking.uri: '{redacted(uri)}' names no host; {accepted}.")
    if found == "sqlite":
        _check_sqlite(uri, accepted)


def _check_sqlite(uri: str, accepted: str) -> None:
    path = sqlite_file(uri)
    if path == Path() or path.name == ":memory:":
        raise TrackingError(f"tracking.uri: '{redacted(uri)}' names no file, so nothing would be kept; {accepted}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise TrackingError(f"tracking.uri: '{path}' cannot be written ({error.strerror}); {accepted}.") from error
    if start and start != _MAGIC:
        raise TrackingError(f"tracking.uri: '{path}' is not a sqlite database; {accepted}.")
