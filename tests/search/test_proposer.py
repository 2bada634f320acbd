"""No duplicates, no broken constraint, exhaustion, and resuming as if nothing had happened."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nas_ray.errors import InfeasibleError, SpaceError, SpecError
from nas_ray.search import (
    Constraint,
    Objective,
    Proposal,
    Proposer,
    enumerate_members,
    make_price,
    make_searcher,
    normalise,
)
from nas_ray.space import parse_architecture
from tests.search.problems import (
    OBJECTIVES,
    QUICKSTART,
    RULED,
    SEARCHERS,
    SMALL,
    SMALL_OPTIONS,
    SPACES,
    TINY,
    UNIFORM,
    costs,
    loss,
)

Observation = tuple[str, dict[str, float] | None, bool]


def make(name: str, space: Any, count: int, **options: Any) -> Proposer[Any]:
    constraints = options.pop("constraints", [])
    price = make_price(space, OBJECTIVES, constraints, costs)
    searcher = make_searcher(name, space, 2, 0, SMALL_OPTIONS[name], price=price)
    return Proposer(searcher, space, OBJECTIVES, constraints, costs, count, **options)


def outcome(proposal: Proposal[Any]) -> Observation:
    failed = proposal.index % 7 == 6
    metrics = None if failed else {"loss": loss(proposal.architecture)}
    return proposal.arch_id, metrics, proposal.index % 3 != 2


def drain(proposer: Proposer[Any], journal: list[Observation] | None = None) -> list[Proposal[Any]]:
    found = []
    while (proposal := proposer.ask()) is not None:
        found.append(proposal)
        proposer.tell(*outcome(proposal))
        if journal is not None:
            journal.append(outcome(proposal))
    return found


@pytest.mark.parametrize("space_name", SPACES)
@pytest.mark.parametrize("name", SEARCHERS)
def test_proposals_are_new_feasible_members(name: str, space_name: str) -> None:
    space = SPACES[space_name]
    sample = [costs(space.sample(np.random.default_rng(i)))["params"] for i in range(50)]
    bound = float(np.quantile(sample, 0.2))
    found = drain(make(name, space, 40, constraints=[Constraint("params", bound)]))
    assert [proposal.index for proposal in found] == list(range(len(found)))
    assert len({proposal.arch_id for proposal in found}) == len(found)
    assert all(space.contains(proposal.architecture) for proposal in found)
    assert all(proposal.costs["params"] <= bound for proposal in found)
    assert all(proposal.costs == costs(proposal.architecture) for proposal in found)
    left = [a for a in enumerate_members(space) if costs(a)["params"] <= bound]
    assert len(found) == min(40, len(left) or 40)


@pytest.mark.parametrize("name", SEARCHERS)
def test_resuming_equals_never_stopping(name: str) -> None:
    queue = [(SMALL.sample(np.random.default_rng(99)), "solver")]
    options: dict[str, Any] = {"enqueued": queue, "constraints": [Constraint("params", 400_000)]}
    journal: list[Observation] = []
    whole = drain(make(name, SMALL, 30, **options), journal)
    for cut in (0, 1, 9, 17, 29):
        for in_flight in (0, 1):
            resumed = make(name, SMALL, 30, **options)
            resumed.restore(whole[: cut + in_flight], journal[:cut])
            if in_flight:
                resumed.tell(*journal[cut])
            assert drain(resumed) == whole[cut + in_flight :]


@pytest.mark.parametrize("space_name", ["bits", "kernels", "mixed", "restricted", "uniform"])
@pytest.mark.parametrize("name", SEARCHERS)
def test_resuming_equals_never_stopping_in_any_space(name: str, space_name: str) -> None:
    journal: list[Observation] = []
    whole = drain(make(name, SPACES[space_name], 20), journal)
    resumed = make(name, SPACES[space_name], 20)
    resumed.restore(whole[:13], journal[:12])
    resumed.tell(*journal[12])
    assert drain(resumed) == whole[13:]


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_tiny_space_is_given_out_whole_and_then_exhausted(name: str) -> None:
    members = list(enumerate_members(TINY))
    assert len(members) == 2 * TINY.num_architectures == 32
    proposer = make(name, TINY, 1000)
    assert {proposal.architecture for proposal in drain(proposer)} == set(members)
    assert proposer.ask() is None


def test_uniform_spaces_are_given_out_whole() -> None:
    assert len(drain(make("evolution", UNIFORM, 1000))) == UNIFORM.num_architectures


def test_count_is_kept() -> None:
    assert len(drain(make("random", QUICKSTART, 7))) == 7
    assert drain(make("random", QUICKSTART, 0)) == []


def test_enqueued_come_first_without_doubles_references_or_broken_constraints() -> None:
    sizes = sorted(enumerate_members(TINY), key=lambda a: costs(a)["params"])
    small, middle, large = sizes[0], sizes[10], sizes[-1]
    queue = [(small, "solver"), (large, "solver"), (middle, "user"), (small, "again"), (sizes[1], "solver")]
    bound = costs(sizes[20])["params"]
    proposer = make(
        "random",
        TINY,
        100,
        enqueued=queue,
        exclude=[sizes[1].arch_id, sizes[2].arch_id],
        constraints=[Constraint("params", bound)],
    )
    found = drain(proposer)
    assert [(p.architecture, p.origin) for p in found[:2]] == [(small, "solver"), (middle, "user")]
    assert found[2].origin == "random"
    allowed = {a for a in sizes if costs(a)["params"] <= bound} - {sizes[1], sizes[2]}
    assert {p.architecture for p in found} == allowed


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_tight_budget_in_a_large_space_is_met(name: str) -> None:
    # Of 10,000 random architectures none is that small.
    found = drain(make(name, QUICKSTART, 20, constraints=[Constraint("params", 300_000)]))
    assert len(found) == 20
    assert all(proposal.costs["params"] <= 300_000 for proposal in found)


def test_infeasible_constraints_name_what_was_reachable() -> None:
    least = min(costs(a)["params"] for a in enumerate_members(TINY))
    with pytest.raises(InfeasibleError, match=f"params: found the bound 10; the smallest value seen is {least:.0f}"):
        make("random", TINY, 5, constraints=[Constraint("params", 10)]).ask()
    with pytest.raises(InfeasibleError, match="params: found the bound 10"):
        make("random", QUICKSTART, 5, constraints=[Constraint("params", 10)]).ask()


@pytest.mark.parametrize("name", ["evolution", "nsga2", "random", "surrogate"])
def test_a_rule_fixes_the_embedding(name: str) -> None:
    found = drain(make(name, RULED, 1000))
    assert len({p.architecture.paths for p in found}) == len(found) == RULED.num_architectures
    assert {p.architecture.embedding_size for p in found} == {32, 64, 128}
    for proposal in found:
        assert RULED.with_rule(proposal.architecture, int(proposal.costs["encoder_params"])) == proposal.architecture
    some = found[0].architecture
    for size in RULED.embedding_sizes:  # whatever it came with
        other = parse_architecture(f"e{size}/" + some.arch_id.split("/", 1)[1], 64)
        assert normalise(RULED, other, costs)[0] == some


def test_telling_twice_counts_once_and_strangers_are_refused() -> None:
    told: list[Any] = []
    proposer = make("random", TINY, 3)
    proposer._searcher.observe = lambda *result: told.append(result)  # type: ignore[method-assign]
    proposal = proposer.ask()
    assert proposal is not None
    proposer.tell(proposal.arch_id, {"loss": 2.0}, finished=False)
    proposer.tell(proposal.arch_id, None, finished=True)
    assert told == [(proposal.architecture, (2.0, proposal.costs["params"]), False)]
    with pytest.raises(SpaceError, match="never proposed"):
        proposer.tell("e32/32:M1", {"loss": 1.0}, finished=True)
    second = proposer.ask()
    assert second is not None
    with pytest.raises(SpecError, match="unknown metric 'loss'"):
        proposer.tell(second.arch_id, {}, finished=True)


def test_proposals_are_plain_data() -> None:
    proposal = make("random", TINY, 1).ask()
    assert proposal is not None
    kept = json.loads(json.dumps({"id": proposal.arch_id, "costs": proposal.costs, "index": proposal.index}))
    architecture = parse_architecture(kept["id"], TINY.head_size)
    assert Proposal(kept["index"], architecture, proposal.origin, kept["costs"]) == proposal


def test_a_metric_without_a_table_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown metric 'latency_ms'; known: encoder_params, params"):
        make("random", TINY, 1, constraints=[Constraint("latency_ms", 1.0)]).ask()
    assert Objective("loss").mode == "min"
