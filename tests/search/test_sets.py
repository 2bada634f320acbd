"""Hyperparameter sets for given architectures: every one equally often, a function of seed and history."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from nas_ray.search import (
    Categorical,
    DimensionSpace,
    Float,
    Joint,
    Objective,
    Point,
    Proposer,
    SetSearcher,
    SetSpace,
)
from nas_ray.space import UniformArchitecture

ARCHITECTURES = tuple(UniformArchitecture(depth, 2, 32, 64) for depth in (1, 2, 4))
POINTS = DimensionSpace([Float("learning_rate", 1e-4, 1e-1, log=True), Categorical("sequences", (4, 8), ordered=True)])
MIDDLE = POINTS.decode({"learning_rate": 3e-3, "sequences": 4})


def error(found: Joint[UniformArchitecture]) -> float:
    """Deeper is better; the best rate is 0.01 for all."""
    rate = float(found.point["learning_rate"])
    return (1 + abs(2 + math.log10(rate))) / found.architecture.depth


def run(searcher: SetSearcher[UniformArchitecture], first: int, last: int) -> list[Joint[UniformArchitecture]]:
    found = []
    for index in range(first, last):
        found.append(proposed := searcher.propose(index))
        searcher.observe(proposed, (error(proposed), 1.0), True)
    return found


def make(seed: int = 0) -> SetSearcher[UniformArchitecture]:
    return SetSearcher(SetSpace(ARCHITECTURES, POINTS), MIDDLE, seed)


def test_every_architecture_has_its_turn_and_begins_with_the_middle() -> None:
    found = run(make(), 0, 30)
    assert [f.architecture for f in found] == list(ARCHITECTURES) * 10
    assert {f.point for f in found[:3]} == {MIDDLE}
    assert Counter(f.architecture for f in found) == dict.fromkeys(ARCHITECTURES, 10)


@pytest.mark.parametrize("draws", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_values_of_a_list_are_shared_out_evenly(draws: int, seed: int) -> None:
    """TPE insists on the best value; the proposer must not take another architecture for it."""
    space = SetSpace(ARCHITECTURES, DimensionSpace([Categorical("sequences", (2, 4, 8, 16), ordered=True)]))
    proposer = Proposer(
        SetSearcher(space, Point((("sequences", 4),)), seed),
        space,
        [Objective("loss"), Objective("params")],
        (),
        lambda candidate: {"params": candidate.architecture.depth},
        draws * len(ARCHITECTURES),
        seed=seed,
    )
    found = []
    while (proposal := proposer.ask()) is not None:
        found.append(proposal.architecture)
        proposer.tell(proposal.arch_id, {"loss": 1.0 + abs(float(proposal.architecture.point["sequences"]) - 8)}, True)
    assert Counter(f.architecture for f in found) == dict.fromkeys(ARCHITECTURES, draws)
    assert len({f.arch_id for f in found}) == draws * len(ARCHITECTURES)


def test_it_learns_over_all_architectures_together() -> None:
    found = run(make(), 0, 60)
    late = [abs(2 + math.log10(float(f.point["learning_rate"]))) for f in found[40:]]
    early = [abs(2 + math.log10(float(f.point["learning_rate"]))) for f in found[3:11]]
    assert sum(late) / len(late) < 0.7 * sum(early) / len(early)


def test_going_on_from_a_history_is_as_if_never_interrupted() -> None:
    whole = run(make(3), 0, 24)
    second = make(3)
    for proposed in whole[:15]:
        second.observe(proposed, (error(proposed), 1.0), True)
    assert run(second, 15, 24) == whole[15:]
    assert run(make(4), 0, 24) != whole


def test_failures_and_foreign_candidates_are_taken() -> None:
    searcher = make()
    searcher.observe(searcher.propose(0), None, False)
    searcher.observe(Joint(UniformArchitecture(9, 2, 32, 64), MIDDLE), (0.1, 1.0), True)
    assert len(searcher._results) == 1
    assert searcher.propose(20).architecture in ARCHITECTURES


def test_the_space_lists_its_members() -> None:
    space = SetSpace(ARCHITECTURES, DimensionSpace([Categorical("sequences", (4, 8))]))
    members = list(space.members(100))
    assert len({member.arch_id for member in members}) == 6
    assert all(space.contains(member) for member in members)
    assert not space.contains(Joint(ARCHITECTURES[0], Point((("sequences", 5),))))
