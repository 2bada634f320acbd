"""MLflow behind a file and a thread: a call costs a line on disk, the thread writes when MLflow answers."""

from __future__ import annotations

import logging
import math
import re
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nas_ray._files import write_text
from nas_ray._secrets import redacted
from nas_ray.tracking._base import CandidateRecord
from nas_ray.tracking._events import (
    FINISHED,
    RUNNING,
    SUMMARY,
    Change,
    Event,
    Front,
    Point,
    Stop,
    end_state,
    points,
    texts,
)
from nas_ray.tracking._quiet import client_class
from nas_ray.tracking._spool import Spool, events
from nas_ray.tracking._store import Place, RunStore, one_line
from nas_ray.tracking._uri import check_uri

_LOGGER = logging.getLogger(__name__)
_LONGEST_WAIT = 30.0
_HURRIED_WAIT = 0.25
_PATIENCE = 3  # failures in a row after which ``flush`` gives up


class MlflowTracker:
    """One MLflow run for each candidate and reference, and one for the summary, all flat.

    Records wait in ``spool`` (a file in the run folder) until MLflow has them: an unreachable server gives
    one warning, and the next tracker of the same run delivers what a killed process left there. The thread writes
    at most once in ``batch_seconds``, so that a candidate costs few requests. Making the schema of a new
    sqlite file takes seconds of a core in the thread; ``flush`` before anything is timed. ``resend`` is the command
    that sends what did not arrive.

    Raises:
        TrackingError: the URI can never work, or mlflow is not installed.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        run_id: str,
        artifact_dir: Path,
        spool: Path,
        *,
        on_warning: Callable[[str], None] = _LOGGER.warning,
        retry_seconds: float = 1.0,
        batch_seconds: float = 1.0,
        resend: str | None = None,
    ) -> None:
        check_uri(uri)
        self._client_class = client_class()  # here, not in the thread: imports of two threads can deadlock
        self._place = Place(uri, experiment, run_id, folder_id(spool.with_suffix(".id")), artifact_dir)
        self._on_warning = on_warning
        self._resend = resend or f"nas-ray sync {shlex.quote(str(spool.parent))}"
        self._retry_seconds, self._batch_seconds = retry_seconds, batch_seconds
        self._warned: set[str] = set()
        self._spool = Spool(spool)
        self._changed = threading.Condition()
        self._hurried = 0  # callers that wait in ``flush``
        self._closed = self._stopped = False
        self._outage = ""
        self._failures = self._failures_ever = 0
        self._wrote = -math.inf  # when the thread last began to write
        self._store: RunStore | None = None
        self._tell(Change(SUMMARY, _now(), name=run_name, state=RUNNING))
        self._thread = threading.Thread(target=self._deliver, name="nas-ray-mlflow", daemon=True)
        self._thread.start()

    def candidate_started(self, record: CandidateRecord) -> None:
        tags = {
            "nas_ray.kind": record.kind,
            "nas_ray.candidate_id": record.candidate_id,
            "nas_ray.arch_id": record.arch_id,
            "nas_ray.origin": record.origin,
        }
        name = record.label or record.candidate_id
        change = Change(record.candidate_id, _now(), name, RUNNING, texts(tags), texts(record.params))
        self._tell(change)

    def candidate_rung(self, candidate_id: str, budget: int, loss: float, metric: str = "loss") -> None:
        now = _now()
        found = [Point(p.key, p.value, budget, now) for p in points({metric: loss}, now)]
        self._tell(Change(candidate_id, now, points=tuple(found)))

    def candidate_ended(
        self,
        candidate_id: str,
        status: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, str] = {},
        documents: Mapping[str, str] = {},
    ) -> None:
        now, state = _now(), end_state(status)
        written = texts({"nas_ray.status": status, **{f"nas_ray.{name}": value for name, value in tags.items()}})
        found = points(metrics, now)
        self._tell(Change(candidate_id, now, state=state, tags=written, points=found, documents=dict(documents)))

    def mark_pareto(self, candidate_ids: Iterable[str]) -> None:
        self._tell(Front(tuple(candidate_ids)))

    def summary(
        self,
        params: Mapping[str, str | int | float],
        metrics: Mapping[str, float | None],
        artifacts: Sequence[Path] = (),
        inputs: Mapping[str, str] = {},
    ) -> None:
        now = _now()
        files = tuple(str(path.absolute()) for path in artifacts)
        tags, found = {"nas_ray.status": "completed"}, points(metrics, now)
        self._tell(Change(SUMMARY, now, "", FINISHED, tags, texts(params), found, files, inputs=dict(inputs)))

    def flush(self, timeout: float = 30.0) -> bool:
        with self._changed:
            if not self._stopped:
                self._failures = 0
            self._hurried += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._spool.empty or self._stopped or self._failures >= _PATIENCE, timeout)
            self._hurried -= 1
            return self._spool.empty

    @property
    def outage(self) -> str:
        """Why the last attempt to write failed; empty if it did not."""
        return self._outage

    @property
    def num_waiting(self) -> int:
        """Records that MLflow does not have yet."""
        with self._changed:
            return self._spool.num_waiting

    def close(self, timeout: float = 30.0) -> bool:
        if self._closed:
            return self._spool.empty
        self._tell(Stop(_now()))
        self._closed = True
        done = self.flush(timeout)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(1.0)  # a request under way ends by itself
        if not done:
            self._warn(
                "close",
                f"some records did not reach MLflow; they are kept in {self._spool.path}. Send them with: "
                f"{self._resend}",
            )
        return done

    def _tell(self, event: Event) -> None:
        with self._changed:
            if self._closed:
                return
            try:
                self._spool.append(event)
            except OSError as error:
                self._warn(
                    "spool",
                    f"a record for MLflow was lost: {self._spool.path}: {error.strerror}. `nas-ray sync` restores it "
                    "from the journal.",
                )
            self._changed.notify_all()

    def _deliver(self) -> None:
        """The thread: write what is there; where that fails, wait longer each time."""
        wait = self._retry_seconds
        while self._await_work():
            try:
                self._write_some()
                wait = self._retry_seconds
            except Exception as error:  # whatever MLflow or its database raise: the search goes on
                self._failed(error)
                self._pause(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _await_work(self) -> bool:
        """Whether there is something to write, gathered for a while unless somebody waits; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._spool.empty)
            left = self._wrote + self._batch_seconds - time.monotonic()  # none where writing itself takes as long
            self._changed.wait_for(lambda: self._stopped or self._hurried > 0, max(0.0, left))
            self._wrote = time.monotonic()
            return not self._stopped

    def _write_some(self) -> None:
        with self._changed:
            lines, position = self._spool.read()
        found = events(lines)
        if self._failures_ever and any(isinstance(event, Stop) for event in found):
            self._store = None  # look again: a server may have done late what it seemed not to have done
        if self._store is None:
            self._store = RunStore(self._client_class(tracking_uri=self._place.uri), self._place, self._warn)
        self._store.apply(found)
        with self._changed:
            self._spool.drop(position)
            self._failures, self._outage = 0, ""
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self._store = None
            self._failures += 1
            self._failures_ever += 1
            self._outage = f"MLflow at {redacted(self._place.uri)} cannot be used now ({one_line(error)}{_hint(error)})"
            self._changed.notify_all()
        self._warn(
            "unreachable",
            f"{self._outage}; the search goes on, records are kept in {self._spool.path} and sent as soon as it "
            "answers.",
        )

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._stopped and (left := deadline - time.monotonic()) > 0:
                if self._hurried:
                    self._changed.wait(min(left, _HURRIED_WAIT))
                    return
                self._changed.wait(left)

    def _warn(self, topic: str, message: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            self._on_warning(message)


def folder_id(file: Path) -> str:
    """The id of a run folder, made once: runs of one spec in two folders are two searches on a shared server."""
    with suppress(OSError):
        if not file.is_file():
            write_text(file, uuid.uuid4().hex)
        return file.read_text(encoding="utf-8").strip()
    return uuid.uuid4().hex  # no disk: nothing of this run can be continued anyway


def _hint(error: Exception) -> str:
    """What to do about a server that refuses who asks."""
    if re.search(r"\b(401|403)\b", str(error)):
        return "; it asks for MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return ""


def _now() -> int:
    return int(time.time() * 1000)
