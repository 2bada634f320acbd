"""What is refused before training starts: storage that a node does not see, and a token that is not the cluster's."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_ray.errors import ClusterError
from tests.tiny_trial import nas_ray_process, write_trial

TOKEN = secrets.token_hex(32)


@pytest.fixture
def one_node() -> Iterator[None]:
    import nas_ray.cluster  # noqa: F401, I001  (sets Ray's environment first)
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("one_node")
def test_storage_that_a_node_does_not_see_is_refused_by_its_name(tmp_path: Path) -> None:
    from nas_ray.cluster import check_storage

    check_storage(tmp_path)
    handle = os.open(tmp_path, os.O_RDONLY)
    high = os.dup2(handle, 777)
    try:
        with pytest.raises(ClusterError, match=f"node {socket.gethostname()}.*No such file") as error:
            check_storage(Path(f"/proc/self/fd/{high}"))  # in each process another folder, or none
    finally:
        os.close(handle)
        os.close(high)
    assert "--storage" in str(error.value)
    with pytest.raises(ClusterError, match="cannot be written"):
        check_storage(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A cluster of two nodes, and a folder over which the second one has an empty one; its address."""
    import nas_ray.cluster  # noqa: F401, I001
    from ray.cluster_utils import Cluster

    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this user cannot make mount namespaces")
    storage = tmp_path / "storage"
    storage.mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray_command = Path(sys.executable).parent / "ray"
    join = f"{ray_command} start --address={cluster.address} --num-cpus=1 --disable-usage-stats --block"
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {storage} && exec {join}"],
        env={**os.environ, "RAY_worker_niceness": "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield cluster.address, storage
    finally:
        process.terminate()
        process.wait(60)
        cluster.shutdown()


def test_of_two_nodes_the_one_that_sees_another_folder_is_named(blind: tuple[str, Path]) -> None:
    import ray

    from nas_ray.cluster import check_storage, connect, disconnect

    address, storage = blind
    assert connect(address, lambda _: None)
    try:
        deadline = time.monotonic() + 120
        while sum(node["Alive"] for node in ray.nodes()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        check_storage(storage.parent)
        with pytest.raises(ClusterError) as error:
            check_storage(storage)
    finally:
        disconnect()
    assert str(error.value).count(f"node {socket.gethostname()}") == 1
    assert "No such file or directory" in str(error.value)
    assert list(storage.iterdir()) == []


def start_gcs(env: dict[str, str]) -> Iterator[str]:
    """A head node without CPUs; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--node-ip-address=127.0.0.1", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats"],
        env={**clean, "RAY_worker_niceness": "0", **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def closed() -> Iterator[str]:
    """A cluster that asks for ``TOKEN``."""
    yield from start_gcs({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN})


@pytest.fixture(scope="module")
def open_cluster() -> Iterator[str]:
    """A cluster that asks for nothing."""
    yield from start_gcs({"RAY_AUTH_MODE": "disabled"})


@pytest.mark.parametrize(
    ("env", "says"),
    [
        pytest.param({}, "there is none here", marks=pytest.mark.proof, id="none"),
        pytest.param({"RAY_AUTH_TOKEN": "0" * 64}, "refuses the token of RAY_AUTH_TOKEN", id="wrong"),
        pytest.param(
            {"RAY_AUTH_TOKEN": TOKEN, "RAY_AUTH_MODE": "disabled"},
            "RAY_AUTH_MODE=disabled says not to send",
            marks=pytest.mark.proof,
            id="not sent",
        ),
    ],
)
def test_a_token_that_is_not_the_clusters_is_one_clear_line(
    closed: str, env: dict[str, str], says: str, tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    trial = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file, cluster={"executor": "ray"})
    found = nas_ray_process("search", trial, "--storage", tmp_path, "--address", closed, HOME=str(tmp_path), **env)
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"error: the Ray cluster at {closed}")
    assert says in line
    assert TOKEN not in line


def test_the_clusters_token_is_accepted(closed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from nas_ray.cluster._checks import asks_for_token

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert asks_for_token(closed) is True


def test_a_cluster_without_a_token_is_told_of(open_cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
from nas_ray.cluster import connect, disconnect
connect("{open_cluster}", lambda text: print("heard:", text))
disconnect()
"""
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"heard: the Ray cluster at {open_cluster} has no token authentication" in done.stdout


def test_nothing_is_told_where_no_cluster_answers() -> None:
    from nas_ray.cluster._checks import asks_for_token

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asks_for_token(f"127.0.0.1:{silent.getsockname()[1]}") is None
