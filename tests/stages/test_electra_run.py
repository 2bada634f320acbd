"""A whole run under an ELECTRA whose word vectors are narrower than its hidden states, with no room to cache states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_ray import api
from nas_ray.stages import Silent
from nas_ray.tables import QualityTable, read_parquet
from tests.conftest import save_model, train_tokenizer
from tests.tiny_trial import write_trial


class Listening(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def said() -> Listening:
    return Listening()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_text_file: Path, said: Listening) -> Path:
    from transformers import ElectraConfig, ElectraModel

    folder = tmp_path_factory.mktemp("electra")
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(folder / "teacher")
    config = ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=32, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=256, max_position_embeddings=128, initializer_range=0.1,
    )  # fmt: skip
    save_model(ElectraModel, config, folder / "teacher")
    trial = write_trial(
        folder / "trial", folder / "teacher", tiny_text_file,
        supernet={"cache_bytes": 0}, ranking={"paths": 2}, tabulate={"precision": "bf16"},
    )  # fmt: skip
    return api.search(str(trial), storage=folder / "runs", console=said).folder


def test_only_the_teachers_own_embedding_is_free(finished: Path) -> None:
    table = QualityTable.read(finished / "tables" / "quality.parquet")
    assert table.losses[0]["e64"] == 0
    assert 0 < table.losses[0]["e32"] < 1  # its word vectors are 32 wide too, but it is not the teacher's
    assert table.metadata["precision"] == "bf16"


def test_ranking_has_room_of_its_own(finished: Path) -> None:
    columns, _ = read_parquet(finished / "tables" / "ranking.parquet")
    assert columns["block"] == [0, 0, 1, 1]
    assert all(loss > 0 for loss in columns["standalone_loss"])


def test_the_time_of_the_blocks_is_told_and_kept(finished: Path, said: Listening) -> None:
    records = json.loads((finished / "supernet" / "blocks.json").read_text())
    for record in records:
        assert set(record["time"]) == {"training", "teacher", "evaluation", "waiting"}
        assert all(share >= 0 for share in record["time"].values())
        assert sum(record["time"].values()) == pytest.approx(1)
    (line,) = (line for line in said.lines if "time of the blocks" in line)
    mean = sum(record["time"]["training"] for record in records) / len(records)
    assert f"training {100 * mean:.0f} %, teacher " in line
