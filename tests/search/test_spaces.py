"""Spaces of typed dimensions: canonical members whatever is done to them, and the example of the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.errors import SpaceError
from nas_ray.search import (
    Categorical,
    DimensionSpace,
    Float,
    Integer,
    JointSpace,
    Point,
    When,
    enumerate_members,
    make_searcher,
    normalise,
)
from tests.search.problems import KERNELS, MIXED, RULED, TINY, TRAINING, costs

DOCUMENT = Path(__file__).parents[2] / "docs" / "spaces.md"


@pytest.mark.parametrize("space", [KERNELS, MIXED, TRAINING], ids=["kernels", "mixed", "training"])
@given(seed=st.integers(0, 2**32))
def test_whatever_is_done_to_members_gives_members(space: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    near, child = space.mutate(a, rng), space.crossover(a, b, rng)
    assert all(space.contains(member) for member in (a, b, near, child))
    assert near != a
    assert space.crossover(a, a, rng) == a
    assert (near.arch_id == a.arch_id) == (near == a)
    for member in (a, near, child):
        assert space.decode(space.encode(member)) == member


def test_inactive_dimensions_have_no_value() -> None:
    point = KERNELS.decode({"kernel": "linear", "penalty": 1.0, "gamma": 0.5, "degree": 3, "features": 8})
    assert json.loads(point.arch_id) == {"kernel": "linear", "penalty": 1.0, "features": 8}
    other = KERNELS.decode({"kernel": "linear", "penalty": 1.0, "gamma": 9.0, "degree": 5, "features": 8})
    assert other.arch_id == point.arch_id
    assert not KERNELS.contains(Point((*point.items, ("gamma", 0.5))))
    assert not KERNELS.contains(Point(point.items[:-1]))
    assert not KERNELS.contains(Point((*point.items[:-1], ("features", 9))))


def test_samples_are_even_over_the_scale_and_integers_reach_both_ends() -> None:
    rng = np.random.default_rng(0)
    points = [TRAINING.sample(rng) for _ in range(4000)]
    rates = np.log10([float(point["rate"]) for point in points])
    assert np.histogram(rates, bins=3, range=(-4, -1))[0] == pytest.approx([4000 / 3] * 3, rel=0.1)
    whole = DimensionSpace((Integer("n", 1, 4),))
    drawn = [whole.sample(rng)["n"] for _ in range(4000)]
    assert [drawn.count(n) for n in (1, 2, 3, 4)] == pytest.approx([1000] * 4, rel=0.12)


def test_mutation_reaches_everything_in_a_discrete_space() -> None:
    space = DimensionSpace(
        (Categorical("a", ("x", "y")), Integer("n", 1, 5, when=When("a", ("y",))), Categorical("z", (1, 2, 4), True))
    )
    members = set(enumerate_members(space))
    assert len(members) == (1 + 5) * 3
    rng, here, seen = np.random.default_rng(0), space.sample(np.random.default_rng(1)), set()
    for _ in range(1000):
        here = space.mutate(here, rng)
        seen.add(here)
    assert seen == members
    assert list(enumerate_members(KERNELS)) == []


def test_what_cannot_change_stays() -> None:
    rng = np.random.default_rng(0)
    for dimension in (Categorical("a", ("x",)), Integer("a", 3, 3), Float("a", 1.0, 1.0 + 1e-12)):
        space = DimensionSpace((dimension,))
        assert space.contains(space.mutate(space.sample(rng), rng))


def test_a_joint_space_follows_the_embedding_rule_of_its_architectures() -> None:
    space, rng = JointSpace(RULED, TRAINING), np.random.default_rng(0)
    for _ in range(20):
        joint = space.sample(rng)
        found, metrics = normalise(space, joint, costs)
        assert found.point == joint.point
        assert found.architecture == normalise(RULED, joint.architecture, costs)[0]
        assert metrics == costs(found)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a", ()), "one or more different"),
        (lambda: Categorical("a", (1, 1)), "one or more different"),
        (lambda: Categorical("a", ("x", "y"), ordered=True), "numbers, where ordered"),
        (lambda: Integer("a", 3, 2), "3 to 2; accepted: low <= high"),
        (lambda: Float("a", 0.0, 1.0, log=True), "0 < low <= high"),
        (lambda: Float("a", 0.0, float("inf")), "low <= high"),
        (lambda: DimensionSpace((Integer("a", 1, 2), Integer("a", 1, 2))), "every name once"),
        (lambda: DimensionSpace((Integer("a", 1, 2, when=When("b", (1,))),)), "a dimension before it"),
        (lambda: make_searcher("tpe", object(), 2, 0), "has no dimensions, encode, decode"),  # type: ignore[type-var]
        (lambda: TINY and KERNELS.decode({"kernel": "none"}), "'none'; accepted"),
    ],
)
def test_mistakes_teach(make: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


def test_the_documented_example_runs_and_finds_a_front() -> None:
    code = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert len(code) == 1
    assert sum(line.strip() != "" for line in code[0].splitlines()) <= 22
    found: dict[str, Any] = {}
    exec(compile(code[0], str(DOCUMENT), "exec"), found)
    assert len(found["results"]) == 40
    assert min(value for value, _ in found["results"]) < 0.3
