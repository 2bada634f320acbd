"""Connecting to Ray: a cluster of one's own on this machine, or one that runs already."""

from __future__ import annotations

import os
import signal
import socket
import threading

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
from collections.abc import Callable  # noqa: E402

import ray  # noqa: E402

from nas_ray.cluster._checks import asks_for_token  # noqa: E402
from nas_ray.errors import ClusterError  # noqa: E402

_LOGGER = logging.getLogger(__name__)
_TIMEOUT_S = 3.0
LOOPBACK = "127.0.0.1"


def connect(address: str | None, warn: Callable[[str], None] = _LOGGER.warning) -> bool:
    """Start Ray on this machine (``address`` None), or join the cluster at ``auto`` or ``HOST:PORT``.

    Returns whether this call connected: a session that the caller's process had already is used as it is.
    ``warn`` hears of a cluster that lets in everybody.

    Raises:
        ClusterError: no cluster answers there, or it refuses the token.
    """
    if ray.is_initialized():
        return False
    if address is not None:
        where = _found() if address == "auto" else address.removeprefix("ray://")
        if address != "auto":
            _probe(where)
        if where and not address.startswith("ray://") and asks_for_token(where) is False:
            warn(
                f"the Ray cluster at {where} has no token authentication: whoever reaches its ports can run code on "
                "it. Start it with RAY_AUTH_MODE=token (the README says how), or keep its ports closed."
            )
    on_sigterm = signal.getsignal(signal.SIGTERM)
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
    if threading.current_thread() is threading.main_thread() and callable(on_sigterm):
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray took it for itself, and dies of it with a trace
    return True


def disconnect() -> None:
    """Leave the cluster; one's own is stopped."""
    ray.shutdown()


def num_cpus() -> int:
    """CPUs of the whole cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def num_gpus() -> int:
    """GPUs of the whole cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("GPU", 1)))  # type: ignore[no-untyped-call]


def gpu_share(workers: int) -> float:
    """The part of a GPU that each of ``workers`` can have at once: 1, or an equal part of a shared one.

    Raises:
        ClusterError: the cluster has no GPU.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if not gpus:
        raise ClusterError("the spec asks for device cuda, the Ray cluster has no GPU; add one, or set device cpu.")
    return 1.0 / -(-workers // gpus)


def cpus_of_a_node() -> int:
    """CPUs of the smallest node that has any, at least 1."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    found = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    return max(1, min((count for count in found if count), default=1))


def _found() -> str:
    """The address that Ray takes ``auto`` for; empty where it finds none, which it says itself."""
    try:
        from ray._private.services import canonicalize_bootstrap_address_or_die

        return str(canonicalize_bootstrap_address_or_die("auto"))
    except Exception:  # nothing is lost: joining says what is wrong
        return ""


def _probe(address: str) -> None:
    """A clear answer in seconds where nothing listens; Ray itself tries for much longer."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError(f"address '{address}'; accepted: auto, or HOST:PORT of a running Ray head.")
    try:
        socket.create_connection((host, int(port)), timeout=_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one with `ray start --head`, or "
            "leave --address out to use this machine."
        ) from error
