"""Several processes that train the same weights, each on batches of its own: a group averages their gradients.

The first member (rank 0) is the authority. It opens a port, all join it, and its state goes to the others; from then on
equal gradients keep the members equal to the bit. Where a member is lost, the exchanges of the others raise
``ReplicaLostError``: at once if its process died, after ``TIMEOUT_S`` if its machine did. Each has left the group then,
and a new group is formed with a new port. The group knows neither blocks nor Ray.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor

TIMEOUT_S = 120.0
_BUCKET_BYTES = 2**25

State = tuple[Mapping[str, Tensor], Mapping[str, Any]]  # tensors by name, and what JSON can hold


class ReplicaLostError(Exception):
    """A member of the group is gone; this one has left it too."""


class ReplicaGroup:
    """One member's side of a group of ``size``; gloo on CPUs, NCCL on CUDA. A group of one never communicates."""

    def __init__(self, rank: int, size: int, device: str = "cpu", timeout: float = TIMEOUT_S) -> None:
        self.rank, self.size, self.device = rank, size, device
        self._timeout = timedelta(seconds=timeout)
        self._store: Any = None
        self._transport: Any = None
        self._shared = 0

    @property
    def whole(self) -> bool:
        """Whether this member is in a group of which it knows no loss."""
        return self.size == 1 or self._transport is not None

    # -- forming and leaving ---------------------------------------------------------------------------------------

    def open(self, host: str) -> int:
        """Rank 0: a meeting point for a new group, listening at ``host`` only; returns its port.

        Raises:
            OSError: this machine is not ``host``.
        """
        self.leave()
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        port: int = listener.getsockname()[1]
        self._store = self._meet(host, port, is_master=True, master_listen_fd=listener.detach())
        return port

    def join(self, host: str, port: int, own_host: str) -> None:
        """Meet the others at ``host:port``; this member is reached at ``own_host``."""
        if self.rank:
            self.leave()
        with self._exchange():
            if self.rank:
                self._store = self._meet(host, port)
            if self._store is None:
                raise RuntimeError("this process was restarted after it had opened the group")
            self._transport = self._connect(own_host)
        self._shared = 0

    def _meet(self, host: str, port: int, **options: Any) -> Any:
        return _distributed().TCPStore(host, port, timeout=self._timeout, wait_for_workers=False, **options)

    def _connect(self, own_host: str) -> Any:
        """The collectives themselves, without the process-wide default group: that cannot be formed twice."""
        if not self.device.startswith("cuda"):
            gloo = _distributed().ProcessGroupGloo
            options = gloo._Options()
            options._devices = [gloo.create_device(hostname=own_host)]
            options._timeout = self._timeout
            return gloo(self._store, self.rank, self.size, options)
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # else a lost member ends this process too
        nccl = _distributed().ProcessGroupNCCL
        options = nccl.Options()
        options._timeout = self._timeout
        return nccl(self._store, self.rank, self.size, options)

    def leave(self) -> None:
        """Close all connections, so that the others notice at once."""
        transport, self._transport, self._store = self._transport, None, None
        if transport is not None:
            transport.abort()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # gloo, NCCL and the store have no narrower kind in common
            self.leave()
            raise ReplicaLostError(f"replica {self.rank} of {self.size}: {error}") from error

    # -- exchanges -------------------------------------------------------------------------------------------------

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of ``tensors`` (one number format) by its mean over the members, who give equal shapes."""
        sent = []
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with self._exchange():
                sent.append((bucket, flat, self._transport.allreduce([flat])))
        for bucket, flat, work in sent:
            with self._exchange():
                work.wait()
            _unpack(flat.div_(self.size), bucket)

    def share(self, value: Any) -> Any:
        """Rank 0's ``value`` (JSON). The others wait while its process lives, however long it is at work."""
        self._shared += 1
        key, data = f"shared/{self._shared}", bytearray(json.dumps(value), "utf-8")
        with self._exchange():
            if self.rank == 0:
                self._store.set(key, str(len(data)))
            else:
                data = bytearray(self._wait_for(key))
        flat = torch.frombuffer(data, dtype=torch.uint8).to(self.device)
        self._broadcast(flat)
        return value if self.rank == 0 else json.loads(flat.cpu().numpy().tobytes())

    def _wait_for(self, key: str) -> int:
        while True:
            try:
                self._store.wait([key], self._timeout)
                return int(self._store.get(key))
            except _distributed().DistStoreError:  # only the time has passed: a lost connection is another error
                continue

    def _broadcast(self, flat: Tensor) -> None:
        with self._exchange():
            self._transport.broadcast(flat, 0).wait()

    def spread(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> State:
        """Rank 0's tensors and state; what the others give is not read."""
        named = [[name, str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in tensors.items()]
        told = self.share({"tensors": named, "state": dict(state)})
        if self.rank:
            tensors = {name: torch.empty(shape, dtype=getattr(torch, dtype)) for name, dtype, shape in told["tensors"]}
        for bucket in _buckets([_as_bytes(tensor) for tensor in tensors.values()]):
            flat = torch.cat([part.to(self.device) for part in bucket])
            self._broadcast(flat)
            if self.rank:
                _unpack(flat, bucket)
        return tensors, told["state"]


class Member(Protocol):
    """What trains in a group: it can tell all of its state, and take over another's."""

    group: ReplicaGroup
    ready: bool

    def snapshot(self) -> State:
        """The state of a member that is ``ready``."""

    def take(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from another's snapshot."""


def join_replicas(member: Member, host: str, port: int, own_host: str) -> bool:
    """Form the group of ``member`` at ``host:port``, all in rank 0's state; False if one was lost meanwhile."""
    group = member.group
    if group.rank == 0 and not member.ready:
        group.leave()
        return False
    try:
        group.join(host, port, own_host)
        tensors, state = group.spread(*(member.snapshot() if group.rank == 0 else ({}, {})))
    except ReplicaLostError:
        return False
    if group.rank:
        member.take(tensors, state)
    return True


def _distributed() -> Any:
    """Imported where there is a group; its names are not typed."""
    from torch import distributed

    return distributed


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive ``tensors`` of together at most the bucket's bytes; a larger one stands alone."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.nbytes > _BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


def _unpack(flat: Tensor, bucket: Sequence[Tensor]) -> None:
    for tensor, part in zip(bucket, flat.split_with_sizes([tensor.numel() for tensor in bucket]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _as_bytes(tensor: Tensor) -> Tensor:
    """The memory of ``tensor``, whatever its number format."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
