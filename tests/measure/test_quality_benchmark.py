"""The quality benchmark in its parts: arms of one size, what a training imports, rows that are continued, intervals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import _run
from benchmarks.quality._arms import BAND, choose, kept_layers, random_ones
from benchmarks.quality._bundle import DROPPED, RANDOM, SEARCHED, UNIFORM, Arm, Arms, Model, sentence_arrays
from benchmarks.quality._intervals import Resamples, interval
from benchmarks.quality._prepare import BUCKETS, buckets
from benchmarks.quality._report import lines
from benchmarks.quality._results import MEASURES, Results
from benchmarks.quality._rows import Rows
from benchmarks.quality._run import jobs, left
from benchmarks.quality._setting import SETTINGS, Setting
from benchmarks.quality._studio import Job, in_buckets
from nas_ray.data import Example
from nas_ray.measure import Sentences
from nas_ray.space import PathSpace, TeacherShape, parse_architecture
from nas_ray.spec import load_space
from nas_ray.tables import Costs, PartTable, QualityTable, params_table

ROOT = Path(__file__).parents[2]
HEAVY = ("datasets", "matplotlib", "mlflow", "onnxruntime", "optuna", "pandas", "pyarrow", "pydantic", "ray")
SHAPE = TeacherShape(384, 6, 12, 1536, 30522, 512, 11_918_592, 10_646_784)


@pytest.fixture(scope="module")
def costs() -> Costs:
    space = load_space(str(ROOT / "benchmarks/quality/space.yaml"))
    assert isinstance(space, PathSpace)
    params = params_table(space, SHAPE)
    flops = PartTable("flops", "operations", {part: 256.0 * value for part, value in params.values.items()})
    # A map costs more time than its weights say, an embedding less: other architectures are best by latency.
    times = {p: 1e-6 * v * (5 if p.startswith("map") else 1) for p, v in params.values.items()}
    latency = {part: 0.05 if part.startswith("embedding") else value for part, value in times.items()}
    return Costs(space, SHAPE, "inherit", params, flops, PartTable("latency_ms", "ms", latency, intercept=0.5))


@pytest.fixture(scope="module")
def arms(costs: Costs) -> Arms:
    rng = np.random.default_rng(0)
    losses: list[dict[str, float]] = [{f"e{size}": 0.3 * (1 - size / 384) for size in costs.space.embedding_sizes}]
    for _ in range(3):
        losses.append({p.path_id: float(rng.uniform(0.8, 1.2)) / p.num_params() ** 0.3 for p in costs.space.paths})
        assert costs.frozen is not None
        losses[-1][costs.frozen.path_id] = 0.0
    return choose(costs, QualityTable(tuple(losses)), randoms=10, seed=0)


def test_every_arm_has_the_size_of_the_uniform_encoder(arms: Arms, costs: Costs) -> None:
    assert arms.sizes == ("192 x 3", "192 x 6", "256 x 6", "320 x 6")
    for size in range(4):
        (uniform,) = (arms.models[name] for name in arms.of(size, UNIFORM))
        for arm, metric in {**SEARCHED, RANDOM: "encoder_params"}.items():
            found = [arms.models[name] for name in arms.of(size, arm)]
            assert len(found) == len({model.arch for model in found}) == (10 if arm == RANDOM else 1)
            for model in found:
                architecture = parse_architecture(model.arch, 32)
                true = costs.of(architecture)
                assert model.costs == pytest.approx(true)
                assert BAND * uniform.costs[metric] <= true[metric] <= uniform.costs[metric]
                assert arm != RANDOM or architecture.embedding_size == 384
        (dropped,) = (arms.models[name] for name in arms.of(size, DROPPED))
        assert dropped.costs["encoder_params"] == len(dropped.layers or ()) * SHAPE.encoder_params / 6


def test_random_architectures_are_a_function_of_the_seed(arms: Arms, costs: Costs) -> None:
    def names(seed: int) -> list[str]:
        return [a.arch_id for a in random_ones(costs, 2_891_328, 4, (seed, 1))]

    assert names(0) == names(0) == [arms.models[name].arch for name in arms.of(1, RANDOM)[:4]]
    assert names(0) != names(1)


def test_copies_keep_the_middle_of_equal_parts() -> None:
    assert [kept_layers(6, count) for count in (1, 2, 3, 4)] == [(3,), (1, 4), (1, 3, 5), (0, 2, 3, 5)]
    assert kept_layers(12, 4) == (1, 4, 7, 10)


def test_what_trains_needs_no_more_than_a_bare_machine_has() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY}))
import benchmarks.quality.__main__, benchmarks.quality._run
print(sorted(name for name in {HEAVY} if sys.modules[name] is not None))
print(sorted({{name.split('.')[1] for name in sys.modules if name.startswith('nas_ray.')}} - {{'_files', 'errors'}}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy, own = done.stdout.splitlines()
    assert heavy == "[]"
    for name in ("stages", "search", "spec", "cluster", "tracking", "export", "report", "api"):
        assert f"'{name}'" not in own


def small(**changes: Any) -> tuple[Arms, Setting]:
    """Two sizes; at the first the uniform encoder is what is searched by latency too."""
    costs = dict.fromkeys(("encoder_params", "params", "flops", "latency_ms"), 1e6)
    names = {0: ["u0", "s0", "s0", "u0", "d0", "r0", "r1"], 1: ["u1", "s1", "t1", "l1", "d1", "r2", "r3"]}
    order = [UNIFORM, *SEARCHED, DROPPED, RANDOM, RANDOM]
    arms = [Arm(size, arm, model) for size in names for arm, model in zip(order, names[size], strict=True)]
    models = {model: Model(model, costs, ()) for found in names.values() for model in found}
    weights = {measure.key: [1.0] * 8 for measure in MEASURES}
    about = {
        "digest": "0123abcd", "weights": weights, "chance": {"movie": 0.5, "question": 0.25},
        "latency_key": {"runtime": "onnxruntime"}, "supernet_tokens": 1, "supernet_path_tokens": 4,
        "test_texts_in_search": 0,
    }  # fmt: skip
    setting = Setting("x", 100, (0, 1), 4, {}, **{"sizes": 2, **changes})
    return Arms(("small", "large"), models, tuple(arms), about), setting


def test_equal_architectures_are_trained_once() -> None:
    arms, setting = small()
    found = jobs(arms, setting)
    assert len(found) == len(set(found)) == 1 + 2 * ((3 + 2 + 5 + 2) + (3 + 5))
    assert found[0].model == "teacher"
    assert {job.seed for job in found if job.model.startswith("r")} == {0}
    assert len(jobs(*small(randoms=1, sizes=1))) == 1 + 2 * (3 + 1 + 3)


def row(job: Job, value: float = 0.5) -> dict[str, Any]:
    parts = {measure.key: [value + 0.01 * k for k in range(8)] for measure in MEASURES}
    return {
        "table": job.table, "model": job.model, "seed": job.seed, "arch": job.model, "tokens": 100,
        "train_s": 1.0, "measure_s": 0.5, "parts": parts,
    }  # fmt: skip


def test_rows_are_continued(tmp_path: Path) -> None:
    arms, setting = small()
    rows = Rows(tmp_path / "deep" / "rows.jsonl", arms.digest, setting.tokens)
    todo = jobs(arms, setting)
    rows.append(row(todo[0]))
    rows.append(row(todo[2]))
    with rows.file.open("a") as file:
        file.write(json.dumps(row(todo[3]))[:20])  # the machine went down
    assert left(arms, setting, rows.read()) == [todo[1], *todo[3:]]
    rows.append(row(todo[1]))
    assert left(arms, setting, rows.read()) == todo[3:]
    assert Rows(rows.file, "another", setting.tokens).read() == []
    assert Rows(rows.file, arms.digest, 99).read() == []


def test_a_sitting_ends_in_time_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms, setting = small()
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    arms.write(bundle / "arms.json")
    made: list[Job] = []

    class Fake:
        def __init__(self, *_: object) -> None: ...

        def open(self) -> Fake:
            return self

        def row(self, job: Job) -> dict[str, Any]:
            made.append(job)
            now[0] += 60.0
            return {**row(job), "train_s": 50.0, "measure_s": 10.0}

    now = [0.0]
    monkeypatch.setattr(_run, "Studio", Fake)
    monkeypatch.setattr(_run.time, "monotonic", lambda: now[0])
    file = tmp_path / "rows.jsonl"
    _run.run(bundle, setting, minutes=10, workers=1, file=file)
    assert 5 < len(made) <= 10
    assert now[0] <= 600
    while len(made) < len(jobs(arms, setting)):
        _run.run(bundle, setting, minutes=10, workers=1, file=file)
    assert made == jobs(arms, setting)
    _run.run(bundle, setting, minutes=10, workers=2, file=file)  # nothing is left
    assert len(file.read_text().splitlines()) == len(made)
    assert Arms.read(tmp_path / "arms.json") == arms


def test_buckets_are_whole_groups_of_like_size() -> None:
    examples = [Example(f"{g} {k}", 0.0, f"g{g}") for g in range(300) for k in range(1 + g % 7)]
    found = buckets(examples)
    assert len({(e.group, int(b)) for e, b in zip(examples, found, strict=True)}) == 300
    counts = np.bincount(found, minlength=BUCKETS)
    assert counts.max() - counts.min() <= 2
    assert (buckets(examples) == found).all()


def test_buckets_keep_the_mean() -> None:
    rng = np.random.default_rng(0)
    values, weights, bucket = rng.normal(size=100), rng.uniform(1, 2, size=100), np.arange(100) % 8
    means = in_buckets(values, bucket, weights)
    whole = Resamples(np.bincount(bucket, weights).tolist(), count=1).means(means)[0]
    assert whole == pytest.approx((values * weights).sum() / weights.sum())


def test_intervals_have_the_spread_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(3.0, 1.0, size=400)
    found = interval(Resamples([1.0] * 400).means(values))
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert found.excludes_0


def test_differences_are_paired_and_ranks_count() -> None:
    arms, setting = small()
    values = {"u0": 0.50, "s0": 0.46, "d0": 0.60, "r0": 0.40, "r1": 0.55, "u1": 0.3, "s1": 0.28}
    rows = [
        row(job, values[job.model] + 0.05 * job.seed if job.model != "teacher" else 0.8)
        for job in jobs(arms, setting)
        if job.model in ("teacher", *values) and job.table != "scratch"
    ]
    results, loss = Results(arms, rows, resamples=200), MEASURES[0]
    arm = next(iter(SEARCHED))
    per_size, pooled = results.compared("teacher", loss, arm, UNIFORM)
    for one, true in zip([*per_size, pooled], [-0.04, -0.02, -0.03], strict=True):
        assert one is not None
        assert (one.value, one.low, one.high) == pytest.approx((true,) * 3)  # alike in every bucket and seed
    assert results.value("teacher", loss, 0, UNIFORM) == pytest.approx(0.525 + 0.035)
    assert results.place("teacher", loss, 0, arm) == (2, 3)
    assert results.place("teacher", loss, 1, arm) is None  # no random architecture is finished
    assert results.compared("scratch", loss, arm, UNIFORM) == ([None, None], None)
    share = results.value("teacher", MEASURES[3], 0, arm)
    assert share == pytest.approx((0.46 + 0.025 + 0.035 - 0.5) / (0.8 + 0.035 - 0.5))
    text = "\n".join(lines(arms, results, setting, {"torch teacher": 10.0, "torch s0": 4.0}))
    assert "4.00 ms, 2.5x" in text
    assert f"| normalised loss (less is better) | {arm} - uniform | **-0.0400 [-0.0400, -0.0400]**" in text
    assert f"| normalised loss | {arm} | 2 of 3 |" in text


def test_tokens_travel_as_they_are() -> None:
    arrays = sentence_arrays("a", [[1, 2, 3], [4]], np.uint16)
    found = Sentences(arrays["a.ids"], arrays["a.lengths"])
    assert found.take([1, 0]).rows()[0].tolist() == [[4, 0, 0], [1, 2, 3]]


def test_settings_are_of_the_sizes_that_were_asked_for() -> None:
    cpu = SETTINGS["cpu"]
    assert (cpu.tokens, len(cpu.seeds), cpu.randoms, cpu.sizes) == (500_000, 3, 10, 4)
    assert SETTINGS["gpu"].device == "cuda"
