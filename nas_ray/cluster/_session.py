"""Connecting to Ray: a cluster of one's own on this machine, or one that runs already."""

from __future__ import annotations

import os
import socket

# Read when ray is imported: quiet, no usage statistics, Ctrl-C reaches the driver.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():
    os.environ.setdefault(_name, _value)

import logging  # noqa: E402

import ray  # noqa: E402

from nas_ray.errors import ClusterError  # noqa: E402

_TIMEOUT_S = 3.0


def connect(address: str | None) -> bool:
    """Start Ray on this machine (``address`` None), or join the cluster at ``auto`` or ``HOST:PORT``.

    Returns whether this call connected: a session that the caller's process had already is used as it is.

    Raises:
        ClusterError: no cluster answers there, or it refuses the token.
    """
    if ray.is_initialized():
        return False
    if address not in (None, "auto"):
        _probe(str(address))
    try:
        ray.init(
            address=address or "local",  # without it Ray joins whatever cluster was last started on this machine
            namespace="nas_ray",
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False if address is None else None,
        )
    except Exception as error:  # Ray raises many kinds: ConnectionError, ValueError, RuntimeError, its own
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(
            f"no Ray cluster can be joined at '{address or 'this machine'}': {reason} Check the address, that the "
            "cluster runs, and that RAY_AUTH_MODE and the token are the cluster's."
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    return True


def disconnect() -> None:
    """Leave the cluster; one's own is stopped."""
    ray.shutdown()


def num_cpus() -> int:
    """CPUs of the whole cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def gpu_share(workers: int) -> float:
    """The part of a GPU that each of ``workers`` can have at once: 1, or an equal part of a shared one.

    Raises:
        ClusterError: the cluster has no GPU.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if not gpus:
        raise ClusterError("supernet.device is cuda, the Ray cluster has no GPU; add one, or set supernet.device=cpu.")
    return 1.0 / -(-workers // gpus)


def cpus_of_a_node() -> int:
    """CPUs of the smallest node that has any, at least 1."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    found = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    return max(1, min((count for count in found if count), default=1))


def _probe(address: str) -> None:
    """A clear answer in seconds where nothing listens; Ray itself tries for much longer."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError(f"address '{address}'; accepted: auto, or HOST:PORT of a running Ray head.")
    try:
        socket.create_connection((host, int(port)), timeout=_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one with `ray start --head`, or "
            "leave --address out to use this machine."
        ) from error
