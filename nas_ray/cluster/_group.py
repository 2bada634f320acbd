"""A candidate in a trial's worker, alone or trained by several workers together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from nas_ray.cluster._session import LOOPBACK
from nas_ray.distill import (
    AnyJudge,
    AnyJudgeConfig,
    Assignment,
    Judged,
    ReplicaGroup,
    ReplicaLostError,
    RetrainedStudent,
    RetrainJudge,
    join_replicas,
)

CPUS = 0.9  # of each core a trial computes on; block actors share the rest


@dataclass(frozen=True)
class SharedRun:
    """What every trial worker needs: how to build a judge; the published arrays and the text by reference."""

    config: AnyJudgeConfig
    arrays: tuple[Any, ...]
    text: Any
    threads: int
    workers: int = 1  # that train a candidate together
    gpus: float = 0.0  # of each


_JUDGES: dict[tuple[str, ...], AnyJudge] = {}


def judge_of(shared: SharedRun) -> AnyJudge:
    """One judge a worker process, whichever trial or task comes first."""
    import torch

    config = shared.config  # of one run, but perhaps with another ladder or plan, or over other weights
    key = (config.key, *map(str, shared.arrays))
    if key not in _JUDGES:
        torch.set_num_threads(shared.threads)
        _JUDGES.clear()
        text = None if shared.text is None else ray.get(shared.text)
        _JUDGES[key] = config.build(ray.get(list(shared.arrays)), text)
    return _JUDGES[key]


def begin(shared: SharedRun, assignment: Assignment) -> Judged:
    """The candidate, in this worker and as many others as train it."""
    judge = judge_of(shared)
    if shared.workers == 1:
        return judge.begin(assignment)
    assert isinstance(judge, RetrainJudge), "only retraining has several workers"
    return StudentGroup(shared, judge, assignment)


class StudentWorker:
    """Another worker of a student: it trains on its own part of every step, and keeps nothing."""

    def __init__(self, shared: SharedRun, assignment: Assignment, rank: int) -> None:
        judge = judge_of(shared)
        assert isinstance(judge, RetrainJudge)
        self.student = judge.begin(assignment, ReplicaGroup(rank, shared.workers, shared.config.device))

    def node(self) -> str:
        """The address of its node."""
        return _node()

    def join(self, host: str, port: int, own_host: str) -> bool:
        """Take over the first worker's state."""
        return join_replicas(self.student.training, host, port, own_host)

    def advance(self, rung: int) -> None:
        """Train to a rung, in step with the others."""
        self.student.advance(rung)


class StudentGroup:
    """The first of a student's workers, in the trial's own process, and the others, as actors on the trial's resources.

    Where one is lost, the trial fails and begins again from its newest checkpoint.
    """

    def __init__(self, shared: SharedRun, judge: RetrainJudge, assignment: Assignment) -> None:
        group = ReplicaGroup(0, shared.workers, shared.config.device)
        self.student: RetrainedStudent = judge.begin(assignment, group)
        actor: Any = ray.remote(StudentWorker)
        options = {"num_cpus": CPUS * shared.threads, "num_gpus": shared.gpus}
        self.others = [actor.options(**options).remote(shared, assignment, rank) for rank in range(1, shared.workers)]
        nodes = [_node(), *ray.get([other.node.remote() for other in self.others])]
        hosts = nodes if len(set(nodes)) > 1 else [LOOPBACK] * len(nodes)
        training = self.student.training
        port = group.open(hosts[0])
        joined = [other.join.remote(hosts[0], port, own) for other, own in zip(self.others, hosts[1:], strict=True)]
        if not (join_replicas(training, hosts[0], port, hosts[0]) and all(ray.get(joined))):
            self.close()
            raise ReplicaLostError(f"{assignment.candidate_id}: a worker was lost before training began")

    def loss(self, rung_index: int) -> float:
        """The weighted losses on *select* at a rung."""
        others = [other.advance.remote(rung_index) for other in self.others]
        found = self.student.loss(rung_index)
        ray.get(others)
        return found

    def close(self) -> None:
        """End the other workers."""
        self.student.group.leave()
        for other in self.others:
            ray.kill(other)


def _node() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
