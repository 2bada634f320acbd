"""One model on one task: every kind is learned, a kill changes nothing, dropout and order belong to the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas_ray.distill import Assignment, DistillPlan, FinetuneJudge, FinetuneJudgeConfig, StudentTraining, task_scores
from nas_ray.space import Rung
from nas_ray.student import Head, find_model
from tests.tiny_student import write_student

PLAN = DistillPlan((8, 16, 24), 1e-3, 16, 0.01, 0.1, 1.0, "fp32", 0, "origin", Path())
HEADS = {
    "sequence": Head("sequence", ("low", "middle", "high")),
    "regression": Head("regression"),
    "choice": Head("choice"),
    "span": Head("span"),
    "token": Head("token", ("other", "mark")),
}
CLS, SEP, MARK, FIRST = 2, 3, 50, 100


@dataclass(frozen=True)
class Rows:
    """What a task encodes."""

    ids: NDArray[np.int32]
    mask: NDArray[np.bool_]
    type_ids: NDArray[np.uint8] | None
    targets: NDArray[Any]
    example: NDArray[np.int32]


def rows_of(kind: str, seed: int, count: int = 240) -> Rows:
    """Rows of 4 to 12 tokens, one of which says what is asked for."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 13, count)
    mask = np.arange(12) < lengths[:, None]
    ids = np.where(mask, rng.integers(200, 300, (count, 12)), 0).astype(np.int32)
    ids[:, 0] = CLS
    place = rng.integers(1, lengths)
    value = rng.integers(0, 3, count)
    example = np.arange(count, dtype=np.int32)
    at = np.arange(count)
    targets: Any = value.astype(np.int64)
    if kind in ("sequence", "regression"):
        ids[at, place] = FIRST + value
        targets = value.astype(np.float32) if kind == "regression" else targets
    elif kind == "choice":  # two or three options, one of which has the mark
        counts = rng.integers(2, 4, count)
        counts = counts[: int(np.searchsorted(counts.cumsum(), count))]
        counts = np.append(counts, count - counts.sum()) if counts.sum() < count else counts
        example = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        right = counts.cumsum() - 1 - rng.integers(0, counts)
        targets = np.isin(at, right).astype(np.int64)
        ids[at, place] = np.where(targets, MARK, FIRST)
    else:
        ids[at, place] = MARK
        targets = np.stack([place, place], 1) if kind == "span" else np.where(mask, (ids == MARK).astype(int), -100)
    return Rows(ids, mask, None, targets, example)


def right(kind: str, rows: Rows, scores: NDArray[Any]) -> float:
    """Share of right answers; of ratings 1 - mean error."""
    if kind == "sequence":
        return float((scores.argmax(1) == rows.targets).mean())
    if kind == "regression":
        return 1 - float(np.abs(scores[:, 0] - rows.targets).mean())
    if kind == "choice":
        found = [scores[rows.example == n, 0].argmax() == rows.targets[rows.example == n].argmax()
                 for n in range(rows.example.max() + 1)]  # fmt: skip
        return float(np.mean(found))
    if kind == "span":
        return float((np.where(rows.mask, scores[..., 0], -1e9).argmax(1) == rows.targets[:, 0]).mean())
    there = rows.targets == 1
    return float((scores.argmax(-1)[there] == 1).mean())


def judge(
    folder: Path, model: Path, kind: str = "sequence", teacher: Any = None, weight: float = 0.5, **plan: Any
) -> FinetuneJudge:
    made = replace(PLAN, folder=folder, **plan)
    ladder = tuple(Rung("distilled", step) for step in made.steps)
    config = FinetuneJudgeConfig(ladder, made, find_model(str(model)), HEADS[kind], weight, 1.0)
    select = rows_of(kind, 1, 120)
    arrays = {"train": rows_of(kind, 0), "select": select, "score": partial(right, kind, select), "teacher": teacher}
    return config.build([arrays])


@pytest.mark.parametrize(("kind", "student"), [*((kind, "paths") for kind in HEADS), ("choice", "uniform")])
def test_every_kind_is_learned(kind: str, student: str, tiny_teacher_dir: Path, tmp_path: Path) -> None:
    model = write_student(tmp_path / "s", student, tiny_teacher_dir)
    one = judge(tmp_path / "c", model, kind, steps=(30, 60), learning_rate=3e-3).begin(Assignment("a", "model:0"))
    last = [one.loss(0), one.loss(1)][1]
    assert 1 - last > 0.7  # chance is at most a half
    assert task_scores(one.model, HEADS[kind].kind, one.judge.select)[0].any()


def run(one: FinetuneJudge, name: str = "a", **own: Any) -> tuple[list[float], NDArray[Any]]:
    model = one.begin(Assignment(name, "model:0", own))
    losses = [model.loss(rung) for rung in range(3)]
    return losses, model.scores(one.select)


def test_resumed_at_every_rung_it_is_the_undisturbed_training_to_the_bit(
    tiny_teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the dropout that plain encoders have."""
    whole, scores = run(judge(tmp_path / "whole", tiny_teacher_dir))
    found = []
    for rung in range(3):
        made = judge(tmp_path / "cut", tiny_teacher_dir).begin(Assignment("a", "model:0"))
        found.append(made.loss(rung))
    assert found == whole
    assert np.array_equal(made.scores(made.judge.select), scores)
    with monkeypatch.context() as patch:  # between two checkpoints
        patch.setattr(StudentTraining, "_save", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            judge(tmp_path / "killed", tiny_teacher_dir).begin(Assignment("a", "model:0")).loss(0)
    assert run(judge(tmp_path / "killed", tiny_teacher_dir))[0] == whole


def test_a_seed_is_another_training(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    first = run(judge(tmp_path / "a", tiny_teacher_dir))[1]
    assert np.array_equal(first, run(judge(tmp_path / "b", tiny_teacher_dir))[1])
    assert not np.array_equal(first, run(judge(tmp_path / "c", tiny_teacher_dir), seed=1)[1])


def test_dropout_counts_and_leaves_the_global_state_alone(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    one = judge(tmp_path / "a", tiny_teacher_dir)
    model = one.begin(Assignment("a", "model:0"))
    batch = one.batch(0, model.plan)
    before = torch.random.get_rng_state()
    model.model.train()
    with torch.no_grad():
        found = [float(one.loss(model.model, batch, 1.0, draw)) for draw in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_batch_has_similar_lengths_and_an_epoch_every_example_once(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    one = judge(tmp_path, tiny_teacher_dir, "choice")
    plan = replace(PLAN, sequences=8)
    drawn = [one._units.chosen(0, step, 8) for step in range(len(one._units.ids) // 8)]
    assert len({unit for step in drawn for unit in step}) == sum(map(len, drawn))
    batch = one.batch(3, plan)
    assert int(batch.example.max()) == 7
    rows = [np.flatnonzero(one.train.example == unit) for unit in drawn[3]]
    assert [len(part) for part in rows] == batch.example.bincount().tolist()
    assert torch.equal(batch.targets, torch.from_numpy(one.train.targets[np.concatenate(rows)]))
    assert batch.ids.shape[1] == one.train.mask[np.concatenate(rows)].sum(1).max()


def test_more_examples_a_step_are_fewer_steps(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    one = judge(tmp_path, tiny_teacher_dir)
    assert one.begin(Assignment("a", "model:0", {"sequences": 32})).plan.steps == (4, 8, 12)
    assert one.begin(Assignment("b", "model:0", {"sequences": 4, "seed": 7})).plan.steps == (32, 64, 96)


@pytest.mark.parametrize("kind", ["sequence", "span"])
def test_a_student_of_a_teacher_alone_comes_to_say_what_it_says(
    kind: str, tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    """The targets of its rows are wrong on purpose: nothing but the teacher is learned."""
    train = rows_of(kind, 0)
    wide = train.ids.shape[1:] if kind == "span" else ()
    scores = np.zeros((len(train.ids), *wide, 3 if kind == "sequence" else 2), np.float32)
    if kind == "sequence":
        scores[np.arange(len(scores)), train.targets] = 4
    else:
        scores[np.arange(len(scores)), train.targets[:, 0]] = 8
    model = write_student(tmp_path / "s", "paths", tiny_teacher_dir)
    one = judge(tmp_path / "c", model, kind, scores, 1.0, steps=(30, 60), learning_rate=3e-3)
    one.train = replace(train, targets=np.zeros_like(train.targets))
    assert one.begin(Assignment("a", "model:0")).loss(1) < 0.2
