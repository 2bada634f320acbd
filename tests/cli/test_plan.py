"""What `--plan` says: close to what the quickstart took, exact where it can be, and useful without the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas_ray import api
from nas_ray.errors import TeacherError
from nas_ray.space import PathSpace, TeacherShape
from nas_ray.spec import load_space, load_space_spec, load_trial, shipped
from nas_ray.stages._estimates import Estimate
from nas_ray.stages._rates import operation_rate
from nas_ray.stages._shrinking import shrinking
from tests.tiny_trial import nas_ray, write_trial

MINILM = TeacherShape(384, 6, 12, 1536, 30522, 512, 31_036 * 384, 10_646_784)
BERT = TeacherShape(768, 12, 12, 3072, 30522, 512, 31_038 * 768, 85_054_464)
MEASURED = {"profile": 17, "supernet": 132, "tabulate": 164, "search": 72, "test": 49}  # docs/benchmarks.md


def estimate(trial: str, shape: TeacherShape = BERT, *overrides: str) -> Estimate:
    spec = load_trial(trial, overrides)
    space = load_space(spec.space)
    assert isinstance(space, PathSpace)
    return Estimate(spec, space, shape)


def test_the_quickstart_takes_about_what_it_took() -> None:
    found = estimate("quickstart", MINILM).seconds(100e9)  # two cores of about 50 GFLOP/s
    for stage, seconds in MEASURED.items():
        assert seconds / 1.5 < found[stage] < seconds * 1.5, stage
    assert sum(found.values()) == pytest.approx(436, rel=0.2)
    assert list(found) == ["profile", "supernet", "tabulate", "search", "test", "report"]


@pytest.mark.parametrize(
    ("override", "stage"),
    [
        ("supernet.steps=160", "supernet"),
        ("supernet.sample_paths=80", "supernet"),
        ("supernet.shrink={warm_epochs: 1, epochs: 4}", "supernet"),
        ("text.calibrate_batches=20", "tabulate"),
        ("search.num_candidates=96", "search"),
        ("text.test_batches=24", "test"),
        ("latency.check_models=48", "profile"),
    ],
)
def test_more_work_takes_longer(override: str, stage: str) -> None:
    base, more = (estimate("quickstart", MINILM, *overrides).seconds(1e11) for overrides in ((), (override,)))
    assert more[stage] > 1.1 * base[stage]


def test_what_need_not_be_done_takes_no_time() -> None:
    cached, streamed = (
        estimate("quickstart", MINILM, "supernet.steps_per_epoch=10", f"supernet.cache_bytes={size}").supernet()
        for size in (10**9, 0)
    )
    assert cached < streamed
    shrunk = estimate("quickstart", MINILM, "supernet.shrink={}").seconds(1e11)
    assert shrunk["tabulate"] < 0.6 * estimate("quickstart", MINILM).seconds(1e11)["tabulate"]
    assert estimate("quickstart", MINILM, "latency.table=x").seconds(1e11)["profile"] == 9
    assert estimate("quickstart", MINILM, "ranking.paths=8").seconds(1e11)["rank"] > 60


@pytest.mark.parametrize("start", ["inherit", "scratch"])
def test_the_supernets_weights_are_counted(start: Any) -> None:
    import torch

    from nas_ray.blocks import BlockSupernet
    from nas_ray.modeling import Numerics

    found = estimate("quickstart", MINILM, f"supernet.start={start}")
    with torch.device("meta"):
        supernet = BlockSupernet(found.space, 384, Numerics(), None, start)
    weights = sum(parameter.numel() for parameter in supernet.parameters())
    memory = found.memory()
    assert (memory.weights, memory.moments) == (4 * weights, 8 * weights)
    assert found.checkpoint_bytes == 6 * memory.weights
    assert 0 < memory.gradients < memory.weights
    assert memory.total == sum(vars(memory).values())


def test_work_space_is_that_of_one_update_and_on_a_gpu_that_of_scoring() -> None:
    def work(*overrides: str) -> int:
        sizes = ("text.batch_sequences=512", "text.calibrate_batches=2", "text.select_batches=1", "search.rungs=[1]")
        return estimate("quickstart", MINILM, *sizes, "tabulate.select_batches=1", *overrides).memory().work

    whole, quarter = work("supernet.updates=1"), work("supernet.updates=4")
    assert quarter < whole
    assert work("supernet.updates=1", "supernet.device=cuda", "tabulate.memory_bytes=0") == whole
    assert work("supernet.device=cuda", "tabulate.memory_bytes=90000000000") == 90_000_000_000


def test_boundaries_are_counted_as_the_cache_counts_them() -> None:
    import torch

    from nas_ray.distill._store import Boundary, BoundaryCache

    found = estimate("quickstart", MINILM, "supernet.steps_per_epoch=3")
    cache = BoundaryCache(10**9)
    for batch in range(3):
        cache.put(batch, Boundary(torch.zeros(8, 128, 384), torch.zeros(8, 128, 384), None))
    assert found.boundary_bytes == found.cached_bytes == cache.used
    cache.close()
    assert estimate("quickstart", MINILM, "supernet.cache_bytes=1000").cached_bytes == 1000


def test_an_epoch_of_the_paper() -> None:
    """About 4 G tokens: 24.6 TB of boundaries a block; a block of the paper fits a card of 24 GB."""
    found = estimate("nas_bert")
    assert found.distinct * found.batch == pytest.approx(4e9, rel=0.02)
    assert found.memory().total < 24e9
    assert found.cached_bytes == 0


def test_the_course_of_shrinking() -> None:
    space = load_space("nas_bert")
    assert isinstance(space, PathSpace)
    spec = load_trial("nas_bert")
    course = shrinking(spec, space)
    assert course is not None
    assert (course.remaining, course.epochs, len(course.evaluated)) == (97, 56, 53)
    assert course.evaluated[0] == 7 * 2000 - (2000 - 1346) + 445 + 34
    whole = shrinking(load_trial("nas_bert", ["supernet.shrink.sample=50000"]), space)
    assert whole is not None
    assert whole.epochs == 3 + 13  # half of a bin an epoch
    none = shrinking(load_trial("nas_bert_no_shrinking"), space)
    assert none is not None
    assert (none.remaining, none.epochs) == (97650, 56)
    operations = shrinking(load_trial("nas_bert_shrink_operations", ["supernet.shrink.stop=true"]), space)
    assert operations is not None
    assert (operations.remaining, operations.epochs) == (100, 3 + 20)
    assert shrinking(load_trial("quickstart"), space) is None


def test_the_machines_rate() -> None:
    space = load_space("minilm_small")
    assert isinstance(space, PathSpace)
    assert operation_rate(space, 128) > 1e8


@pytest.mark.parametrize("name", shipped("trials"))
def test_every_shipped_trial_can_be_planned_without_its_teacher(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_ray.assets.is_cached", lambda _name: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = api.plan(name, storage=tmp_path / "runs")
    assert found.seconds is None
    assert found.memory_gb is None
    words = [line.split()[0] for line in found.lines]
    assert words[:3] == ["run", "space", "training"]
    if load_space_spec(load_trial(name).space).kind == "uniform":
        assert words[3:] == ["teacher"]
        return
    assert {"evaluation", "workers", "candidates", "teacher"} <= set(words)
    assert ("shrinking" in words) == (load_trial(name).supernet.shrink is not None)
    assert "not" in found.lines[-1]
    assert not (tmp_path / "runs").exists()


def test_a_teacher_that_is_here_and_wrong_is_refused(tmp_path: Path, tiny_text_file: Path) -> None:
    (tmp_path / "gpt").mkdir()
    (tmp_path / "gpt" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text('{"model_type": ')
    for teacher in (tmp_path / "gpt", tmp_path / "torn", tmp_path / "nowhere"):
        file = write_trial(tmp_path / "trial", teacher, tiny_text_file)
        with pytest.raises(TeacherError):
            api.plan(str(file))


def test_a_plan_with_its_teacher_starts_nothing(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    file = write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file)
    result = nas_ray("search", file, "--storage", tmp_path / "runs", "--plan")
    assert result.returncode == 0, result.stderr
    for word in (
        "GB of memory",
        "boundary cache",
        "AdamW moments",
        "stage       supernet",
        "2 blocks x 1 replicas = 2",
    ):
        assert word in result.stdout
    assert not (tmp_path / "runs").exists()


def test_replicas_multiply_workers_and_tokens() -> None:
    one, two = estimate("quickstart", MINILM), estimate("quickstart", MINILM)
    two.replicas = 2
    assert one.total_memory(2) < two.total_memory(2) < 2 * one.total_memory(2)
    assert one.supernet() < two.supernet() < 2 * one.supernet()
    assert two.boundary_bytes == one.boundary_bytes
