"""A group that averages gradients, by itself: in threads, and in processes that are killed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_ray.distill import ReplicaGroup, ReplicaLostError, Schedule, Trainer, join_replicas

HOST = "127.0.0.1"
WAIT = 240.0  # seconds for what takes one on an idle machine


class Toy:
    """A member that trains two of three layers a step, on rows that are a function of the batch's number."""

    def __init__(self, rank: int, size: int, timeout: float = WAIT, *, joined: int = 1) -> None:
        torch.manual_seed(rank)
        self.layers = nn.ModuleDict({name: nn.Linear(4, 4) for name in "abc"})
        self.group, self.joined = ReplicaGroup(rank, size, timeout=timeout), joined
        self.ready, self.done = rank == 0, 0
        self._trainer()

    def _trainer(self) -> None:
        self.trainer = Trainer(
            self.layers, Schedule(1e-2, 20, 0.1), weight_decay=0.1, clip=0.3, precision="fp32",
            average=self.group.average if self.group.size > 1 else None,
        )  # fmt: skip

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        moments = {f"optimizer/{name}": tensor for name, tensor in self.trainer.state().items()}
        return {**self.layers.state_dict(), **moments}, {"done": self.done}

    def take(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        self.layers.load_state_dict({k: t for k, t in tensors.items() if not k.startswith("optimizer/")})
        self._trainer()
        self.trainer.load_state({k.removeprefix("optimizer/"): t for k, t in tensors.items() if "/" in k})
        self.done, self.ready = state["done"], True

    def open(self) -> int:
        return self.group.open(HOST)

    def join(self, port: int) -> bool:
        return join_replicas(self, HOST, port, HOST)

    def steps(self, until: int) -> tuple[str, list[list[float]]]:
        """Train to ``until`` steps; "lost" if a member was."""
        losses = []
        try:
            while self.done < until:
                losses.append(self.trainer.step(self.done, [self._loss(name) for name in self._names()]))
                self.done += 1
        except ReplicaLostError:
            assert not self.group.whole
            return "lost", losses
        return "done", losses

    def _names(self) -> list[str]:
        return ["abc"[self.done % 3], "abc"[(self.done + 1) % 3]]

    def _loss(self, name: str) -> Callable[[], Tensor]:
        first = self.done * self.group.size * self.joined + self.group.rank
        x = torch.cat([rows(first + k) for k in range(self.joined)])
        return lambda: self.layers[name](x).square().mean()

    def share(self, value: int) -> Any:
        try:
            return self.group.share(value)
        except ReplicaLostError:
            return "lost"

    def digest(self) -> str:
        """Of weights, moments and steps, to the bit."""
        tensors, state = self.snapshot()
        parts = [f"{name}{tensor.numpy().tobytes()!r}" for name, tensor in sorted(tensors.items())]
        return hashlib.sha256("".join([*parts, str(state)]).encode()).hexdigest()


def rows(number: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(number))


def everywhere(members: Sequence[Any], name: str, *arguments: Any) -> list[Any]:
    """Call a method of all members, each in a thread of its own."""
    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(lambda member: getattr(member, name)(*arguments), members))


def toys(size: int, **options: Any) -> list[Toy]:
    """A formed group in this process."""
    members = [Toy(rank, size, **options) for rank in range(size)]
    assert everywhere(members, "join", members[0].open()) == [True] * size
    return members


# -- the group, in threads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_replicas_take_the_steps_of_the_joined_batch(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_ray.distill._replicas._BUCKET_BYTES", 40)  # many buckets, one tensor larger than that
    members, alone = toys(size), Toy(0, 1, joined=size)
    found = everywhere(members, "steps", 7)
    status, losses = alone.steps(7)
    assert status == "done"
    for status, reported in found:
        assert status == "done"
        np.testing.assert_allclose(reported, losses, rtol=1e-5)
    assert len({member.digest() for member in members}) == 1
    for mine, joined in zip(members[-1].layers.parameters(), alone.layers.parameters(), strict=True):
        torch.testing.assert_close(mine, joined, rtol=1e-5, atol=1e-6)


def test_the_first_ones_state_goes_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_ray.distill._replicas._BUCKET_BYTES", 64)
    tensors = {
        "half": torch.randn(3, 5).bfloat16(),
        "scalar": torch.tensor(7.0),
        "turned": torch.randn(6, 4).T,
        "flags": torch.tensor([True, False, True]),
        "none": torch.empty(0, 3),
    }
    state = {"step": 3, "bins": {"0": ["a", "b"]}, "curve": [[0, 0.1]]}
    groups = [member.group for member in toys(3)]
    with ThreadPoolExecutor(3) as pool:
        given = [(tensors, state), ({}, {}), ({}, {})]
        found = list(pool.map(lambda group, mine: group.spread(*mine), groups, given))
    for received, told in found:
        assert told == state
        assert list(received) == list(tensors)
        assert all(torch.equal(received[name], tensor) for name, tensor in tensors.items())
        assert all(received[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_the_others_wait_for_the_first_beyond_the_timeout() -> None:
    members = toys(2, timeout=2.0)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(members[1].share, 0)
        time.sleep(7)
        assert not waiting.done()
        pool.submit(members[0].share, 41)
        assert waiting.result(WAIT) == 41
    assert [status for status, _ in everywhere(members, "steps", 2)] == ["done", "done"]


def test_a_group_of_one_never_communicates() -> None:
    group = ReplicaGroup(0, 1)
    assert group.whole
    group.leave()
    assert group.whole


def test_a_group_is_not_formed_without_its_first() -> None:
    members = [Toy(rank, 2, timeout=2.0) for rank in range(2)]
    port = members[0].open()
    members[0].group.leave()  # as after a restart
    assert everywhere(members, "join", port) == [False, False]
    members[0].ready = False
    assert everywhere(members, "join", members[0].open()) == [False, False]
    members[0].ready = True
    assert everywhere(members, "join", members[0].open()) == [True, True]


# -- the group, in processes ---------------------------------------------------------------------------------------


class Member:
    """A toy in a process of its own; calls are answered in turn."""

    def __init__(self, rank: int, size: int, timeout: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, rank, size, timeout), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> None:
        self.pipe.send((name, arguments))

    def answer(self) -> Any:
        assert self.pipe.poll(WAIT), "no answer"
        return self.pipe.recv()

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def serve(pipe: Any, rank: int, size: int, timeout: float) -> None:
    torch.set_num_threads(1)
    toy = Toy(rank, size, timeout)
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(toy, name)(*arguments))


def ask_all(members: Sequence[Member], name: str, *arguments: Any) -> list[Any]:
    for member in members:
        member.ask(name, *arguments)
    return [member.answer() for member in members]


def form(members: Sequence[Member]) -> list[bool]:
    members[0].ask("open")
    return ask_all(members, "join", members[0].answer())


@pytest.fixture
def started() -> Iterator[Callable[[int, int, float], Member]]:
    found: list[Member] = []

    def start(rank: int, size: int, timeout: float) -> Member:
        found.append(Member(rank, size, timeout))
        return found[-1]

    yield start
    for member in found:
        member.process.kill()
        member.process.join()


def test_killed_members_are_noticed_and_replaced(started: Callable[[int, int, float], Member]) -> None:
    timeout = 4 * WAIT  # so that it is the death that is noticed, by all, whomever they exchange with
    members = [started(rank, 3, timeout) for rank in range(3)]
    assert form(members) == [True] * 3
    ask_all(members, "steps", 4)

    for member in (members[0], members[2]):  # these two wait for the gradients of the third
        member.ask("steps", 5)
    time.sleep(1)
    members[1].signal(signal.SIGKILL)
    assert [member.answer() for member in (members[0], members[2])] == [("lost", [])] * 2
    members[1] = started(1, 3, timeout)
    assert form(members) == [True] * 3
    assert [status for status, _ in ask_all(members, "steps", 8)] == ["done"] * 3
    digests = ask_all(members, "digest")
    straight = toys(3)
    everywhere(straight, "steps", 8)
    assert {*digests, *(member.digest() for member in straight)} == {digests[0]}  # nothing was lost, to the bit

    for member in members[1:]:  # these two wait for what the first is at work on
        member.ask("share", 0)
    time.sleep(1)
    members[0].signal(signal.SIGKILL)
    assert [member.answer() for member in members[1:]] == ["lost"] * 2
    members[0] = started(0, 3, timeout)
    assert form(members) == [True] * 3
    assert [status for status, _ in ask_all(members, "steps", 3)] == ["done"] * 3  # all back at its own start
    assert len(set(ask_all(members, "digest"))) == 1


def test_a_member_that_hangs_is_given_up(started: Callable[[int, int, float], Member]) -> None:
    members = [started(rank, 2, 5.0) for rank in range(2)]
    while not all(form(members)):  # a busy machine may need longer than these few seconds
        pass
    ask_all(members, "steps", 1)
    members[1].signal(signal.SIGSTOP)
    members[0].ask("steps", 100)
    status, _ = members[0].answer()
    assert status == "lost"
    members[1].signal(signal.SIGCONT)
    members[1].ask("steps", 100)
    status, _ = members[1].answer()
    assert status == "lost"
    while not all(form(members)):
        pass
    assert len(set(ask_all(members, "digest"))) == 1
