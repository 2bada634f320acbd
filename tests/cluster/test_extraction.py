"""An extraction as Tune trials over one shared teacher actor, which dies on the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray

from nas_ray import api
from nas_ray.search import SearchSession
from nas_ray.tables import read_parquet
from tests.tiny_trial import run_folder, write_extraction


def losses(folder: Path) -> dict[str, float]:
    columns, _ = read_parquet(folder / "candidates.parquet")
    return dict(zip(columns["arch_id"], columns["select_loss"], strict=True))


@pytest.mark.proof
def test_the_shared_teacher_may_die(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_extraction(tmp_path / "local", tiny_teacher_dir, tiny_text_file, extraction={"epsilon": 4})
    alone = losses(api.search(str(file), storage=tmp_path / "local").folder)
    file = write_extraction(
        tmp_path / "ray",
        tiny_teacher_dir,
        tiny_text_file,
        extraction={"epsilon": 4},
        cluster={"executor": "ray"},
        search={"distill": {"steps": [3, 6], "learning_rate": 3e-3, "sequences": 4}, "max_concurrent": 1},
    )
    report, killed = SearchSession.report, []

    def kills(self: SearchSession, *arguments: Any) -> bool:
        if len(self.outcomes) == 2 and not killed:  # its outputs are known, those of later steps are not
            name = f"{run_folder(tmp_path / 'ray').name}-teacher-{os.getpid()}"
            ray.kill(ray.get_actor(name), no_restart=False)
            killed.append(name)
        return report(self, *arguments)

    monkeypatch.setattr(SearchSession, "report", kills)
    found = losses(api.search(str(file), storage=tmp_path / "ray").folder)
    assert killed
    assert found.keys() == alone.keys()
    for arch_id, loss in alone.items():
        assert found[arch_id] == pytest.approx(loss, rel=1e-3)
