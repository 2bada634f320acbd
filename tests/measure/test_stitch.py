"""Stitched candidates: exact where they copy the teacher, counted as the tables count, folded without error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_ray.blocks import BlockSupernet, PathStudent, linear_of
from nas_ray.measure import CandidateEvaluator, EvaluatorConfig, Stitcher, student_parts
from nas_ray.measure._stitch import Builder
from nas_ray.measure._stitch_tree import stitched_losses
from nas_ray.modeling import Numerics, Seam
from nas_ray.space import Architecture, PathSpace, all_parts, parse_architecture
from nas_ray.student import path_config, stitched_model, untrained_model
from nas_ray.tables import Costs, PartTable, params_table
from nas_ray.teacher import Teacher, activation

RIDGES = (1e-4, 1e-2, 1.0)
OWN = "64:M4-F4-M4-F4"
IDS = (
    f"e64/{OWN}/{OWN}",
    f"e32/{OWN}/{OWN}",
    f"e64/{OWN}/32:M2-F4",
    f"e64/32:M2-S3/{OWN}",
    "e64/32:M2-F4-M2-F4/64:M4-F1",
    "e32/32:F1/32:S3-M2",
    "e32/64:S3/32:M2",
    "e64/64:M4-F4-M4/64:M4-F4-M4-F1",
)


def architecture(arch_id: str) -> Architecture:
    return parse_architecture(arch_id, 16)


@pytest.fixture
def stitcher(published: list[dict[str, Any]], tiny_teacher: Teacher, teacher_space: PathSpace) -> Stitcher:
    return Stitcher(teacher_space, "inherit", tiny_teacher, published, RIDGES)


@pytest.fixture
def scratch(published: list[dict[str, Any]], tiny_teacher: Teacher, teacher_space: PathSpace) -> Stitcher:
    blocks = [{**block, "weights": _one_map_out_a_width(block["weights"])} for block in published]
    return Stitcher(teacher_space, "scratch", tiny_teacher, blocks, RIDGES)


def _one_map_out_a_width(weights: dict[str, Any]) -> dict[str, Any]:
    """The same weights as a scratch supernet names them: of each width the map behind its last operation."""
    found = {}
    for name, array in weights.items():
        owner, _, rest = name.partition(".")
        key, _, kind = rest.partition(".")
        found[f"leave.{key.partition('_')[0]}.{kind}" if owner == "leave" else name] = array
    return found


def costs(space: PathSpace, teacher: Teacher) -> Costs:
    nothing = PartTable("latency_ms", "ms", dict.fromkeys(all_parts(space, teacher.shape), 0.0))
    return Costs(space, teacher.shape, "inherit", params_table(space, teacher.shape), nothing, nothing)


def loss(stitcher: Stitcher, student: PathStudent, split: str = "select") -> float:
    error, count = stitcher.loss(student, 0, 100, 8, split)
    return error / count / stitcher.variance


def test_the_teachers_own_paths_are_the_teacher(stitcher: Stitcher) -> None:
    student = stitcher.assemble(architecture(IDS[0]))
    assert loss(stitcher, student) < 1e-10
    assert loss(stitcher, stitcher.teacher_student()) < 1e-10
    assert not any(isinstance(stage, Seam) for stage in student.stages)
    assert [p.partition(":")[0] for p in student_parts(stitcher, architecture(IDS[0]))] == ["embedding"] + ["64"] * 8


@pytest.mark.parametrize("arch_id", IDS)
def test_stitched_weights_are_those_that_costs_count(
    stitcher: Stitcher, tiny_teacher: Teacher, teacher_space: PathSpace, arch_id: str
) -> None:
    student = stitcher.assemble(architecture(arch_id))
    whole = sum(p.numel() for p in student.parameters())
    embedding = sum(p.numel() for p in student.embedding.parameters())
    found = costs(teacher_space, tiny_teacher).of(architecture(arch_id))
    assert whole - embedding == found["encoder_params"]
    assert whole == found["params"]


@pytest.mark.parametrize("arch_id", IDS[1:])
def test_stitched_losses_are_sane(stitcher: Stitcher, arch_id: str) -> None:
    assert 0 < loss(stitcher, stitcher.assemble(architecture(arch_id))) < 1


def test_a_reduced_embedding_costs_quality(stitcher: Stitcher) -> None:
    student = stitcher.assemble(architecture(IDS[1]))
    seams = [stage for stage in student.stages if isinstance(stage, Seam)]
    assert [(seam.in_features, seam.out_features) for seam in seams] == [(32, 64)]
    assert loss(stitcher, student) > 1e-6


def unfolded(student: PathStudent, ids: Tensor, mask: Tensor | None, halves: list[tuple[nn.Linear, ...]]) -> Tensor:
    """The student with every seam replaced by its readout and map in, one after the other."""
    hidden, left = student.embedding(ids), iter(halves)
    for stage in student.stages:
        if isinstance(stage, Seam):
            for half in next(left):
                hidden = half(hidden)
        else:
            hidden = stage(hidden, mask)
    return hidden


@pytest.mark.parametrize("arch_id", IDS[2:])
def test_folding_is_exact(stitcher: Stitcher, monkeypatch: pytest.MonkeyPatch, arch_id: str) -> None:
    halves: list[tuple[nn.Linear, ...]] = []
    fold, readout = Builder._seam, Builder.readout

    def watch(builder: Builder, enter: nn.Linear | None) -> None:
        found = readout(builder)
        monkeypatch.setattr(Builder, "readout", lambda _: found)
        halves.append((linear_of(found.weight, found.bias), *(() if enter is None else (enter,))))
        fold(builder, enter)

    monkeypatch.setattr(Builder, "_seam", watch)
    student = stitcher.assemble(architecture(arch_id))
    states = stitcher.splits["select"]
    with torch.no_grad():
        expected = unfolded(student, states.ids, states.mask, halves)
        torch.testing.assert_close(student(states.ids, states.mask), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch_id", IDS[1:])
def test_scratch_is_a_proxy_with_a_seam_everywhere(scratch: Stitcher, arch_id: str) -> None:
    student = scratch.assemble(architecture(arch_id))
    assert sum(isinstance(stage, Seam) for stage in student.stages) == 3
    assert all(stage is not block for stage in student.stages for block in scratch.teacher.blocks)
    states = scratch.splits["select"]
    assert student(states.ids, states.mask).shape == states.targets[-1].shape
    assert 0 <= loss(scratch, student) < 1.5


def test_scratch_refits_to_the_teacher(scratch: Stitcher) -> None:
    # The published supernets are inherited: even as plain paths they copy the teacher.
    builder = Builder(scratch, architecture(IDS[0]))
    with torch.no_grad():
        for block, path in enumerate(architecture(IDS[0]).paths):
            builder.enter(block, path)
            builder.run(block, path)
        builder.finish()
    assert loss(scratch, PathStudent(builder.embedding, builder.stages).eval()) < 1e-4


def test_the_teacher_of_a_scratch_run_is_the_teacher(
    published: list[dict[str, Any]], tiny_teacher: Teacher, teacher_space: PathSpace
) -> None:
    """Also where the space has no path of its width, and so the supernets no maps to it."""
    narrow = replace(teacher_space, widths=(32,))
    numerics = Numerics(activation(tiny_teacher.config), 1e-12)
    weights = BlockSupernet(narrow, 64, numerics, 0, "scratch").state_dict()
    blocks = [{**block, "weights": {n: t.numpy() for n, t in weights.items()}} for block in published]
    scratch = Stitcher(narrow, "scratch", tiny_teacher, blocks, RIDGES)
    assert loss(scratch, scratch.assemble(architecture(IDS[0]))) < 1e-10
    assert 0 < loss(scratch, scratch.assemble(architecture("e32/32:M2-F4/32:M2"))) < 1.5


def test_an_embedding_is_reduced_once(stitcher: Stitcher) -> None:
    first, second = (stitcher.assemble(architecture(arch_id)).embedding for arch_id in (IDS[1], IDS[5]))
    assert first is second
    assert first is not stitcher.assemble(architecture(IDS[2])).embedding


def test_the_mask_hides_padding(stitcher: Stitcher) -> None:
    states = stitcher.splits["select"]
    mask = states.mask
    if mask is None:
        mask = torch.arange(states.ids.shape[1]).expand(states.ids.shape) < states.ids.shape[1] - 3
    assert not mask.all()
    student = stitcher.assemble(architecture(IDS[4]))
    with torch.no_grad():
        changed = student(torch.where(mask, states.ids, 7), mask)
        assert torch.allclose(student(states.ids, mask)[mask], changed[mask], atol=1e-5)


def test_losses_add_over_batches(stitcher: Stitcher) -> None:
    student = stitcher.assemble(architecture(IDS[4]))
    whole = stitcher.loss(student, 0, 4, 4)
    pieces = [stitcher.loss(student, k, k + 1, 4) for k in range(4)]
    assert whole[0] == pytest.approx(sum(error for error, _ in pieces), rel=1e-6)
    assert whole[1] == sum(count for _, count in pieces)


def test_document_errors_sum_to_the_loss(stitcher: Stitcher) -> None:
    student, states = stitcher.assemble(architecture(IDS[4])), stitcher.splits["test"]
    text = np.ones(states.ids.shape, bool) if states.mask is None else states.mask.numpy()
    documents = np.where(text, np.arange(16)[:, None] // 3 * 10 + (np.arange(20) > 9), -1)
    found = stitcher.document_errors(student, documents, batch=5)
    assert set(found) == set(np.unique(documents)) - {-1}
    error, count = stitcher.loss(student, 0, 1, 16, "test")
    assert sum(c for _, c in found.values()) == count
    assert sum(e for e, _ in found.values()) == pytest.approx(error / stitcher.test_variance("test"), rel=1e-6)
    with torch.no_grad():
        each = (student(states.ids, states.mask) - states.targets[-1]).square().mean(-1).numpy()
    first = each[documents == 0].sum() / stitcher.test_variance("test")
    assert found[0] == (pytest.approx(first, rel=1e-5), int((documents == 0).sum()))


def test_assembling_leaves_the_shared_weights_alone(stitcher: Stitcher, published: list[dict[str, Any]]) -> None:
    before = {name: array.copy() for name, array in published[0]["weights"].items()}
    for arch_id in IDS:
        assert not any(p.requires_grad for p in stitcher.supernets[0].parameters())
        stitcher.assemble(architecture(arch_id))
    assert all(np.array_equal(before[name], array) for name, array in published[0]["weights"].items())


def test_read_only_arrays_are_shared(tiny_teacher: Teacher, teacher_space: PathSpace, published: list[Any]) -> None:
    def frozen(array: Any) -> Any:
        view = array.view()
        view.flags.writeable = False
        return view

    blocks = [{**b, "weights": {name: frozen(array) for name, array in b["weights"].items()}} for b in published]
    held = Stitcher(teacher_space, "inherit", tiny_teacher, blocks, RIDGES)
    for name, tensor in held.supernets[1].state_dict().items():
        assert tensor.data_ptr() == published[1]["weights"][name].ctypes.data


def test_evaluator(
    published: list[dict[str, Any]], tiny_teacher_dir: Any, teacher_space: PathSpace, stitcher: Stitcher
) -> None:
    documents = np.arange(16)[:, None].repeat(20, 1)
    config = EvaluatorConfig("run", teacher_space, "inherit", str(tiny_teacher_dir), RIDGES, 8, documents)
    evaluator = CandidateEvaluator(config, published)
    student = evaluator.assemble(IDS[4])
    assert evaluator.loss(student, 2) == pytest.approx(
        loss(stitcher, stitcher.assemble(architecture(IDS[4]))), rel=1e-6
    )
    assert evaluator.loss(student, 1) != evaluator.loss(student, 2)
    assert len(evaluator.document_errors(student)) == 16


@pytest.mark.parametrize("inherited", [True, False])
@pytest.mark.parametrize("size", [64, 32])
def test_a_walk_over_beginnings_finds_the_losses_of_assembled_students(
    stitcher: Stitcher, scratch: Stitcher, inherited: bool, size: int
) -> None:
    stitcher = stitcher if inherited else scratch
    first = [architecture(arch_id).paths[0] for arch_id in IDS[:5]]
    last = [architecture(arch_id).paths[1] for arch_id in IDS]
    choices = [list(dict.fromkeys(first)), list(dict.fromkeys(last))]
    found = [pair for group in stitched_losses(stitcher, size, choices, 12) for pair in group]
    assert [a.paths for a, _ in found] == [(a, b) for a in choices[0] for b in choices[1]]
    for a, value in found:
        error, count = stitcher.loss(stitcher.assemble(a), 0, 12, 1)
        assert value == pytest.approx(error / count / stitcher.variance, rel=1e-5, abs=1e-9)
    known = {a.arch_id for a, _ in found[: len(choices[1])]}
    left = [pair for group in stitched_losses(stitcher, size, choices, 12, known) for pair in group]
    assert left == found[len(choices[1]) :]


@pytest.mark.parametrize("arch_id", IDS)
@torch.no_grad()
def test_the_model_of_a_stitched_candidate_computes_the_same(stitcher: Stitcher, arch_id: str) -> None:
    student = stitcher.assemble(architecture(arch_id))
    model = stitched_model(student, stitcher.teacher, "inherit", arch_id)
    select = stitcher.splits["select"]
    kept = torch.ones(select.ids.shape, dtype=torch.bool) if select.mask is None else select.mask
    outputs = student(select.ids, select.mask), model(select.ids, select.mask).last_hidden_state
    assert (outputs[0] - outputs[1])[kept].abs().max() < 1e-5
    config = path_config(architecture(arch_id), stitcher.teacher, "inherit", stitcher.frozen, 16)
    assert model.config.layers == config.layers
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in untrained_model(config, 0).named_parameters()
    }
    encoder = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("embedding."))
    counted = costs(stitcher.space, stitcher.teacher).of(architecture(arch_id))["encoder_params"]
    assert encoder == counted


def test_the_model_keeps_no_weight_of_the_supernet(stitcher: Stitcher) -> None:
    student = stitcher.assemble(architecture(IDS[4]))
    model = stitched_model(student, stitcher.teacher, "inherit", IDS[4])
    shared = {p.data_ptr() for p in student.parameters()}
    assert all(p.data_ptr() not in shared and p.requires_grad for p in model.parameters())
