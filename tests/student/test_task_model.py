"""Encoders with a head for a task: every kind and family, saved, and loaded by transformers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional as F

from nas_ray import api
from nas_ray.errors import ModelError, TeacherError
from nas_ray.modeling import NasRayForSequenceClassification
from nas_ray.student import Head, find_model, load_student, save_model, task_logits, with_masked_lm_head
from tests.conftest import save_model as save_random
from tests.conftest import train_tokenizer
from tests.tiny_student import write_student

HEADS = {
    "sequence": (Head("sequence", ("no", "yes", "perhaps")), (4, 3)),
    "regression": (Head("regression"), (4, 1)),
    "choice": (Head("choice"), (4, 1)),
    "span": (Head("span"), (4, 9, 2)),
    "token": (Head("token", ("O", "B", "I")), (4, 9, 3)),
}
IDS = torch.randint(5, 300, (4, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(9) < torch.tensor([9, 7, 9, 4])[:, None]
TYPES = (torch.arange(9) > 4).long().expand(4, 9)


@torch.no_grad()
def scores(model: Any, kind: Any) -> torch.Tensor:
    return task_logits(model, kind, IDS, MASK, TYPES)


@pytest.mark.parametrize("student", ["paths", "uniform", "teacher"])
@pytest.mark.parametrize("kind", HEADS)
def test_it_is_the_encoder_with_a_new_head_and_loads_again(
    kind: Any, student: str, tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    folder = tiny_teacher_dir if student == "teacher" else write_student(tmp_path / "s", student, tiny_teacher_dir)
    head, shape = HEADS[kind]
    source = find_model(str(folder))
    model = source.load(head, seed=3)
    before = dict(transformers.AutoModel.from_pretrained(folder).named_parameters())
    prefix = f"{model.base_model_prefix}."
    mine = {n.removeprefix(prefix): p for n, p in model.named_parameters() if n.startswith(prefix)}
    assert all(torch.equal(p, before[n]) for n, p in mine.items() if not n.startswith("pooler"))
    found = scores(model, kind)
    assert found.shape == shape
    assert torch.equal(found, scores(source.load(head, seed=3), kind))
    assert not torch.equal(found, scores(source.load(head, seed=4), kind))
    save_model(model, tmp_path / "saved")
    loaded = getattr(transformers, head.auto_class).from_pretrained(tmp_path / "saved")
    assert torch.equal(found, scores(loaded, kind))
    if head.classes:
        assert loaded.config.id2label == dict(enumerate(head.classes))
    assert source.num_positions == 128
    assert source.tokenizer()("the old ship")["input_ids"]


def test_a_path_student_says_whether_there_is_an_answer(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    head = Head("span", answerable=True)
    path = find_model(str(write_student(tmp_path / "s", "paths", tiny_teacher_dir))).load(head, 0)
    found = scores(path, "span")
    assert found.shape == (4, 9, 3)
    assert torch.equal(found[:, :, 2], found[:, :1, 2].expand(4, 9))
    places = {"start_positions": torch.tensor([2, 0, 3, 1]), "end_positions": torch.tensor([4, 0, 3, 2])}
    with torch.no_grad():
        loss = path(input_ids=IDS, attention_mask=MASK, **places).loss
    spans = [F.cross_entropy(found[..., k], place) for k, place in enumerate(places.values())]
    there = F.binary_cross_entropy_with_logits(found[:, 0, 2], torch.tensor([1.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close(loss, sum(spans) / 2 + there)
    save_model(path, tmp_path / "saved")
    loaded = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved")
    assert torch.equal(found, scores(loaded, "span"))
    assert scores(find_model(str(tiny_teacher_dir)).load(head, 0), "span").shape == (4, 9, 2)  # transformers' own


def test_an_encoder_of_other_sizes_than_its_configuration_is_refused(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_teacher_dir, tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))
    with pytest.raises(TeacherError, match=r"lack 1 tensors of the encoder, the first '.*position_embeddings"):
        find_model(str(tmp_path / "odd")).load(HEADS["sequence"][0], 0)


def test_padding_and_token_types_count_as_the_model_has_them(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    head = HEADS["sequence"][0]
    path = find_model(str(write_student(tmp_path / "s", "paths", tiny_teacher_dir))).load(head, 0)
    plain = find_model(str(tiny_teacher_dir)).load(head, 0)
    with torch.no_grad():
        for model in (path, plain):
            alone = task_logits(model, "sequence", IDS[3:, :4], MASK[3:, :4], None)
            torch.testing.assert_close(task_logits(model, "sequence", IDS, MASK, None)[3:], alone)
        differ = [
            not torch.equal(task_logits(m, "sequence", IDS, MASK, TYPES), task_logits(m, "sequence", IDS, MASK, None))
            for m in (path, plain)
        ]
    assert differ == [False, True]


def test_a_path_student_has_one_linear_layer_and_for_cola_a_dense_one_before_it(
    tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    source = find_model(str(write_student(tmp_path / "s", "paths", tiny_teacher_dir)))
    plain, more = (source.load(Head("sequence", ("0", "1"), extra), 0) for extra in (False, True))
    assert isinstance(plain, NasRayForSequenceClassification)
    heads = [{n for n, _ in m.named_parameters() if not n.startswith("encoder.")} for m in (plain, more)]
    assert heads[0] == {"classifier.weight", "classifier.bias"}
    assert heads[1] - heads[0] == {"dense.weight", "dense.bias"}
    with torch.no_grad():
        first = more.encoder(IDS, MASK).last_hidden_state[:, 0]
        expected = more.classifier(torch.tanh(more.dense(first)))
        torch.testing.assert_close(task_logits(more, "sequence", IDS, MASK, None), expected)


def test_another_tasks_model_gives_its_encoder_and_its_head_where_it_fits(
    tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    three = find_model(str(tiny_teacher_dir)).load(Head("sequence", ("a", "b", "c")), 0)
    with torch.no_grad():
        three.classifier.bias.fill_(7.0)
    save_model(three, tmp_path / "three")
    train_tokenizer().save_pretrained(tmp_path / "three")
    source = find_model(str(tmp_path / "three"))
    same, other = source.load(Head("sequence", ("x", "y", "z")), 1), source.load(Head("sequence", ("x", "y")), 1)
    assert torch.equal(same.classifier.bias, three.classifier.bias)
    assert same.config.id2label == {0: "x", 1: "y", 2: "z"}
    assert other.classifier.bias.shape == (2,)
    assert torch.equal(other.bert.pooler.dense.weight, three.bert.pooler.dense.weight)


def test_a_student_with_a_masked_lm_head_and_an_export_are_the_same_encoder(
    tiny_teacher_dir: Path, tmp_path: Path
) -> None:
    folder, head = write_student(tmp_path / "s", "paths", tiny_teacher_dir), HEADS["sequence"][0]
    expected = scores(find_model(str(folder)).load(head, 0), "sequence")
    exported = api.export(folder, format="hf", to=tmp_path / "export").folder
    found = find_model(str(exported)).load(head, 0)
    assert torch.equal(scores(found, "sequence"), expected)
    save_model(found, tmp_path / "saved")
    assert "auto_map" not in (tmp_path / "saved" / "config.json").read_text()
    with_masked_lm_head(load_student(folder), 0).save_pretrained(folder)
    assert torch.equal(scores(find_model(str(folder)).load(head, 0), "sequence"), expected)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("DistilBert", {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}),
        ("Roberta", {"pad_token_id": 0, "type_vocab_size": 1}),
        ("Electra", {"embedding_size": 8}),
    ],
)
def test_other_families(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    settings = config if "dim" in config else {**sizes, **config}
    made = getattr(transformers, f"{name}Config")(vocab_size=400, max_position_embeddings=40, **settings)
    save_random(getattr(transformers, f"{name}Model"), made, tmp_path)
    for kind, (head, shape) in HEADS.items():
        assert scores(find_model(str(tmp_path)).load(head, 0), kind).shape == shape


def test_errors_say_what_is_there_and_what_is_accepted(tiny_teacher_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="no such folder; accepted: a folder that save_pretrained wrote"):
        find_model(str(tmp_path / "nothing"))
    folder = write_student(tmp_path / "s", "paths", tiny_teacher_dir)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"holds no tokenizer\.json"):
        find_model(str(folder)).tokenizer()
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(TeacherError, match=r"the weights of model '.*' cannot be loaded"):
        find_model(str(folder)).load(HEADS["sequence"][0], 0)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        find_model(str(folder))
