"""Plain students under judgement: their errors are what the definitions say, their weights a function of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional as F

from nas_ray.distill import (
    Assignment,
    DistillPlan,
    OutputsConfig,
    TeacherOutputs,
    TrainingText,
    UniformJudge,
    UniformJudgeConfig,
    evaluation_arrays,
    outputs_of,
)
from nas_ray.modeling import Numerics
from nas_ray.space import Rung

VOCAB, LENGTH, MASK = 60, 12, 4
STUDENT = "uniform:D1-A2-H16-I32"
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}


def text(sequences: int, seed: int, *, padded: bool = False) -> TrainingText:
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, VOCAB, size=(sequences, LENGTH)).astype(np.int32)
    ids[rng.random(ids.shape) < 0.3] = MASK
    mask = np.ones(ids.shape, bool)
    if padded:
        mask[:, -3:] = False
    return TrainingText(ids, mask if padded else None)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("teachers")
    transformers.set_seed(0)
    config = transformers.BertConfig(**SIZES)
    transformers.BertModel(config).save_pretrained(folder / "plain")
    transformers.BertForMaskedLM(config).save_pretrained(folder / "head")
    return {"hidden_state": str(folder / "plain"), "cross_entropy": str(folder / "head")}


def outputs(teachers: dict[str, str], error: Any, cache_bytes: int = 1 << 20) -> TeacherOutputs:
    return TeacherOutputs(OutputsConfig(teachers[error], error, cache_bytes))


def judge(
    teachers: dict[str, str], error: Any, folder: Path, *, padded: bool = False, start: str = "scratch", **plan: Any
) -> UniformJudge:
    train = text(22, 0, padded=padded)
    splits = {name: text(9, 1 + i, padded=padded) for i, name in enumerate(("calibrate", "select", "test"))}
    found = outputs(teachers, error)
    settings: dict[str, Any] = {
        "steps": (3, 6), "learning_rate": 3e-3, "sequences": 4, "weight_decay": 0.01, "warmup": 0.1, "clip": 1.0,
        "precision": "fp32", "seed": 3, "origin": "scratch", "folder": folder, **plan,
    }  # fmt: skip
    documents = np.repeat(np.arange(9, dtype=np.int32)[:, None], LENGTH, axis=1)
    if padded:
        documents[:, -3:] = -1
    config = UniformJudgeConfig(
        name="run", ladder=(Rung("distilled", 3), Rung("distilled", 6)), plan=DistillPlan(**settings),
        vocab_size=VOCAB, num_positions=40, numerics=Numerics(), ridges=(1e-3, 1e-1), mask_id=MASK,
        test_documents=documents, outputs=found, group=4, teacher=teachers[error] if start == "inherit" else None,
    )  # fmt: skip
    return config.build([evaluation_arrays(found, splits, 4)], train)


def test_outputs_do_not_depend_on_who_asked_first(teachers: dict[str, str]) -> None:
    train = text(22, 0)
    first, second = outputs(teachers, "hidden_state"), outputs(teachers, "hidden_state", cache_bytes=0)
    a, b = outputs_of(first, train, [21, 3, 3, 10], 4), outputs_of(second, train, [10, 21], 4)
    assert np.array_equal(a[[3, 0]], b)
    assert np.array_equal(a[1], a[2])
    assert np.array_equal(outputs_of(first, train, [21], 4), a[:1])
    assert not second._kept
    assert sum(group.nbytes for group in first._kept.values()) == first._bytes


@pytest.mark.parametrize("error", ["hidden_state", "cross_entropy"])
def test_training_text_is_read_in_the_precision_of_the_training(teachers: dict[str, str], error: Any) -> None:
    train = text(22, 0)
    exact, rounded = (
        TeacherOutputs(OutputsConfig(teachers[error], error, 1 << 20, precision=precision))
        for precision in ("fp32", "bf16")
    )
    a, b = outputs_of(exact, train, [21, 3], 4), outputs_of(rounded, train, [21, 3], 4)
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.1 * np.abs(a).max()
    assert np.array_equal(exact.once(train), rounded.once(train))  # what students are judged by


def test_the_hidden_state_error_is_that_of_the_best_readout(teachers: dict[str, str], tmp_path: Path) -> None:
    found = judge(teachers, "hidden_state", tmp_path)
    student, head = found.begin(Assignment("a", STUDENT)).trained(6)
    measure: Any = found.measure
    error = measure.error(student, head)
    splits = measure.evaluation
    x, y = splits.features(student, "select").reshape(-1, 16), splits.targets["select"].reshape(-1, 32)
    ones = torch.ones(len(x), 1)
    least = torch.linalg.lstsq(torch.cat([x, ones], 1).double(), y.double())
    floor = float((torch.cat([x, ones], 1).double() @ least.solution - y).square().mean()) / float(
        (y - y.mean(0)).square().mean()
    )
    assert floor < error < 1.3  # fitted elsewhere, it cannot be better than fitted here


def test_the_prediction_error_is_a_cross_entropy_at_hidden_words(teachers: dict[str, str], tmp_path: Path) -> None:
    found = judge(teachers, "cross_entropy", tmp_path)
    student, head = found.begin(Assignment("a", STUDENT)).trained(3)
    ids = torch.from_numpy(text(9, 2).ids.astype(np.int64))
    model = transformers.BertForMaskedLM.from_pretrained(teachers["cross_entropy"]).eval()
    with torch.no_grad():
        wanted, given = model(ids).logits, head(student(ids))
    hidden = ids == MASK
    expected = F.cross_entropy(given[hidden], F.softmax(wanted[hidden], -1))
    assert found.measure.error(student, head) == pytest.approx(float(expected), rel=1e-5)
    entropy = -(F.softmax(wanted[hidden], -1) * F.log_softmax(wanted[hidden], -1)).sum(-1).mean()
    assert float(expected) >= float(entropy)


@pytest.mark.parametrize("error", ["hidden_state", "cross_entropy"])
@pytest.mark.parametrize("padded", [False, True])
def test_training_lowers_the_error_and_goes_on_to_the_bit(
    teachers: dict[str, str], tmp_path: Path, error: str, padded: bool
) -> None:
    found = judge(teachers, error, tmp_path / "a", padded=padded, steps=(3, 60), learning_rate=1e-2)
    candidate = found.begin(Assignment("a", STUDENT))
    student, head = candidate.trained(3)
    early = found.measure.error(student, head)
    broken = judge(teachers, error, tmp_path / "a", padded=padded, steps=(3, 60), learning_rate=1e-2)
    whole = candidate.trained(60)
    again = broken.begin(Assignment("a", STUDENT)).trained(60)  # finished by the other: loaded
    assert found.measure.error(*whole) < early
    (tmp_path / "a").rename(tmp_path / "b")
    anew = judge(teachers, error, tmp_path / "a", padded=padded, steps=(3, 60), learning_rate=1e-2)
    fresh = anew.begin(Assignment("a", STUDENT))
    fresh.trained(3)
    resumed = judge(teachers, error, tmp_path / "a", padded=padded, steps=(3, 60), learning_rate=1e-2)
    last = resumed.begin(Assignment("a", STUDENT)).trained(60)
    for one, two, three in zip(whole[0].parameters(), again[0].parameters(), last[0].parameters(), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    errors = found.document_errors(Assignment("a", STUDENT))
    assert set(errors) == set(range(9))
    tokens = sum(count for _, count in errors.values())
    assert tokens <= 9 * (LENGTH - 3 if padded else LENGTH)


def test_weights_stay_within_the_bound(teachers: dict[str, str], tmp_path: Path) -> None:
    found = judge(teachers, "hidden_state", tmp_path, weight_bound=0.05)
    student, head = found.begin(Assignment("a", STUDENT)).trained(3)
    assert max(float(p.detach().abs().max()) for part in (student, head) for p in part.parameters()) < 0.050001


def test_hyperparameters_of_its_own_make_another_student(teachers: dict[str, str], tmp_path: Path) -> None:
    found = judge(teachers, "hidden_state", tmp_path)
    usual, other = (found.begin(Assignment(n, STUDENT, h)) for n, h in (("a", {}), ("b", {"learning_rate": 1e-2})))
    assert usual.loss(1) != other.loss(1)


@pytest.mark.parametrize("padded", [False, True])
def test_a_student_of_the_teachers_sizes_inherits_the_teacher(
    teachers: dict[str, str], tmp_path: Path, padded: bool
) -> None:
    found = judge(teachers, "hidden_state", tmp_path, padded=padded, start="inherit")
    student, head = found.begin(Assignment("a", "uniform:D2-A2-H32-I64")).untrained
    assert found.measure.error(student, head) < 1e-3


def test_inherited_students_explain_more_the_larger_they_are(teachers: dict[str, str], tmp_path: Path) -> None:
    found = judge(teachers, "hidden_state", tmp_path, start="inherit")
    scratch = judge(teachers, "hidden_state", tmp_path)
    sizes = ("uniform:D1-A2-H8-I16", "uniform:D1-A2-H16-I32", "uniform:D2-A2-H24-I64", "uniform:D2-A4-H32-I64")

    def errors(of: UniformJudge) -> list[float]:
        return [of.measure.error(*of.begin(Assignment(size, size)).untrained) for size in sizes]

    inherited = errors(found)
    assert inherited == sorted(inherited, reverse=True)
    assert all(a < b for a, b in zip(inherited, errors(scratch), strict=True))


def test_what_is_larger_than_the_teacher_keeps_its_own_weights(teachers: dict[str, str], tmp_path: Path) -> None:
    found = judge(teachers, "hidden_state", tmp_path, start="inherit")
    for size in ("uniform:D1-A2-H48-I32", "uniform:D3-A8-H32-I128"):
        assert 0 < found.begin(Assignment(size, size)).loss(0) < 1.5
