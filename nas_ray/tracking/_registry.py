"""Exports in MLflow's model registry, each version with its candidate's run as the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nas_ray._secrets import redacted
from nas_ray.errors import TrackingError
from nas_ray.tracking._quiet import client_class
from nas_ray.tracking._store import one_line, plain
from nas_ray.tracking._uri import check_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DIGEST = "nas_ray.digest"
_T = TypeVar("_T")


@dataclass(frozen=True)
class SourceRun:
    """The MLflow run that a registered version comes from."""

    uri: str
    mlflow_id: str
    artifact_uri: str


def find_source_run(uri: str, runs: Sequence[str], candidate_id: str) -> SourceRun:
    """The MLflow run of candidate ``candidate_id`` in the first of ``runs`` (a retraining, a search) that has it.

    Raises:
        TrackingError: the store cannot be used, or has no such run.
    """
    check_uri(uri)
    client = client_class()(tracking_uri=uri, registry_uri=uri)
    found = _asked(uri, lambda: _find(client, runs, candidate_id))
    if found is None:
        raise TrackingError(
            f"MLflow at {redacted(uri)} has no run of candidate {candidate_id} of {' or '.join(runs)}; send it with "
            "`nas-ray sync`, or name another --tracking-uri."
        )
    return SourceRun(uri, *found)


def register_export(source: SourceRun, name: str, folder: Path, digest: str, tags: Mapping[str, str]) -> str:
    """The version of the registered model ``name`` that holds the files in ``folder``, made where there is none yet.

    ``digest`` says what the files are: the same of the same run is not registered twice.

    Raises:
        TrackingError: the store or its artifacts cannot be used.
    """
    client = client_class()(tracking_uri=source.uri, registry_uri=source.uri)
    return _asked(source.uri, lambda: _register(client, source, name, folder, {**tags, _DIGEST: digest}))


def _find(client: MlflowClient, runs: Sequence[str], candidate_id: str) -> tuple[str, str] | None:
    experiments = [entry.experiment_id for entry in client.search_experiments()]
    for run in runs:
        query = f"tags.`nas_ray.run` = '{plain(run)}' and tags.`nas_ray.candidate_id` = '{plain(candidate_id)}'"
        found = client.search_runs(experiments, query, max_results=1, order_by=["attributes.start_time DESC"])
        if found:
            return _place(found[0])
    return None


def _place(found: Run) -> tuple[str, str]:
    return str(found.info.run_id), str(found.info.artifact_uri)


def _register(client: MlflowClient, source: SourceRun, name: str, folder: Path, tags: dict[str, str]) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
    for version in client.search_model_versions(f"run_id = '{source.mlflow_id}'"):
        if version.name == name and version.tags.get(_DIGEST) == tags[_DIGEST]:
            return str(version.version)
    place = f"exports/{tags[_DIGEST][:12]}"
    client.log_artifacts(source.mlflow_id, str(folder), place)
    made = client.create_model_version(name, f"{source.artifact_uri}/{place}", source.mlflow_id, tags=tags)
    return str(made.version)


def _asked(uri: str, question: Callable[[], _T]) -> _T:
    try:
        return question()
    except Exception as error:  # whatever MLflow, its database or its artifact store raise
        raise TrackingError(f"MLflow at {redacted(uri)} cannot be used: {one_line(error)}") from error
