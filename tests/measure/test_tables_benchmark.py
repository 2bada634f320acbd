"""The benchmark of latency tables: models that calibrated none, errors by hand, a tiny table measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.tables import compare, errors, held_out, size_of
from nas_ray.measure import LatencyRequest, measure_latency
from nas_ray.space import PathSpace, TeacherShape, all_parts
from nas_ray.stages.profile import check_models
from nas_ray.tables import Costs, PartTable, params_table

SHAPE = TeacherShape(64, 4, 4, 256, 400, 32, 27_776, 200_000)


@pytest.fixture
def costs(tiny_space: PathSpace) -> Costs:
    params = params_table(tiny_space, SHAPE)
    return Costs(tiny_space, SHAPE, "inherit", params, params, PartTable("latency_ms", "ms", params.values))


def test_held_out_models_are_seeded_new_and_of_all_sizes(costs: Costs) -> None:
    models = held_out(costs, 30, 0)
    assert models == held_out(costs, 30, 0) != held_out(costs, 30, 1)
    assert len(set(models)) == 30
    assert not set(models) & set(check_models(costs.space, SHAPE, "inherit", 24, 0))
    sizes = [size_of(costs, parts) for parts in models]
    assert sizes == sorted(sizes)
    everything = [size_of(costs, costs.parts(costs.space.sample(np.random.default_rng(k)))) for k in range(500)]
    assert np.percentile(everything, 10) > sizes[1]
    assert np.percentile(everything, 90) < sizes[-2]


def test_errors_by_hand(costs: Costs) -> None:
    models = held_out(costs, 6, 0)
    true = [costs.latency.total(parts) for parts in models]
    measured = [t * f for t, f in zip(true, (1, 1 / 1.1, 1 / 1.2, 1, 1 / 1.4, 1), strict=True)]
    found = errors(models, costs, measured, 1.0)
    slower = errors(models, costs, [2 * t for t in measured], 2.0)
    assert slower["median_share_error_percent"] == found["median_error_percent"]
    assert slower["median_error_percent"] > found["median_error_percent"]
    assert found["median_error_percent"] == pytest.approx(5.0)
    assert found["worst_error_percent"] == pytest.approx(40.0)
    assert found["spearman"] == pytest.approx(
        1.0 if sorted(measured) == measured else np.corrcoef(np.argsort(np.argsort(measured)), range(6))[0, 1], abs=1e-4
    )
    assert found["spearman_middle"] == (1.0 if measured[2] < measured[3] else -1.0)
    assert errors(models, costs, true, 1.0)["spearman"] == 1.0


def test_models_are_measured_at_the_tables_own_key(costs: Costs) -> None:
    request = LatencyRequest(
        parts=all_parts(costs.space, SHAPE), models=(), vocab_size=400, num_positions=32, head_size=16, device="cpu",
        runtime="eager", dtype="fp32", threads=1, sequence_length=8, batch_size=2, repeats=3,
    )  # fmt: skip
    latency = measure_latency(request)
    row = compare(costs.space, SHAPE, latency, 5, 4, 0)
    assert (row["runtime"], row["batch_size"], row["sequence_length"], row["models"]) == ("eager", 2, 8, 5)
    assert all(value > 0 for value in row["measured_ms"])
    assert row["table_ms"] == pytest.approx(
        [latency.total(parts) for parts in held_out(replace(costs, latency=latency), 5, 0)], abs=1e-3
    )
