"""The shipped spaces have the papers' sizes; sampling, mutation and crossover stay inside."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.errors import SpaceError
from nas_ray.space import Architecture, EmbeddingRule, Path, PathSpace, UniformSpace, parse_architecture
from nas_ray.spec import load_space
from tests.space.problems import FREE, ONE_PATH, SHRUNK, SPACES, STRICT

SEEDS = st.integers(0, 2**32)
GRID = UniformSpace("grid", (2, 4), (2, 3), (6, 8), (16,))


@pytest.fixture(scope="module")
def nas_bert() -> Any:
    return load_space("nas_bert")


def test_nas_bert(nas_bert: PathSpace) -> None:
    assert nas_bert.num_operations == 26
    assert nas_bert.num_blocks == 4
    assert len(nas_bert.paths) == len(set(nas_bert.paths)) == len({p.path_id for p in nas_bert.paths}) == 97_650
    assert 5 * sum(5**k for k in range(1, 7)) == 97_650
    assert nas_bert.num_architectures == 97_650**4
    assert f"{nas_bert.num_architectures:.2e}" == "9.09e+19"


def test_nas_bert_bins(nas_bert: PathSpace) -> None:
    """The paths of each of ten bins by parameters, as recounted in section 3.2.2's terms."""
    params = np.array([path.num_params() for path in nas_bert.paths])
    assert params.max() == 12_604_416
    counts = np.bincount(np.minimum(params * 10 // params.max(), 9))
    assert counts.tolist() == [46770, 17364, 13028, 8694, 5185, 4777, 1346, 445, 34, 7]


def test_bort() -> None:
    space = load_space("bort")
    assert isinstance(space, UniformSpace)
    assert (space.num_tuples, space.num_architectures, len(set(space.architectures))) == (360, 300, 300)
    assert "uniform:D4-A8-H1024-I768" in {a.arch_id for a in space.architectures}
    assert len({a.arch_id for a in space.architectures}) == 300


def test_minilm_spaces() -> None:
    small, ops = load_space("minilm_small"), load_space("minilm_ops")
    assert 300 <= len(small.paths) == len(set(small.paths)) == 476 <= 500
    assert len(ops.paths) == len(set(ops.paths)) == 3120


# The code that the authors ship numbers operations by 6 * size + {identity, M, F, S3, S5, S7} over these sizes.
SHIPPED_SIZES = (128, 192, 384, 512, 768)
SHIPPED_5M = (9, 11, 7, 0, 0, 0, 11, 11, 7, 0, 0, 0, 9, 7, 11, 0, 0, 0, 10, 7, 9, 0, 0, 0)


def test_decodes_the_shipped_5m_model(nas_bert: PathSpace) -> None:
    named = parse_architecture("e64/192:S3-S7-M3/192:S7-S7-M3/192:S3-M3-S7/192:S5-M3-S3", nas_bert.head_size)
    blocks = []
    for block in range(4):
        codes = [code for code in SHIPPED_5M[6 * block : 6 * block + 6] if code]
        (width,) = {SHIPPED_SIZES[code // 6] for code in codes}
        blocks.append(Path(width, tuple(nas_bert.operations[width][code % 6 - 1] for code in codes)))
    assert Architecture(64, tuple(blocks)) == named
    assert nas_bert.contains(named)
    assert sum(path.num_params() for path in named.paths) == 1_212_672


# Table 10: width, operations, embedding size of the models whose operations can be read.
TABLE_10 = {
    60: (512, "S3MMS7FFFMMS7FFMS5MFS3FMMS5FFF", 512),
    55: (512, "FS5MFMFS7MS7MFS5S3MS5S5FFFMMS5F", 512),
    50: (512, "FS5MFS5FS7MS7FFS3MS5S7FMFMS5MF", 384),
    45: (512, "S3MS7FS5FS7MS7MFS7S3MS7S3FMFMS3S7F", 384),
    40: (512, "S3MS5MS5FS5MS7FFS3MS5S5S3FS7MMF", 384),
    35: (512, "S3S7MS7S3FMS5S7S5S3MS5S5S3FS7MMF", 256),
    30: (512, "S3MS5S7FS5MS7S5FS3S5MFS3S7MS3FS5", 256),
    15: (384, "S3MS5S3S3S5S5S5MS5S5S7MS5S5S5S5S5S3S5MS5S3S5", 128),
    10: (384, "S3S5MS3S5MS7MS3S7MS3", 128),
    5: (192, "S3S7MS7S7MS3MS7S5MS3", 64),
}


@pytest.mark.parametrize("size", TABLE_10)
def test_embedding_rule_gives_the_sizes_of_table_10(nas_bert: PathSpace, size: int) -> None:
    width, text, embedding = TABLE_10[size]
    named = {o.token[0] + (o.token[1:] if o.kind == "separable_conv" else ""): o for o in nas_bert.operations[width]}
    params, rest = 0, text
    while rest:
        token = rest[:2] if rest[0] == "S" else rest[0]
        params, rest = params + named[token].num_params(width), rest[len(token) :]
    assert nas_bert.embedding_rule is not None
    assert nas_bert.embedding_rule.size(params + (embedding != width) * (embedding * width + width)) == embedding


def test_embedding_rule_bounds() -> None:
    rule = EmbeddingRule(((100, 32), (200, 64)), 128)
    assert [rule.size(n) for n in (0, 100, 101, 200, 201, 10**9)] == [32, 32, 64, 64, 128, 128]
    found = Architecture(64, (FREE.paths[0],) * 2)
    assert replace(FREE, embedding_rule=rule).with_rule(found, 50).embedding_size == 32
    assert FREE.with_rule(found, 50) is found


def test_paths_by_slow_reference() -> None:
    """Every product of operations and identities, of which the grammar keeps those with identities at the end."""
    for space in (FREE, STRICT):
        found = set()
        for width in space.widths:
            for choice in product((None, *space.operations[width]), repeat=space.num_layers):
                taken = [operation for operation in choice if operation is not None]
                ends = all(operation is None for operation in choice[len(taken) :])
                alike = any(a.kind == b.kind for a, b in pairwise(taken))
                if taken and ends and not (space.alternate and alike):
                    found.add(Path(width, tuple(taken)))
        assert len(space.paths) == len(found)
        assert set(space.paths) == found


def test_a_prefix_comes_before_its_extensions() -> None:
    place = {path: i for i, path in enumerate(STRICT.paths)}
    for path in STRICT.paths:
        if path.depth > 1:
            assert place[Path(path.width, path.operations[:-1])] < place[path]


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
def test_moves_stay_in_the_space(name: str, seed: int) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    for _ in range(6):
        assert space.contains(a)
        child = space.crossover(a, b, rng)
        assert space.contains(child)
        assert child.embedding_size in (a.embedding_size, b.embedding_size)
        assert all(path in pair for path, pair in zip(child.paths, zip(a.paths, b.paths, strict=True), strict=True))
        a, b = b, space.mutate(child, rng)
        slots = [b.embedding_size != child.embedding_size, *(x != y for x, y in zip(b.paths, child.paths, strict=True))]
        assert sum(slots) == 1 or (name == "one_path" and sum(slots) == 0)


def test_mutation_reaches_every_path() -> None:
    rng, start = np.random.default_rng(0), SHRUNK.sample(np.random.default_rng(1))
    seen, here = set(), start
    for _ in range(4000):
        here = SHRUNK.mutate(here, rng)
        seen.add((0, here.paths[0]))
        seen.add((1, here.paths[1]))
    assert len(seen) == sum(len(SHRUNK.block_paths(block)) for block in range(2))


def test_mutation_brings_strangers_back() -> None:
    """The teacher's own path is a candidate without belonging to the space."""
    strange = Architecture(64, (parse_architecture("e1/128:M8-F3", 16).paths[0],) * 2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        after = SHRUNK.mutate(strange, rng)
        assert all(p in SHRUNK.block_paths(i) for i, p in enumerate(after.paths) if p != strange.paths[i])


def test_a_rule_leaves_no_embedding_to_mutate() -> None:
    space = replace(FREE, embedding_rule=EmbeddingRule(((1, 32),), 64))
    rng = np.random.default_rng(0)
    start = space.sample(rng)
    assert all(space.mutate(start, rng).embedding_size == start.embedding_size for _ in range(50))


@pytest.mark.parametrize("space", [*SPACES.values(), GRID], ids=lambda space: space.name)
def test_same_seed_same_draws(space: Any) -> None:
    def draws() -> list[Any]:
        rng = np.random.default_rng(5)
        first = [space.sample(rng) for _ in range(5)]
        return [*first, space.mutate(first[0], rng), space.crossover(first[1], first[2], rng)]

    assert draws() == draws()


def test_sampling_is_uniform_over_paths() -> None:
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(ONE_PATH.block_paths(1), 0)
    for _ in range(2000):
        counts[ONE_PATH.sample(rng).paths[1]] += 1
    assert all(abs(count - 1000) < 120 for count in counts.values())


def test_contains() -> None:
    inside = SHRUNK.sample(np.random.default_rng(0))
    removed = next(p for p in FREE.paths if p not in SHRUNK.block_paths(0))
    assert SHRUNK.contains(inside)
    assert not SHRUNK.contains(replace(inside, embedding_size=48))
    assert not SHRUNK.contains(replace(inside, paths=inside.paths[:1]))
    assert not SHRUNK.contains(replace(inside, paths=(removed, inside.paths[1])))
    assert FREE.contains(replace(inside, paths=(removed, inside.paths[1])))


def test_restrict() -> None:
    assert SHRUNK.num_architectures == len(SHRUNK.block_paths(0)) * len(SHRUNK.block_paths(1))
    assert FREE.num_architectures == len(FREE.paths) ** 2
    with pytest.raises(SpaceError, match="1 blocks"):
        FREE.restrict([frozenset({"32:M2"})])
    with pytest.raises(SpaceError, match="block 1"):
        FREE.restrict([frozenset({"32:M2"}), frozenset({"nonsense"})])


def test_a_space_travels_light(nas_bert: PathSpace) -> None:
    _ = nas_bert.paths
    sent = pickle.dumps(nas_bert)
    assert len(sent) < 5000
    assert pickle.loads(sent) == nas_bert
    assert pickle.loads(sent).num_architectures == nas_bert.num_architectures


@given(seed=SEEDS)
def test_uniform_moves_stay_in_the_space(seed: int) -> None:
    space, rng = GRID, np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    assert space.contains(space.mutate(a, rng))
    assert space.contains(space.crossover(a, b, rng))
    assert space.mutate(a, rng) != a


def test_uniform_without_neighbours() -> None:
    space = UniformSpace("one", (2,), (2,), (8,), (16,))
    (only,) = space.architectures
    assert space.mutate(only, np.random.default_rng(0)) == only


def test_in_a_shrunk_space_listed_edits_have_the_chances_of_tried_ones() -> None:
    rng, path = np.random.default_rng(0), SHRUNK.block_paths(0)[7]
    near, edges, chance = SHRUNK._neighbours(0, path)
    tried = [SHRUNK._edit(path, rng) for _ in range(20_000)]
    hits = [changed for changed in tried if changed != path and changed in SHRUNK.block_paths(0)]
    assert set(hits) == set(near)
    assert len(hits) / len(tried) == pytest.approx(chance, abs=0.015)
    shares = np.diff([0.0, *edges, 1.0])
    assert [hits.count(changed) / len(hits) for changed in near] == pytest.approx(shares.tolist(), abs=0.03)
