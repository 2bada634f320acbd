"""What must be right of a cluster before anything long starts: its token, and storage that every node sees."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas_ray.errors import ClusterError

_PING = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_TIMEOUT_S = 5.0
_NODE_TIMEOUT_S = 120.0  # a worker process starts first


def asks_for_token(address: str) -> bool | None:
    """Whether the cluster at ``HOST:PORT`` asks for a token; None where that cannot be told.

    Ray itself only says that it failed to connect, after a while.

    Raises:
        ClusterError: it asks for one, and this process has none, another one, or is told not to send it.
    """
    answer = _ping(address, None)
    if answer is not grpc.StatusCode.UNAUTHENTICATED:
        return False if answer is grpc.StatusCode.OK else None
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        raise ClusterError(
            f"the Ray cluster at {address} asks for a token, and RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']} says not "
            "to send one; set RAY_AUTH_MODE=token."
        )
    token, place = _token()
    if not token:
        raise ClusterError(
            f"the Ray cluster at {address} asks for a token, and there is none here; put the cluster's into "
            "~/.ray/auth_token, or into RAY_AUTH_TOKEN."
        )
    if _ping(address, token) is grpc.StatusCode.UNAUTHENTICATED:
        raise ClusterError(
            f"the Ray cluster at {address} refuses the token of {place}; copy the cluster's own, "
            "`ray get-auth-token` prints it there."
        )
    return True


def _ping(address: str, token: str | None) -> grpc.StatusCode:
    """How the cluster answers an empty request."""
    headers = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_PING)(b"", timeout=_TIMEOUT_S, metadata=headers)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def _token() -> tuple[str, str]:
    """The token that Ray would send, and where it is from; as Ray looks for it."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token, "RAY_AUTH_TOKEN"
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip(), str(path)
    return "", ""


def check_storage(folder: Path) -> None:
    """Let every node read and write in ``folder``, which all of them must see under this path.

    Nodes that join later are not asked.

    Raises:
        ClusterError: names the nodes that do not see it, and why.
    """
    token = secrets.token_hex(16)
    file = folder / f".seen-{token[:8]}"
    nodes: list[Any] = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    try:
        file.write_text(token, encoding="utf-8")
        wrong = _ask(nodes, str(file), token)
    except OSError as error:
        raise ClusterError(f"{folder}: cannot be written: {error.strerror}. Choose another --storage.") from error
    finally:
        file.unlink(missing_ok=True)
    if wrong:
        found = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
        raise ClusterError(
            f"{folder} is not the same folder on every node ({found}). Choose a --storage that all nodes mount under "
            "one path, or take these nodes out of the cluster."
        )


def _ask(nodes: list[Any], file: str, token: str) -> dict[str, str]:
    """What is wrong, by the node's name."""

    @ray.remote(num_cpus=0, max_retries=0)
    def look(node: str) -> str:  # pickled whole: what a node lacks must not be needed to find it out
        try:
            with open(file, encoding="utf-8") as text:
                if text.read() != token:
                    return "it has another file under this name"
            own = f"{file}.{node}"
            with open(own, "x", encoding="utf-8"):
                pass
            os.unlink(own)
        except OSError as error:
            return f"{error.strerror}: {error.filename}"
        return ""

    asked = {
        node["NodeID"]: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(node["NodeID"])
        for node in nodes
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=_NODE_TIMEOUT_S)
    wrong = {}
    for node in nodes:
        try:
            reason: str = ray.get(asked[node["NodeID"]], timeout=0)
        except ray.exceptions.GetTimeoutError:
            reason = f"it did not answer in {_NODE_TIMEOUT_S:.0f} s"
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:200]
        if reason:
            wrong[_name(node)] = reason
    return wrong


def _name(node: Any) -> str:
    host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return f"node {host}" if host == address else f"node {host} ({address})"
