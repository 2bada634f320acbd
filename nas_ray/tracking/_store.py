"""Makes the runs of MLflow what the events say; knows what MLflow has, so that nothing is written twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nas_ray._secrets import redacted
from nas_ray.tracking._events import KILLED, RUNNING, SUMMARY, Change, Event, Front, Point, next_state
from nas_ray.tracking._uri import DATABASES, scheme

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000
_LONGEST_NAME = 500  # of a data set
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens the list of runs
_FINAL = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST")


class Warn(Protocol):
    """Tells the user something, once for each ``topic``."""

    def __call__(self, topic: str, message: str) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where the runs go."""

    uri: str
    experiment: str
    run_id: str
    folder_id: str
    artifact_dir: Path


@dataclass
class _Known:
    """What MLflow has of one run."""

    mlflow_id: str
    state: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, tuple[int, float]] = field(default_factory=dict)  # latest step and value

    @property
    def size(self) -> int:
        """How much MLflow has of it."""
        return len(self.tags) + len(self.params) + len(self.metrics)

    def take(self, points: Iterable[Point]) -> list[Point]:
        """Those that MLflow lacks; they count as known from now on."""
        new = []
        for point in points:
            step, value = self.metrics.get(point.key, (-1, 0.0))
            if point.step > step or (point.step == step and point.value != value):
                self.metrics[point.key] = (point.step, point.value)
                new.append(point)
        return new


class RunStore:
    """The MLflow runs of one nas_ray run. After an error, make a new one: what was written is unknown."""

    def __init__(self, client: MlflowClient, place: Place, warn: Warn) -> None:
        self._client = client
        self._warn = warn
        self._own = {"nas_ray.run": plain(place.run_id), "nas_ray.folder": place.folder_id}
        self._experiment = self._open_experiment(place)
        self._runs = self._find_runs()

    def _open_experiment(self, place: Place) -> str:
        found = self._client.get_experiment_by_name(place.experiment)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        where = place.artifact_dir.absolute().as_uri() if scheme(place.uri) in DATABASES else None
        return str(self._client.create_experiment(place.experiment, where, _EXPERIMENT_TAGS))

    def _find_runs(self) -> dict[str, _Known]:
        """The runs that an earlier process left, by candidate id; of two with one id the fuller one stays.

        There are two where a request to make one timed out and was served later all the same.
        """
        query, token, found = " and ".join(f"tags.`{k}` = '{v}'" for k, v in self._own.items()), None, list[_Known]()
        while True:
            page = self._client.search_runs(
                [self._experiment],
                query,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += [_known(run) for run in page]
            token = page.token
            if not token:
                break
        kept: dict[str, _Known] = {}
        for known in sorted(found, key=lambda known: known.size, reverse=True):
            if kept.setdefault(known.tags.get("nas_ray.candidate_id", SUMMARY), known) is not known:
                self._client.delete_run(known.mlflow_id)
        return kept

    def apply(self, events: Sequence[Event]) -> None:
        """Write ``events`` in order, all changes of a run in one request."""
        pending: dict[str, Change] = {}
        for event in events:
            if isinstance(event, Change):
                before = pending.get(event.run)
                pending[event.run] = before.then(event) if before else event
                continue
            self._write_all(pending)
            pending = {}
            self._write_all(self._front(event) if isinstance(event, Front) else self._interrupted(event.time_ms))
        self._write_all(pending)

    def _front(self, front: Front) -> dict[str, Change]:
        members = set(front.candidate_ids)
        return {
            run: Change(run, 0, tags={"pareto": "true" if run in members else "false"})
            for run in self._runs
            if run != SUMMARY
        }

    def _interrupted(self, time_ms: int) -> dict[str, Change]:
        tags = {"nas_ray.status": "interrupted"}
        running = [run for run, known in self._runs.items() if known.state == RUNNING]
        return {run: Change(run, time_ms, state=KILLED, tags=tags) for run in running}

    def _write_all(self, changes: dict[str, Change]) -> None:
        from mlflow.exceptions import MlflowException

        for change in changes.values():
            try:
                self._write(change)
            except MlflowException as error:
                if error.error_code not in _FINAL:
                    raise
                self._warn(f"refused {change.run}", f"MLflow refused a record of '{change.run}': {one_line(error)}")

    def _write(self, change: Change) -> None:
        known = self._runs.get(change.run) or self._create(change)
        tags = {**change.tags, **self._upload_documents(known, change.documents)}
        self._log(known, replace(change, tags=tags))
        for artifact in change.artifacts:
            self._upload(known, Path(artifact))
        if change.inputs:
            self._log_inputs(known, change.inputs)
        state = next_state(known.state, change.state)
        if state != known.state:
            self._end(known, state, change.time_ms)

    def _create(self, change: Change) -> _Known:
        kind = {"nas_ray.kind": SUMMARY} if change.run == SUMMARY else _candidate_tags(change.run)
        tags = {**self._own, **kind, **change.tags}
        run = self._client.create_run(
            self._experiment, start_time=change.time_ms or None, tags=tags, run_name=change.name or change.run
        )
        self._runs[change.run] = known = _Known(run.info.run_id, RUNNING, tags)
        return known

    def _log(self, known: _Known, change: Change) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(p.key, p.value, p.time_ms, p.step) for p in known.take(change.points)]
        params = {key: value for key, value in change.params.items() if key not in known.params}
        tags = {key: value for key, value in change.tags.items() if known.tags.get(key) != value}
        if metrics or params or tags:
            self._client.log_batch(
                known.mlflow_id,
                metrics,
                [Param(key, value) for key, value in params.items()],
                [RunTag(key, value) for key, value in tags.items()],
                synchronous=True,
            )
        known.params.update(params)
        known.tags.update(tags)

    def _upload(self, known: _Known, path: Path) -> None:
        if path.is_dir():
            self._stored(known, lambda: self._client.log_artifacts(known.mlflow_id, str(path), path.name))
        elif path.exists():
            self._stored(known, lambda: self._client.log_artifact(known.mlflow_id, str(path)))
        else:
            self._warn(f"missing {path}", f"'{path}' is missing and was not kept in MLflow.")

    def _upload_documents(self, known: _Known, documents: Mapping[str, str]) -> dict[str, str]:
        """Upload those that MLflow lacks; tags that tell the next process which it has."""
        tags = {}
        for name, text in documents.items():
            tag, digest = f"nas_ray.sha256.{name}", hashlib.sha256(text.encode()).hexdigest()[:16]
            write = partial(self._client.log_text, known.mlflow_id, text, name)
            if known.tags.get(tag) != digest and self._stored(known, write):
                tags[tag] = digest
        return tags

    def _stored(self, known: _Known, write: Callable[[], object]) -> bool:
        """Whether ``write`` went well; an artifact store that fails stops no record where the server answers."""
        try:
            write()
        except Exception as error:  # whatever the artifact store raises
            self._client.get_run(known.mlflow_id)  # raises where it is the server that is away
            self._warn("artifacts", f"MLflow's artifact store failed, files are missing there: {one_line(error)}")
            return False
        return True

    def _log_inputs(self, known: _Known, inputs: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        context = [InputTag("mlflow.data.context", "search")]
        sets = [
            DatasetInput(Dataset(name[:_LONGEST_NAME], digest, "local", name), context)
            for name, digest in inputs.items()
        ]
        self._client.log_inputs(known.mlflow_id, sets)

    def _end(self, known: _Known, state: str, time_ms: int) -> None:
        if state == RUNNING:
            self._client.update_run(known.mlflow_id, status=RUNNING)
        else:
            self._client.set_terminated(known.mlflow_id, status=state, end_time=time_ms or None)
        known.state = state


def _candidate_tags(candidate_id: str) -> dict[str, str]:
    return {"nas_ray.kind": "candidate", "nas_ray.candidate_id": candidate_id, "pareto": "false"}


def _known(run: Run) -> _Known:
    metrics = {metric.key: (metric.step, metric.value) for metric in run.data._metric_objs}
    return _Known(run.info.run_id, run.info.status, dict(run.data.tags), dict(run.data.params), metrics)


def plain(text: str) -> str:
    """``text`` as it can stand in a filter of MLflow, which knows no escapes."""
    return text.replace("'", "_").replace('"', "_").replace("`", "_")


def one_line(error: BaseException) -> str:
    """The start of a message that may be long, without passwords."""
    text = redacted(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
