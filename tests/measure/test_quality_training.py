"""One tiny bundle trained and measured whole, by the code that trains the real one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.quality._bundle import ARMS_FILE, TEXT_FILE, UNIFORM, Arm, Arms, Bundle, Model, sentence_arrays
from benchmarks.quality._prepare import described
from benchmarks.quality._setting import Setting
from benchmarks.quality._studio import TEACHER, Job, Studio
from nas_ray.space import PathSpace

BUCKETS = 6
PATH, COPY = "e64/32:M2-F4/64:M4-F1", "layers:1-3"


@pytest.fixture(scope="module")
def studio(tiny_teacher_dir: Path, tiny_space: PathSpace, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("bundle")
    shutil.copytree(tiny_teacher_dir, folder / "teacher")
    rng = np.random.default_rng(0)

    def texts(count: int) -> list[list[int]]:
        return [[2, *rng.integers(5, 300, size=rng.integers(3, 20)).tolist(), 3] for _ in range(count)]

    arrays: dict[str, Any] = {"calibration.rows": np.array([[2, *rng.integers(5, 300, 30), 3] for _ in range(32)])}
    for name, count in {"train": 400, "calibrate": 256, "select": 256, "test": 60}.items():
        arrays |= sentence_arrays(name, texts(count), np.uint16)
    arrays |= {"test.bucket": np.arange(60) % BUCKETS, "rank.chosen": np.arange(0, 60, 2) // 2}
    for name, classes in {"movie": 2, "question": 3}.items():
        for part, count in {"train": 60, "test": 30}.items():
            arrays |= sentence_arrays(f"{name}.{part}", texts(count), np.uint16)
            arrays[f"{name}.{part}.labels"] = np.arange(count) % classes
        arrays[f"{name}.test.bucket"] = np.arange(30) % BUCKETS
    np.savez_compressed(folder / TEXT_FILE, **arrays)
    models = {"path": Model(PATH, {}, ()), "copy": Model(COPY, {}, ())}
    about = {"digest": "0", "space": described(tiny_space), "ridges": (1e-3, 1e-1)}
    Arms(("one",), models, (Arm(0, UNIFORM, "path"),), about).write(folder / ARMS_FILE)
    setting = Setting("tiny", 12_000, (0,), 16, {"teacher": 2e-3, "scratch": 2e-3}, cache_bytes=50_000_000)
    return Studio(Bundle(folder), setting).open()


def mean(row: dict[str, Any], name: str) -> float:
    return float(np.mean(row["parts"][name]))


def test_the_teacher_is_measured_as_itself(studio: Studio) -> None:
    row = studio.row(TEACHER)
    assert (mean(row, "loss"), mean(row, "cosine"), mean(row, "rank")) == pytest.approx((0, 1, 1), abs=1e-4)
    assert {len(values) for values in row["parts"].values()} == {BUCKETS}


def test_students_learn_and_the_teachers_weights_help(studio: Studio) -> None:
    jobs = [Job(table, model, 0) for table in ("teacher", "scratch") for model in ("path", "copy")]
    rows = {(job.table, job.model): studio.row(job) for job in jobs}
    for model, arch in (("path", PATH), ("copy", COPY)):
        warm, cold = rows["teacher", model], rows["scratch", model]
        assert warm["arch"] == arch
        assert warm["params"] == cold["params"]
        assert warm["tokens"] == cold["tokens"] == pytest.approx(12_000, rel=0.05)
        assert mean(warm, "loss") < mean(cold, "loss") < 1.0
        assert mean(warm, "cosine") > mean(cold, "cosine")
    again = studio.row(Job("scratch", "path", 0))
    assert again["parts"] == rows["scratch", "path"]["parts"]
    assert studio.row(Job("scratch", "path", 1))["parts"] != again["parts"]


def test_a_copy_of_layers_starts_as_these_layers(studio: Studio) -> None:
    start = studio.starts.make("teacher", Model(COPY, {}, ()), 0)
    layers = studio.teacher.model.encoder.layer
    ids = torch.arange(10, 22)[None]
    hidden = studio.teacher.model.embeddings(input_ids=ids)
    for number in (1, 3):
        hidden = layers[number](hidden)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    torch.testing.assert_close(start(input_ids=ids).last_hidden_state, hidden, atol=1e-5, rtol=0)
