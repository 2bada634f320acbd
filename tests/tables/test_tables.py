"""Lookup tables: read back as written, refused when they are not what they should be, and additive."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_ray.errors import TableError
from nas_ray.space import Architecture, PathSpace, Start, TeacherShape, all_parts, part_params, parts
from nas_ray.tables import (
    COST_METRICS,
    Costs,
    PartTable,
    QualityTable,
    params_table,
    read_parquet,
    size_scores,
    write_parquet,
)

SHAPE = TeacherShape(64, 4, 4, 256, vocab_size=400, num_positions=128, embedding_params=(400 + 128 + 2 + 2) * 64,
                     encoder_params=4 * 49_984)  # fmt: skip
PARTS = PartTable(
    "latency_ms",
    "ms",
    {"embedding:32": 0.25, "map:32-64": 1e-3, "64:M4": 3.0},
    {"64:M4": 0.5},
    slope=1.25,
    intercept=0.125,
    metadata={"device": "a 'CPU'", "threads": 2, "error": 0.03, "nested": {"list": [1, 2.5, None]}},
)
QUALITY = QualityTable(
    ({"e32": 0.5, "e64": 0.0}, {"64:M4": 0.25, "32:F1-M2": 0.125}, {"64:M4": 1.5}),
    {"guarantee": "whole space", "tokens": 1024, "refitted": True},
)


@pytest.fixture(params=["t.parquet", "new/folder/t.parquet", "a=1/b c's ü/t.parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_part_table_round_trip(file: Path) -> None:
    PARTS.write(file)
    assert PartTable.read(file) == PARTS


def test_quality_table_round_trip(file: Path) -> None:
    QUALITY.write(file)
    assert QualityTable.read(file) == QUALITY


def test_scores_are_kept_beside_losses(file: Path) -> None:
    table = replace(QUALITY, scores=({"e32": 0.5, "e64": 0.0}, {"64:M4": 0.5, "32:F1-M2": 0.25}, {"64:M4": 3.0}))
    table.write(file)
    assert QualityTable.read(file) == table
    assert QUALITY.scores == QUALITY.losses


def test_scores_hold_small_paths_back() -> None:
    losses, params = {"a": 0.1, "b": 0.2, "c": 0.0}, {"a": 100.0, "b": 1600.0, "c": 1600.0}
    assert size_scores(losses, params, 0.25) == pytest.approx({"a": 0.2, "b": 0.2, "c": 0.0})
    assert size_scores(losses, params, 0.0) == losses


def test_slots_without_losses_are_kept(tmp_path: Path) -> None:
    for table in (QualityTable(({}, {}, {})), QualityTable(({"e32": 1.0}, {}, {"64:M4": float("inf")}))):
        table.write(tmp_path / "q.parquet")
        assert QualityTable.read(tmp_path / "q.parquet") == table


def test_metadata_does_not_displace_the_tables_own(tmp_path: Path) -> None:
    """A measurement may note anything; what reading needs stays."""
    notes = {"table": "x", "metric": "x", "unit": "x", "slope": 9.0, "slots": 9, "device": "cpu"}
    replace(PARTS, metadata=notes).write(tmp_path / "p.parquet")
    assert replace(PartTable.read(tmp_path / "p.parquet"), metadata={}) == replace(PARTS, metadata={})
    replace(QUALITY, metadata=notes).write(tmp_path / "q.parquet")
    assert QualityTable.read(tmp_path / "q.parquet").losses == QUALITY.losses


@settings(max_examples=20)
@given(values=st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=8))
def test_any_numbers_round_trip(tmp_path_factory: pytest.TempPathFactory, values: dict[str, float]) -> None:
    file = tmp_path_factory.getbasetemp() / "any.parquet"
    table = PartTable("flops", "FLOPs", values)
    table.write(file)
    assert PartTable.read(file) == table


def test_other_tools_can_read_them(tmp_path: Path) -> None:
    PARTS.write(tmp_path / "p.parquet")
    columns = pq.read_table(tmp_path / "p.parquet").to_pydict()
    assert columns == {
        "part": ["64:M4", "embedding:32", "map:32-64"],
        "latency_ms": [3.0, 0.25, 1e-3],
        "spread": [0.5, None, None],
    }


def test_writing_leaves_nothing_else(tmp_path: Path) -> None:
    PARTS.write(tmp_path / "p.parquet")
    PARTS.write(tmp_path / "p.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]


def test_failing_to_write_keeps_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PARTS.write(tmp_path / "p.parquet")

    def full(table: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        replace(PARTS, slope=2.0).write(tmp_path / "p.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]
    assert PartTable.read(tmp_path / "p.parquet") == PARTS


# -- what is refused --------------------------------------------------------------------------------------------------


def stored(columns: dict[str, list[Any]], metadata: bytes | None) -> pa.Table:
    return pa.table(columns).replace_schema_metadata(None if metadata is None else {b"nas_ray": metadata})


@pytest.mark.parametrize("kind", [PartTable, QualityTable])
def test_missing_file(tmp_path: Path, kind: Any) -> None:
    for place in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(TableError, match="no such table; run the stage"):
            kind.read(place)


@pytest.mark.parametrize("kind", [PartTable, QualityTable])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table at all", b"PAR1" + bytes(200) + b"PAR1"])
def test_corrupt_file(tmp_path: Path, kind: Any, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(TableError, match=r"x\.parquet: not a lookup table of nas_ray .*; measure it again") as caught:
        kind.read(tmp_path / "x.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_truncated_file(tmp_path: Path, keep: float) -> None:
    file = tmp_path / "x.parquet"
    PARTS.write(file)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(TableError, match="not a lookup table"):
        PartTable.read(file)


@pytest.mark.parametrize("metadata", [None, b"{", b"[]", b"3", b"null", b'"text"', b"\xff"])
def test_foreign_metadata(tmp_path: Path, metadata: bytes | None) -> None:
    pq.write_table(stored({"a": [1]}, metadata), tmp_path / "x.parquet")
    with pytest.raises(TableError, match=r"not a (lookup table|table of parts)"):
        PartTable.read(tmp_path / "x.parquet")


def test_one_table_is_not_the_other(tmp_path: Path) -> None:
    PARTS.write(tmp_path / "p.parquet")
    QUALITY.write(tmp_path / "q.parquet")
    with pytest.raises(TableError, match="not a quality table"):
        QualityTable.read(tmp_path / "p.parquet")
    with pytest.raises(TableError, match="not a table of parts; accepted"):
        PartTable.read(tmp_path / "q.parquet")


@pytest.mark.parametrize("lost", ["metric", "unit", "slope", "intercept"])
def test_part_table_without_its_keys(tmp_path: Path, lost: str) -> None:
    known = {"table": "parts", "metric": "flops", "unit": "FLOPs", "slope": 1.0, "intercept": 0.0}
    del known[lost]
    columns: dict[str, list[Any]] = {"part": ["a"], "flops": [1.0], "spread": [None]}
    write_parquet(tmp_path / "x.parquet", columns, known)
    with pytest.raises(TableError, match=f"without '{lost}'"):
        PartTable.read(tmp_path / "x.parquet")


@pytest.mark.parametrize("lost", ["part", "flops", "spread"])
def test_part_table_without_a_column(tmp_path: Path, lost: str) -> None:
    known = {"table": "parts", "metric": "flops", "unit": "FLOPs", "slope": 1.0, "intercept": 0.0}
    columns: dict[str, list[Any]] = {"part": ["a"], "flops": [1.0], "spread": [None]}
    del columns[lost]
    write_parquet(tmp_path / "x.parquet", columns, known)
    with pytest.raises(TableError, match=f"without '{lost}'"):
        PartTable.read(tmp_path / "x.parquet")


def test_quality_table_with_a_slot_too_many(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"slot": [0, 3], "choice": ["e32", "64:M4"], "loss": [0.0, 1.0]}
    write_parquet(tmp_path / "x.parquet", columns, {"table": "quality", "slots": 2})
    with pytest.raises(TableError, match="tabulate again"):
        QualityTable.read(tmp_path / "x.parquet")


def test_metadata_is_json_in_the_schema(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", {"a": [1, 2]}, {"unit": "ms"})
    assert read_parquet(tmp_path / "x.parquet") == ({"a": [1, 2]}, {"unit": "ms"})
    assert json.loads(pq.read_schema(tmp_path / "x.parquet").metadata[b"nas_ray"]) == {"unit": "ms"}


def test_missing_part() -> None:
    with pytest.raises(TableError, match=r"latency_ms table lacks the part '64:F4'.*measure it again"):
        PARTS.total(["64:M4", "64:F4"])


def test_missing_loss() -> None:
    path = Architecture(32, ()).paths
    assert path == ()
    with pytest.raises(TableError, match="has 2 blocks, the architecture 0"):
        QUALITY.total(Architecture(32, ()))


# -- sums -------------------------------------------------------------------------------------------------------------


def test_part_total() -> None:
    assert PARTS.total(["embedding:32", "64:M4", "64:M4"]) == 1.25 * 6.25 + 0.125
    assert PARTS.total([]) == 0.125


def test_quality_total(tiny_space: PathSpace) -> None:
    path = next(p for p in tiny_space.paths if p.path_id == "64:M4")
    both = Architecture(32, (path, path))
    assert QUALITY.total(both) == 0.5 + 0.25 + 1.5
    assert QUALITY.total(replace(both, embedding_size=48)) == 0.25 + 1.5
    unknown = next(p for p in tiny_space.paths if p.path_id == "64:F1")
    with pytest.raises(TableError, match="no loss for path 64:F1 of block 1"):
        QUALITY.total(Architecture(32, (path, unknown)))


def made_up(space: PathSpace, metric: str, seed: int, **numbers: float) -> PartTable:
    rng = np.random.default_rng(seed)
    return PartTable(metric, "", {part: float(rng.random()) for part in all_parts(space, SHAPE)}, **numbers)


@pytest.fixture(scope="module", params=["inherit", "scratch"])
def costs(request: pytest.FixtureRequest, tiny_space: PathSpace) -> Costs:
    start: Start = request.param
    latency = made_up(tiny_space, "latency_ms", 1, slope=0.75, intercept=0.5)
    return Costs(tiny_space, SHAPE, start, params_table(tiny_space, SHAPE), made_up(tiny_space, "flops", 2), latency)


def some(costs: Costs) -> list[Architecture]:
    rng = np.random.default_rng(3)
    assert costs.frozen is not None
    teacher = Architecture(64, (costs.frozen,) * 2)
    mixed = costs.space.sample(rng)
    return [
        *(costs.space.sample(rng) for _ in range(50)),
        teacher,
        replace(mixed, paths=(costs.frozen, mixed.paths[1])),
    ]


def test_costs_are_sums_of_parts(costs: Costs) -> None:
    for architecture in some(costs):
        found = parts(architecture, SHAPE, costs.start, costs.frozen)
        whole = sum(part_params(part, SHAPE, 16) for part in found)
        embedding = part_params(found[0], SHAPE, 16)
        assert costs.of(architecture) == {
            "encoder_params": whole - embedding,
            "params": whole,
            "latency_ms": pytest.approx(0.5 + 0.75 * sum(costs.latency.values[part] for part in found)),
            "flops": pytest.approx(sum(costs.flops.values[part] for part in found)),
        }
    assert tuple(costs.of(architecture)) == COST_METRICS


def test_additive_and_offset_make_the_total(costs: Costs) -> None:
    """However the parts are divided, as solvers do who add slot after slot."""
    for architecture in some(costs):
        total, names = costs.of(architecture), costs.parts(architecture)
        for metric in COST_METRICS:
            one_by_one = sum(costs.additive([name], metric) for name in names)
            at_once = costs.additive(names, metric)
            assert costs.offset(metric) + at_once == pytest.approx(total[metric], rel=1e-12)
            assert one_by_one == pytest.approx(at_once, rel=1e-12)


def test_slot_by_slot_is_the_whole(costs: Costs) -> None:
    for architecture in some(costs):
        before, names = (
            costs.embedding_boundary(architecture.embedding_size),
            [f"embedding:{architecture.embedding_size}"],
        )
        for path in architecture.paths:
            after = costs.path_boundary(path)
            names += [*costs.seam(before, after), *(f"{path.width}:{o.token}" for o in path.operations)]
            before = after
        assert (*names, *costs.seam(before, None)) == costs.parts(architecture)


def test_the_teacher_costs_what_it_does(costs: Costs) -> None:
    assert costs.frozen is not None
    found = costs.of(Architecture(64, (costs.frozen,) * 2))
    assert found["encoder_params"] == SHAPE.encoder_params
    assert found["params"] == SHAPE.encoder_params + SHAPE.embedding_params


def test_params_table_is_exact(tiny_space: PathSpace) -> None:
    table = params_table(tiny_space, SHAPE)
    assert set(table.values) == set(all_parts(tiny_space, SHAPE))
    assert all(table.part(part) == part_params(part, SHAPE, 16) for part in table.values)
    assert TeacherShape(**table.metadata["teacher"]) == SHAPE  # so that a front needs no teacher
