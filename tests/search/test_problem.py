"""The tables' exact front where an embedding rule ties the embedding to the encoder, against brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from nas_ray.errors import InfeasibleError
from nas_ray.search import non_dominated, table_problem
from nas_ray.space import Architecture, EmbeddingRule, Start, TeacherShape
from nas_ray.tables import Costs, QualityTable, params_table
from tests.search.problems import RULED

SHAPE = TeacherShape(128, 4, 2, 512, vocab_size=400, num_positions=64, embedding_params=466 * 128, encoder_params=10**6)
RULES = (EmbeddingRule(((80_000, 32), (170_000, 64)), 128), EmbeddingRule(((60_000, 64), (260_000, 128)), 128))


def tables(start: Start, rule: EmbeddingRule, seed: int) -> tuple[Costs, QualityTable]:
    space = replace(RULED, embedding_rule=rule)
    params = params_table(space, SHAPE)
    rng = np.random.default_rng(seed)
    slots = [[f"e{size}" for size in space.embedding_sizes], *[[p.path_id for p in space.paths]] * space.num_blocks]
    losses = tuple({name: float(rng.uniform()) for name in slot} for slot in slots)
    return Costs(space, SHAPE, start, params, params, params), QualityTable(losses)


def followers(costs: Costs, quality: QualityTable) -> list[tuple[Architecture, dict[str, float]]]:
    """Every architecture whose embedding is what the rule gives its encoder."""
    space, found = costs.space, []
    for size, *paths in product(space.embedding_sizes, *[space.paths] * space.num_blocks):
        architecture = Architecture(size, tuple(paths))
        values = {**costs.of(architecture), "score": quality.total(architecture)}
        if space.with_rule(architecture, int(values["encoder_params"])) == architecture:
            found.append((architecture, values))
    return found


@pytest.mark.parametrize("start", ["inherit", "scratch"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_the_front_under_a_rule_equals_brute_force(start: Start, rule: EmbeddingRule, seed: int) -> None:
    costs, quality = tables(start, rule, seed)
    problem = table_problem(costs, quality, ["params", "encoder_params"])
    members = followers(costs, quality)
    goals = (["score", "encoder_params"], ["score"], ["score", "params"])
    for names, most in product(goals, (9e9, 15e4)):
        within = np.array([[v[name] for name in names] for _, v in members if v["params"] <= most])
        expected = np.unique(within[non_dominated(within)], axis=0)
        front = problem.front(names, {"params": most})
        found = [[p.values[problem.metrics.index(name)] for name in names] for p in front.points]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert front.guarantee.startswith("exact")
        agreed = {architecture for architecture, _ in members}
        assert {problem.architecture(p.names) for p in front.points} <= agreed


def test_a_bound_that_only_small_embeddings_meet_is_feasible() -> None:
    costs, quality = tables("inherit", RULES[0], 0)
    members = followers(costs, quality)
    sizes = {size: min(v["params"] for a, v in members if a.embedding_size == size) for size in (32, 64)}
    for table in (quality, None):
        problem = table_problem(costs, table, ["params"])
        problem.require_feasible({"params": sizes[32]})
        with pytest.raises(InfeasibleError, match=f"smallest reachable value is {sizes[32]:.0f}"):
            problem.require_feasible({"params": sizes[32] - 1})
    assert sizes[32] < sizes[64]
