"""Architectures: immutable, equal exactly if their ids are, and read back from their ids."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.errors import SpaceError
from nas_ray.space import (
    Architecture,
    Operation,
    Path,
    UniformArchitecture,
    candidate_id,
    parse_architecture,
    parse_path,
)
from tests.space.problems import FREE, STRICT

HEAD_SIZE = 32
NUMBERS = st.integers(1, 4096)
OPERATIONS = st.one_of(
    st.builds(Operation, st.just("attention"), heads=NUMBERS, head_size=st.just(HEAD_SIZE)),
    st.builds(Operation, st.just("feed_forward"), ratio=NUMBERS, head_size=st.just(HEAD_SIZE)),
    st.builds(
        Operation,
        st.just("separable_conv"),
        kernel=NUMBERS.map(lambda n: 2 * n - 1),
        units=st.integers(1, 4),
        head_size=st.just(HEAD_SIZE),
    ),
)
PATHS = st.builds(Path, NUMBERS, st.lists(OPERATIONS, min_size=1, max_size=6).map(tuple))
ARCHITECTURES = st.builds(Architecture, NUMBERS, st.lists(PATHS, min_size=1, max_size=4).map(tuple))


@given(ARCHITECTURES)
def test_id_round_trip(architecture: Architecture) -> None:
    again = parse_architecture(architecture.arch_id, HEAD_SIZE)
    assert again == architecture
    assert again.arch_id == architecture.arch_id
    assert hash(again) == hash(architecture)


@given(PATHS)
def test_path_id_round_trip(path: Path) -> None:
    assert parse_path(path.path_id, HEAD_SIZE) == path


@given(ARCHITECTURES, ARCHITECTURES)
def test_equal_exactly_if_ids_are(a: Architecture, b: Architecture) -> None:
    assert (a == b) == (a.arch_id == b.arch_id)


def test_enumeration_has_distinct_ids() -> None:
    for space in (FREE, STRICT):
        ids = {path.path_id for path in space.paths}
        assert len(ids) == len(space.paths)
        assert {parse_path(path_id, space.head_size) for path_id in ids} == set(space.paths)


def test_immutable() -> None:
    found = FREE.sample(np.random.default_rng(0))
    for target, field in (
        (found, "embedding_size"),
        (found.paths[0], "width"),
        (found.paths[0].operations[0], "heads"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(target, field, 1)
    with pytest.raises(FrozenInstanceError):
        UniformArchitecture(1, 1, 1, 1).depth = 2  # type: ignore[misc]


def test_pickles_after_its_id_was_asked() -> None:
    found = FREE.sample(np.random.default_rng(0))
    assert found.arch_id
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "e64", "e64/", "64/192:M3", "e/192:M3", "e064/192:M3", "e64/192", "e64/:M3", "e64/192:", "e64/192:M3-",
     "e64/192:M3//192:M3", "e64/0192:M3", "e٦٤/192:M3", "e²/192:M3", "uniform:D4-A8-H1024-I768"],
)  # fmt: skip
def test_refuses_what_is_no_architecture(text: str) -> None:
    with pytest.raises(SpaceError, match="accepted"):
        parse_architecture(text, 64)


def test_candidate_id_ignores_order_only() -> None:
    one = candidate_id({"arch": "e64/192:M3", "lr": 1e-3})
    assert one == candidate_id({"lr": 0.001, "arch": "e64/192:M3"})
    assert len(one) == 12
    assert int(one, 16) >= 0
    assert one != candidate_id({"arch": "e64/192:M3", "lr": 1e-4})
