"""A migrated database to copy, a tracker at the same place each time, and a server that can be killed."""

from __future__ import annotations

import http.client
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nas_ray.tracking import MlflowTracker, ui_environment


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its schema; making one takes seconds."""
    folder = tmp_path_factory.mktemp("template")
    tracker = MlflowTracker(
        f"sqlite:///{folder}/mlflow.db", "template", "t", "t-0", folder / "art", folder / "spool.jsonl"
    )
    assert tracker.close(120)
    return folder / "mlflow.db"


@pytest.fixture
def uri(template: Path, tmp_path: Path) -> str:
    shutil.copy(template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def open_tracker(tmp_path: Path, warned: list[str]) -> Iterator[Callable[[str], MlflowTracker]]:
    opened: list[MlflowTracker] = []

    def start(uri: str) -> MlflowTracker:
        run = tmp_path / "run"
        opened.append(
            MlflowTracker(
                uri,
                "quickstart",
                "quickstart",
                "quickstart-1a2b3c4d",
                tmp_path / "mlartifacts",
                run / "tracking.jsonl",
                on_warning=warned.append,
                retry_seconds=0.2,
            )
        )
        return opened[-1]

    yield start
    for tracker in opened:
        tracker.close(1)


class Server:
    """An ``mlflow server`` on 127.0.0.1 that can be killed and started again at the same address."""

    def __init__(self, database: Path, artifacts: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            f"sqlite:///{database}",
        ]
        self._command += ["--artifacts-destination", artifacts.as_uri(), "--host", "127.0.0.1"]
        self._command += ["--port", str(self.port), "--workers", "1"]
        self._log = database.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:

        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env={**os.environ, **ui_environment()},
                start_new_session=True,
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).read()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def freeze(self) -> None:
        """It accepts requests and answers none."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It answers again, also what was asked meanwhile."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:

        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(template: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(template, tmp_path / "server.db")
    made = Server(tmp_path / "server.db", tmp_path / "server-artifacts")
    yield made
    made.kill()


def open_door(port: int, lets_in: Callable[[http.server.BaseHTTPRequestHandler], bool]) -> http.server.HTTPServer:
    """A proxy before the MLflow server at ``port``; who is not let in gets 401. The caller serves it."""

    class Door(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not lets_in(self):
                self._answer(401, b"who are you?", "text/plain")
                return
            inside = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            kept = {k: v for k, v in self.headers.items() if k not in ("Host", "Authorization", "Accept-Encoding")}
            inside.request(self.command, self.path, body, kept)
            answer = inside.getresponse()
            self._answer(answer.status, answer.read(), answer.headers.get("Content-Type", "application/json"))
            inside.close()

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            with suppress(OSError):  # who asked may be gone
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
