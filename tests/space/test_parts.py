"""The parts of a student: seams, and sums that equal the weights of what is built from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_ray.errors import SpaceError
from nas_ray.space import (
    Architecture,
    PathSpace,
    Start,
    TeacherShape,
    all_parts,
    parse_path,
    part_params,
    parts,
    references,
    teacher_path,
)
from nas_ray.spec import load_space
from tests.space.problems import FREE, MINILM, STRICT

STARTS: tuple[Start, ...] = ("inherit", "scratch")
TINY = TeacherShape(64, 6, 4, 256, vocab_size=50, num_positions=16, embedding_params=(50 + 16 + 2 + 2) * 64,
                    encoder_params=6 * 49_984)  # fmt: skip


def encoder_params(names: tuple[str, ...], shape: TeacherShape, head_size: int) -> int:
    return sum(part_params(name, shape, head_size) for name in names if not name.startswith("embedding:"))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", ["minilm_small", "minilm_ops"])
def test_the_teachers_own_path_costs_what_the_teacher_does(name: str, start: Start) -> None:
    space = load_space(name)
    frozen = teacher_path(MINILM, space.num_blocks, space.head_size)
    assert frozen is not None
    assert frozen.path_id == "384:M12-F4-M12-F4"
    found = parts(Architecture(384, (frozen,) * 3), MINILM, start, frozen)
    assert not [part for part in found if part.startswith("map:")]
    assert encoder_params(found, MINILM, space.head_size) == MINILM.encoder_params == 10_646_784
    whole = sum(part_params(part, MINILM, space.head_size) for part in found)
    assert whole == MINILM.encoder_params + MINILM.embedding_params


def test_seams() -> None:
    frozen = teacher_path(TINY, 2, 16)
    wide, thin = parse_path("64:M2", 16), parse_path("32:F1", 16)
    assert frozen is not None

    def maps(size: int, *paths: object, start: Start = "inherit") -> list[str]:
        found = parts(Architecture(size, paths), TINY, start, frozen)  # type: ignore[arg-type]
        return [part.removeprefix("map:") for part in found if part.startswith("map:")]

    assert maps(64, frozen, frozen) == []
    assert maps(32, frozen, frozen) == ["32-64"]
    assert maps(64, wide, frozen) == ["64-64", "64-64"]
    assert maps(64, frozen, wide) == ["64-64", "64-64"]
    assert maps(64, wide, wide) == ["64-64"] * 3
    assert maps(32, thin, wide) == ["32-32", "32-64", "64-64"]
    assert maps(32, thin, wide, start="scratch") == ["32-64"]
    assert maps(64, thin, thin, start="scratch") == ["64-32"]
    assert maps(64, frozen, frozen, start="scratch") == []


def test_parts_in_running_order() -> None:
    found = Architecture(32, (parse_path("32:F1-M2", 16), parse_path("64:S5", 16)))
    expected = ("embedding:32", "map:32-32", "32:F1", "32:M2", "map:32-64", "64:S5", "map:64-64")
    assert parts(found, TINY, "inherit", None) == expected


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), start=st.sampled_from(STARTS), strict=st.booleans())
def test_sum_equals_the_built_student(seed: int, start: Start, strict: bool) -> None:
    from nas_ray.blocks import build_student
    from nas_ray.modeling import Numerics

    space: PathSpace = replace(STRICT if strict else FREE, embedding_sizes=(16, 32))
    architecture = space.sample(np.random.default_rng(seed))
    found = parts(architecture, TINY, start, teacher_path(TINY, space.num_blocks, space.head_size))
    student = build_student(found, TINY.vocab_size, TINY.num_positions, space.head_size, Numerics())
    encoder = sum(p.numel() for p in student.stages.parameters())
    assert encoder_params(found, TINY, space.head_size) == encoder
    counted = sum(part_params(part, TINY, space.head_size) for part in found)
    assert counted == sum(p.numel() for p in student.parameters())


@pytest.mark.parametrize("start", STARTS)
def test_all_parts_hold_those_of_every_architecture(start: Start) -> None:
    for space in (FREE, STRICT):
        shape = replace(TINY, hidden=96, heads=6, intermediate=384)
        known = set(all_parts(space, shape))
        frozen = teacher_path(shape, space.num_blocks, space.head_size)
        assert frozen is not None
        rng = np.random.default_rng(0)
        found = [space.sample(rng) for _ in range(200)]
        for path in (*references(space, shape).values(), frozen):
            found.append(Architecture(96, (path,) * space.num_blocks))
            found.append(replace(found[0], paths=(path, *found[0].paths[1:])))
        for architecture in found:
            assert set(parts(architecture, shape, start, frozen)) <= known


@pytest.mark.parametrize(
    "changes",
    [{"intermediate": 100}, {"heads": 2}, {"intermediate": 32}],
    ids=["inner size no multiple", "other head size", "inner size below hidden"],
)
def test_a_teacher_that_operations_cannot_express(changes: dict[str, int]) -> None:
    assert teacher_path(replace(TINY, **changes), 2, 16) is None


def test_references_are_uniform_encoders() -> None:
    found = references(load_space("minilm_small"), MINILM)
    assert {width: path.path_id for width, path in found.items()} == {
        width: f"{width}:M{width // 32}-F4-M{width // 32}-F4" for width in (192, 256, 320, 384)
    }


@pytest.mark.parametrize(
    "part",
    ["", "embedding", "embedding:", "embedding:x", "map:1", "map:1-", "map:a-b", "192", "192:", "x:M3", "192:X3"],
)
def test_refuses_what_is_no_part(part: str) -> None:
    with pytest.raises(SpaceError, match="accepted"):
        part_params(part, MINILM, 64)
