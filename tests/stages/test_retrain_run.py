"""Students of a finished run: retrained, interrupted and resumed to the bit, loaded by transformers, early errors."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from nas_ray import api
from nas_ray.cli._main import cli
from nas_ray.distill import StudentTraining
from nas_ray.errors import InfeasibleError, ModelError, RunError, SpecError, StageError
from nas_ray.stages import Context, Run, Silent
from nas_ray.stages import retrain as stage
from nas_ray.tracking import NullTracker
from tests.tiny_trial import candidates_of, nas_ray, write_trial

SCRATCH = ("weights=scratch", "losses.embedding=0")
QUICK = ("steps=12", "judged=3", "sequences=4", "learning_rate=2e-4")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    trial = write_trial(folder, tiny_teacher_dir, tiny_text_file)
    return api.search(str(trial), storage=folder / "runs").folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / searched.name))


@pytest.fixture(scope="module")
def family(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Two students, trained without disturbance."""
    folder = Path(shutil.copytree(searched, tmp_path_factory.mktemp("family") / searched.name))
    sizes = sorted(row["encoder_params"] for row in api.front(folder)["candidates"])
    bounds = [{"encoder_params": sizes[0]}, {"encoder_params": sizes[-1]}, {"encoder_params": sizes[-1] + 1}]
    return folder, api.retrain(folder, bounds=bounds, overrides=QUICK)


class Heard(Silent):
    """What is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def weights(student: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(Path(student["folder"]) / "model.safetensors")


def test_a_family_is_within_its_bounds_and_starts_where_the_search_ended(
    family: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, students = family
    rows = {row["candidate_id"]: row for row in candidates_of(folder)}
    assert len(students) == 2  # two bounds have the same best
    for student in students:
        model = AutoModel.from_pretrained(student["folder"])
        row = rows[student["candidate_id"]]
        encoder = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("embedding."))
        assert encoder == row["encoder_params"] == student["costs"]["encoder_params"]
        assert student["arch_id"] == row["arch_id"] == model.config.arch_id
        assert student["metrics"]["test_loss"] < 1.2 * row["test_loss"]  # a dozen small steps from refitted weights
        assert -1 < student["metrics"]["test_similarity"] <= 1
        assert student["tokens"] == 12 * 4 * 32
        tokenizer = AutoTokenizer.from_pretrained(student["folder"])
        found = tokenizer("the old ship", return_tensors="pt")
        found.pop("token_type_ids", None)
        assert model(**found).last_hidden_state.shape[-1] == 64


def test_asked_again_it_is_only_told(family: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, students = family
    before = {file: file.stat().st_mtime_ns for file in Path(students[0]["folder"]).parent.rglob("*")}
    found = api.retrain(folder, candidates=[students[0]["arch_id"]], overrides=(*QUICK, "cache_bytes=1"))
    assert found == students[:1]
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_interrupted_at_every_judgement_it_ends_as_if_undisturbed(
    family: tuple[Path, list[dict[str, Any]]], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, students = family
    advance, calls = StudentTraining.advance, 0

    def stops(self: StudentTraining, to: int) -> None:
        nonlocal calls
        advance(self, to)
        calls += 1
        if calls % 2 == 0:  # its checkpoint is ahead of the journal
            raise KeyboardInterrupt

    ids, interruptions = [student["candidate_id"] for student in students], 0
    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", stops)
        while True:
            try:
                found = api.retrain(run, candidates=ids, overrides=QUICK)
                break
            except KeyboardInterrupt:
                interruptions += 1
    assert interruptions >= 2
    for a, b in zip(found, students, strict=True):
        assert a["metrics"] == b["metrics"]
        left, right = weights(a), weights(b)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_from_scratch_it_learns_from_the_papers_initialisation(run: Path) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]
    (student,) = api.retrain(run, candidates=[best], overrides=(*QUICK, "learning_rate=3e-3", *SCRATCH))
    assert student["weights"] == "scratch"
    assert student["loss_weights"] == {"masked_lm": 0.0, "logits": 0.0, "hidden": 1.0, "embedding": 0.0}
    records = map(json.loads, (Path(student["folder"]).parents[1] / "journal.jsonl").read_text().splitlines())
    first, _, last = (record["loss"] for record in records if record["kind"] == "rung")
    assert last < first
    start = Path(student["folder"]).parent.parent / "starts" / best
    assert 0.015 < float(AutoModel.from_pretrained(start).embedding.words.weight.detach().std()) < 0.025


def test_from_the_teachers_weights_an_architecture_that_was_no_candidate(run: Path) -> None:
    known = {row["arch_id"] for row in candidates_of(run)}
    space = Run.open(run).space
    other = next(a for seed in range(99) if (a := space.sample(np.random.default_rng(seed))).arch_id not in known)
    (student,) = api.retrain(run, candidates=[other.arch_id], overrides=(*QUICK, "weights=teacher"))
    assert (student["arch_id"], student["weights"]) == (other.arch_id, "teacher")
    model = AutoModel.from_pretrained(student["folder"])
    types = 2 * 64  # of tokens: the teacher's embedding has vectors of them, a student adds them to its positions
    assert student["costs"]["params"] - sum(weight.numel() for weight in model.parameters()) in (0, types)
    (trained,) = api.retrain(run, candidates=[other.arch_id], overrides=(*QUICK, "weights=supernet"))
    starts = [load_file(Path(found["folder"]).parents[1] / "starts" / found["candidate_id"] / "model.safetensors")
              for found in (student, trained)]  # fmt: skip
    assert any(not torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert api.retrain(run, candidates=[other.arch_id], overrides=(*QUICK, "weights=teacher")) == [student]


def test_frozen_word_vectors_stay_and_everything_else_learns(run: Path) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]
    (student,) = api.retrain(run, candidates=[best], overrides=(*QUICK, "freeze_embeddings=true"))
    folder = Path(student["folder"])
    start, end = (load_file(f / "model.safetensors") for f in (folder.parents[1] / "starts" / best, folder))
    same = {name for name in end if torch.equal(start[name], end[name])}
    assert same == {"embedding.words.weight"}


def test_a_loss_that_is_no_number_keeps_the_last_good_state(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]
    from nas_ray.distill import _losses

    real, calls = _losses.normalised_mse, 0

    def breaks(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(*arguments) * (float("nan") if calls > 7 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(_losses, "normalised_mse", breaks)
        with pytest.raises(StageError, match=r"1 of 1 students were not finished.*the loss of step 6 is nan"):
            api.retrain(run, candidates=[best], overrides=QUICK)
    (file,) = run.glob("retrained/*/students/*/step-*.safetensors")
    assert file.stem.endswith("4")
    assert all(torch.isfinite(tensor).all() for tensor in load_file(file).values())
    (student,) = api.retrain(run, candidates=[best], overrides=QUICK)  # tried again, from there
    assert student["steps"] == 12


def test_in_parts_it_learns_the_same_in_less_memory(family: tuple[Path, list[dict[str, Any]]], run: Path) -> None:
    whole = family[1][0]
    (parts,) = api.retrain(run, candidates=[whole["candidate_id"]], overrides=(*QUICK, "accumulation=4"))
    assert parts["folder"].rpartition("retrained")[2] != whole["folder"].rpartition("retrained")[2]
    for name, value in whole["metrics"].items():
        assert parts["metrics"][name] == pytest.approx(value, rel=0.01)
    assert parts["metrics"] != whole["metrics"]


def test_others_stay_in_the_journal_when_one_is_tried_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = (api.front(run)["candidates"][at]["candidate_id"] for at in (0, -1))
    api.retrain(run, candidates=[first], overrides=QUICK)

    def breaks(*_: Any) -> torch.Tensor:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", breaks)
        with pytest.raises(StageError, match="MemoryError: no room"):
            api.retrain(run, candidates=[last], overrides=QUICK)
    api.retrain(run, candidates=[last], overrides=QUICK)
    (file,) = run.glob("retrained/*/journal.jsonl")
    ends = [record for record in map(json.loads, file.read_text().splitlines()) if record["kind"] == "done"]
    assert [(end["candidate_id"], end["status"]) for end in ends] == [(first, "completed"), (last, "completed")]


def test_a_damaged_model_is_told_of_and_made_again(family: tuple[Path, list[dict[str, Any]]], run: Path) -> None:
    whole = family[1][0]
    (student,) = api.retrain(run, candidates=[whole["candidate_id"]], overrides=QUICK)
    file = Path(student["folder"]) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"damaged: .*; retrain the student"):
        api.export(student["folder"], format="hf")
    console = Heard()
    (again,) = api.retrain(run, candidates=[whole["candidate_id"]], overrides=QUICK, console=console)
    assert any("damaged" in line and "made again" in line for line in console.lines)
    assert again["metrics"] == whole["metrics"]
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(again).items())


def test_of_a_damaged_neighbour_a_finished_model_knows_nothing(run: Path) -> None:
    first, last = (api.front(run)["candidates"][at]["candidate_id"] for at in (0, -1))
    students = api.retrain(run, candidates=[first, last], overrides=QUICK)
    (Path(students[0]["folder"]) / "student.json").write_text("{")
    assert api.retrain(run, candidates=[last], overrides=QUICK) == students[1:]


def test_only_what_is_asked_for_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = (api.front(run)["candidates"][at]["candidate_id"] for at in (0, -1))

    def stops(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", stops)
        with pytest.raises(KeyboardInterrupt):
            api.retrain(run, candidates=[first, last], overrides=QUICK)
    (student,) = api.retrain(run, candidates=[last], overrides=QUICK)
    (journal,) = run.glob("retrained/*/journal.jsonl")
    records = map(json.loads, journal.read_text().splitlines())
    assert {record["candidate_id"] for record in records if record["kind"] == "done"} == {last}
    assert not list(Path(student["folder"]).parents[1].glob("students/*"))  # a finished one needs no checkpoints
    assert len(api.retrain(run, candidates=[first, last], overrides=QUICK)) == 2


def test_killed_before_mlflow_heard_of_the_end_it_is_told_by_the_same_call(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]
    told: list[str] = []

    def track(self: stage.Retraining) -> None:
        told.append(self.name)
        if len(told) == 1:
            raise KeyboardInterrupt
        real(self)

    real = stage.Retraining.track
    monkeypatch.setattr(stage.Retraining, "track", track)
    with pytest.raises(KeyboardInterrupt):
        api.retrain(run, candidates=[best], overrides=QUICK)
    (models,) = run.glob("retrained/*/models")
    (models / "notes").mkdir()  # somebody's own
    (models / "notes.txt").write_text("mine")
    api.retrain(run, candidates=[best], overrides=QUICK)
    assert len(told) == 2


def test_a_retraining_of_another_version_is_known_by_its_folder(
    family: tuple[Path, list[dict[str, Any]]], run: Path
) -> None:
    shutil.copytree(Path(family[1][0]["folder"]).parents[1], run / "retrained" / "0a1b2c3d")  # keys came or went since
    (found,) = stage.retrainings(Context(Run.open(run)))
    assert found.folder == run / "retrained" / "0a1b2c3d"
    assert found.journal.is_file()


def test_a_weighted_loss_is_not_called_as_that_of_a_search(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]
    names: set[str] = set()

    class Told(NullTracker):
        def candidate_ended(self, candidate_id: str, status: str, metrics: Any, *_: Any) -> None:
            names.update(metrics)

    monkeypatch.setattr(stage.Retraining, "tracker", Told())
    api.retrain(run, candidates=[best], overrides=QUICK)
    assert {"select_weighted_loss", "test_loss", "encoder_params"} <= names
    assert "select_loss" not in names


def test_a_candidate_of_a_joint_search_is_trained_by_the_settings_of_its_retraining(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    distill = {"steps": [2], "learning_rate": {"low": 1e-4, "high": 1e-3}, "sequences": 2}
    search = {"num_candidates": 4, "rungs": [1], "distill": distill}
    trial = write_trial(tmp_path, tiny_teacher_dir, tiny_text_file, search=search)
    run = api.search(str(trial), storage=tmp_path / "runs").folder
    row = next(row for row in candidates_of(run) if row["hyperparameters"])
    (student,) = api.retrain(run, candidates=[row["candidate_id"]], overrides=QUICK)
    assert (student["arch_id"], student["steps"]) == (row["arch_id"], 12)
    assert api.retrain(run, candidates=[student["candidate_id"]], overrides=QUICK) == [student]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    """A run whose students have maps only where widths differ."""
    folder = tmp_path_factory.mktemp("scratch")
    trial = write_trial(folder, tiny_teacher_dir, tiny_text_file, supernet={"start": "scratch"})
    return api.search(str(trial), storage=folder / "runs").folder


def test_from_scratch_hidden_states_begin_at_the_scale_of_who_teaches_them(
    scratch: Path, tmp_path: Path, tiny_teacher_dir: Path
) -> None:
    other = Path(shutil.copytree(tiny_teacher_dir, tmp_path / "other"))
    teacher = AutoModel.from_pretrained(other)
    theirs = teacher.encoder.layer[-1].output.LayerNorm
    torch.nn.init.normal_(theirs.weight, 0.3, 0.1)
    torch.nn.init.normal_(theirs.bias)
    teacher.save_pretrained(other)
    drawn = map(Run.open(scratch).space.sample, map(np.random.default_rng, range(99)))
    wide = next(found.arch_id for found in drawn if found.paths[-1].width == 64)
    settings = (*QUICK, "weights=scratch", f"teacher={other}")
    for weights, expected in ((("losses.embedding=0",), True), (("losses.hidden=0",), False)):
        (student,) = api.retrain(scratch, candidates=[wide], overrides=(*settings, *weights))
        start = AutoModel.from_pretrained(Path(student["folder"]).parents[1] / "starts" / student["candidate_id"])
        last = [module for module in start.layers.modules() if isinstance(module, torch.nn.LayerNorm)][-1]
        assert (last.weight.equal(theirs.weight) and last.bias.equal(theirs.bias)) == expected


def test_weights_beyond_the_costs_are_told(scratch: Path) -> None:
    run = scratch
    row = api.front(run)["candidates"][0]
    said: list[str] = []

    class Told(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    for weights, expected in (("supernet", 1), ("scratch", 0)):
        said.clear()
        (student,) = api.retrain(
            run, candidates=[row["candidate_id"]], overrides=[*QUICK, f"weights={weights}"], console=Told()
        )
        warned = [text for text in said if "more than its costs say" in text]
        assert len(warned) == expected
        params = sum(weight.numel() for weight in AutoModel.from_pretrained(student["folder"]).parameters())
        more = f"{params - row['params']:,} weights more"
        assert more in warned[0] if warned else params == row["params"]


def test_of_a_truncated_checkpoint_the_one_before_stands_in(
    family: tuple[Path, list[dict[str, Any]]], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = family[1][0]
    advance, steps = StudentTraining.advance, []

    def stops(self: StudentTraining, to: int) -> None:
        steps.append(self.step)
        if to == 12:
            raise KeyboardInterrupt
        advance(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(StudentTraining, "advance", stops)
        with pytest.raises(KeyboardInterrupt):
            api.retrain(run, candidates=[whole["candidate_id"]], overrides=QUICK)
        newest = max(run.glob("retrained/*/students/*/step-*.safetensors"))
        assert newest.stem.endswith("8")
        newest.write_bytes(newest.read_bytes()[:1000])
        steps.clear()
        with pytest.raises(KeyboardInterrupt):
            api.retrain(run, candidates=[whole["candidate_id"]], overrides=QUICK)
        assert steps == [4]
    (student,) = api.retrain(run, candidates=[whole["candidate_id"]], overrides=QUICK)
    assert student["metrics"] == whole["metrics"]


def test_a_full_disk_leaves_no_half_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stage.StudentCard, "write", full)
        with pytest.raises(StageError, match="No space left on device"):
            api.retrain(run, candidates=[best], overrides=QUICK)
    assert not list(run.glob("retrained/*/models/*"))
    assert not list(run.glob("retrained/*/models/.*"))
    assert len(api.retrain(run, candidates=[best], overrides=QUICK)) == 1


def test_a_truncated_start_is_written_again(run: Path) -> None:
    best = api.front(run)["candidates"][0]["candidate_id"]
    students = api.retrain(run, candidates=[best], overrides=QUICK)
    before = weights(students[0])
    (start,) = run.glob("retrained/*/starts/*/model.safetensors")
    start.write_bytes(start.read_bytes()[:1000])
    shutil.rmtree(next(run.glob("retrained/*/models")))
    (again,) = api.retrain(run, candidates=[best], overrides=QUICK)
    assert all(torch.equal(value, before[name]) for name, value in weights(again).items())


def test_wrong_input_is_told_before_anything_is_written(run: Path) -> None:
    with pytest.raises(RunError, match="has no candidate 'nobody'; accepted: a candidate_id or an arch_id"):
        api.retrain(run, candidates=["nobody"])
    with pytest.raises(RunError, match="nothing to retrain was named"):
        api.retrain(run)
    with pytest.raises(InfeasibleError, match="the smallest encoder_params of the front"):
        api.retrain(run, bounds=[{"encoder_params": 10}])
    with pytest.raises(SpecError, match="unknown bound 'weight'"):
        api.retrain(run, bounds=[{"weight": 10}])
    best = api.front(run)["candidates"][0]["candidate_id"]
    with pytest.raises(SpecError, match=r"unknown key 'step'; known: .*Did you mean 'steps'"):
        api.retrain(run, candidates=[best], overrides=["step=3"])
    with pytest.raises(SpecError, match="weights of all losses are 0"):
        api.retrain(run, candidates=[best], overrides=["losses.hidden=0", "losses.embedding=0"])
    with pytest.raises(SpecError, match=r"accumulation x workers is 3, sequences are \[4\]; accepted: a divisor"):
        api.retrain(run, candidates=[best], overrides=(*QUICK, "accumulation=3"))
    with pytest.raises(SpecError, match="would keep random word vectors; accepted: weights supernet"):
        api.retrain(run, candidates=[best], overrides=(*QUICK, "weights=scratch", "freeze_embeddings=true"))
    (teacher,) = [row["candidate_id"] for row in candidates_of(run) if row["label"] == "teacher"]
    with pytest.raises(
        RunError, match=r"is the teacher itself, .* accepted: other candidates, or --set weights=scratch"
    ):
        api.retrain(run, candidates=[teacher])
    assert not (run / "retrained").exists()
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["stages"]["report"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="is not finished; go on with `nas-ray resume"):
        api.retrain(run, candidates=[best])


def test_the_command(run: Path) -> None:
    size = api.front(run)["candidates"][-1]["encoder_params"]
    settings = [argument for value in QUICK for argument in ("--set", value)]
    found = nas_ray("retrain", run, "--max-encoder-params", str(size), *settings)
    assert found.returncode == 0, found.stderr
    assert "students to start from" in found.stdout + found.stderr
    assert "similarity" in found.stdout
    again = CliRunner().invoke(cli, ["retrain", str(run), "--max-encoder-params", str(size), *settings, "--json"])
    (student,) = json.loads(again.stdout)
    assert (Path(student["folder"]) / "model.safetensors").is_file()
    nothing = CliRunner().invoke(cli, ["retrain", str(run)])
    assert nothing.exit_code == 2
    assert "name what to retrain" in nothing.output
