"""A search as a job on a Ray cluster that asks for its token; who has none is refused."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.proof  # a head node with its dashboard, and a process for each job

BIN = Path(sys.executable).parent
START_S, STOP_S, JOB_S = 180.0, 40.0, 400.0


@dataclass(frozen=True)
class Cluster:
    """One head node; `env` holds what a client needs to be let in."""

    url: str
    env: dict[str, str]

    def submit(self, *entrypoint: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Submit and wait: the exit code is the job's. No shell reads the entrypoint on the other side."""
        return subprocess.run(
            [BIN / "ray", "job", "submit", "--log-style=record", "--address", self.url, "--", *entrypoint],
            env=self.env if env is None else env,
            capture_output=True,
            text=True,
            timeout=JOB_S,
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the head node did not come up:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # A short path: the sockets below it must fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    home = folder / "home"
    home.mkdir()
    gcs, dashboard, client, listen = _free_ports(4)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
    env |= {
        "HOME": str(home),  # no token file of the user's is found, and none is written
        "PATH": f"{BIN}{os.pathsep}{env['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # beside the other tests its workers would starve
    }
    log = folder / "start.log"
    with log.open("wb") as output:
        # --block: the command stays, parent of every process of the node; all share one process group.
        head = subprocess.Popen(
            [
                *(str(BIN / "ray"), "start", "--head", "--block", "--num-cpus=2"),
                *("--node-ip-address=127.0.0.1", f"--port={gcs}", f"--ray-client-server-port={client}"),
                *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
                *(f"--dashboard-agent-listen-port={listen}", "--object-store-memory=200000000"),
                f"--temp-dir={folder / 't'}",
            ],
            cwd=folder,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_open(dashboard, head, log)
        yield Cluster(f"http://127.0.0.1:{dashboard}", env)
    finally:
        _stop(head)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(head: subprocess.Popen[bytes]) -> None:
    """Let the node drain, then end what is left of its process group."""
    head.send_signal(signal.SIGTERM)
    try:
        head.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


def _report(job: subprocess.CompletedProcess[str]) -> str:
    return f"exit {job.returncode}\n{job.stdout}\n{job.stderr}"


def test_a_job_with_the_token_runs_on_the_cluster(cluster: Cluster) -> None:
    code = "import ray; ray.init(address='auto'); print('cpus:', ray.cluster_resources()['CPU'])"
    job = cluster.submit("python", "-c", code)
    assert job.returncode == 0, _report(job)
    assert "cpus: 2.0" in job.stdout


def test_a_failing_job_fails_the_command(cluster: Cluster) -> None:
    job = cluster.submit("python", "-c", "raise SystemExit(3)")
    assert job.returncode == 1, _report(job)
    assert "failed with exit code 3" in job.stdout + job.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RAY_AUTH_TOKEN": None}, "couldn't find an authentication token"),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "Invalid authentication token"),
        # The trap of Ray 2.60: without the mode a client does not send the token that it has.
        ({"RAY_AUTH_MODE": None}, "Missing authentication token"),
    ],
    ids=["none", "wrong", "not sent"],
)
def test_without_the_token_a_job_is_refused(
    cluster: Cluster, tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    merged: dict[str, str | None] = {**cluster.env, **changes}
    trace = tmp_path / "ran"
    job = cluster.submit("touch", str(trace), env={k: v for k, v in merged.items() if v is not None})
    assert job.returncode == 1, _report(job)
    assert message in job.stderr
    assert not trace.exists()


def test_a_search_runs_as_a_job(cluster: Cluster, tmp_path: Path) -> None:
    small = [word for key in ("search.num_candidates=3", "tabulate.max_paths=8") for word in ("--set", key)]
    job = cluster.submit("nas-ray", "search", "smoke", "--address", "auto", "--storage", str(tmp_path), *small)
    assert job.returncode == 0, _report(job)
    [front] = tmp_path.glob("smoke-*/front.parquet")
    assert pq.read_table(front).num_rows > 0
