"""Whole runs whose candidates are judged by a table: the real stages from the search on, Ray, Tune, journal and MLflow.

Only three things are replaced: the teacher's sizes are written down, no block is published, and a trial looks its loss
up and sleeps. The losses are those of ``schedulers.py`` (scenario ``batches``), made of the quickstart's own tables.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from schedulers import SCENARIOS, SHAPE, losses_of, parse, quality, space

from nas_ray._machine import num_cores, processor
from nas_ray.distill import Assignment, JudgeConfig, TrainingText
from nas_ray.measure import EvaluatorConfig
from nas_ray.search import read_journal
from nas_ray.stages import PATH_STAGES, Context, Run, execute, load_run_specs
from nas_ray.tables import PartTable, QualityTable, params_table

SCENARIO = SCENARIOS["batches"]
Moment = tuple[float, float]  # begin and end of one rung, seconds


@dataclass(frozen=True, kw_only=True)
class TableConfig(JudgeConfig):
    """A rung takes ``seconds``; its begin and end go to folder ``trace``."""

    seconds: float
    trace: Path

    def build(self, blocks: Sequence[Mapping[str, Any]], text: TrainingText | None) -> Any:
        return TableJudge(self)


@dataclass(frozen=True)
class TableJudge:
    """In place of a ``Judge``."""

    config: TableConfig

    def begin(self, assignment: Assignment) -> TableCandidate:
        return TableCandidate(self.config, assignment.arch_id)

    def document_errors(self, assignment: Assignment) -> dict[int, tuple[float, int]]:
        loss = losses_of(parse(assignment.arch_id), SCENARIO)[-1]
        return dict.fromkeys(range(16), (100 * loss, 100))


@dataclass(frozen=True)
class TableCandidate:
    """In place of a ``JudgedCandidate``."""

    config: TableConfig
    arch_id: str

    def loss(self, rung_index: int) -> float:
        began = time.time()
        found = losses_of(parse(self.arch_id), SCENARIO)[rung_index]
        time.sleep(self.config.seconds)
        keep_moment(self.config.trace, self.arch_id, began)
        return found


def keep_moment(trace: Path, candidate: str, began: float) -> None:
    """One line of this process's own file: a rung that began then and ends now."""
    with (trace / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps([candidate, began, time.time()]) + "\n")


def read_moments(trace: Path) -> dict[str, list[Moment]]:
    """All rungs in their order, by candidate."""
    found: dict[str, list[Moment]] = {}
    for file in trace.glob("*.jsonl"):
        for candidate, began, ended in map(json.loads, file.read_text().splitlines()):
            found.setdefault(candidate, []).append((began, ended))
    return {candidate: sorted(moments) for candidate, moments in found.items()}


def make_run(storage: Path, seconds: float, *overrides: str) -> Run:
    """A run of the quickstart's spec that is done up to its tables; its trials will take ``seconds`` a rung."""
    run = Run.create(storage, *load_run_specs("quickstart", overrides))
    tables, params = run.folder / "tables", params_table(space(), SHAPE)
    tables.mkdir(exist_ok=True)
    key = {"processor": processor(), "threads": num_cores()}
    check = {"spearman": 1.0, "mape_percent": 0.0, "num_models": 1}
    flops = {part: 256.0 * value for part, value in params.values.items()}
    PartTable("flops", "operations", flops).write(tables / "flops.parquet")
    latency = {part: 1e-6 * value for part, value in params.values.items()}
    PartTable("latency_ms", "ms", latency, metadata={"check": check, "key": key}).write(tables / "latency.parquet")
    QualityTable(quality().losses, {"guarantee": "exact over the whole space"}).write(tables / "quality.parquet")
    block = {"linear_loss": 1.0, "floors": {}, "curve": [[0, 1.0]], "shrinking": []}
    (run.folder / "supernet").mkdir(exist_ok=True)
    (run.folder / "supernet" / "blocks.json").write_text(json.dumps([block] * space().num_blocks))
    (run.folder / "seconds").write_text(str(seconds))
    (run.folder / "trace").mkdir(exist_ok=True)
    for stage in ("profile", "supernet", "tabulate"):
        run.begin(stage)
        run.mark_done(stage, 0.0, [], list(PATH_STAGES))
    return run


def drive(folder: Path) -> None:
    """Go on with such a run to its end, as ``nas-ray resume`` does."""
    replace()
    execute(Run.open(folder))


def replace() -> None:
    """Let the stages of this process judge by the table."""
    from nas_ray.stages import search, test

    search.judge_config = test.judge_config = table_config
    Context.shape = SHAPE  # type: ignore[assignment]
    Context.published = publish_nothing  # type: ignore[method-assign]


def table_config(context: Context) -> TableConfig:
    where, ladder = context.run.folder, context.spec.search.ladder
    nobody = EvaluatorConfig(where.name, space(), "inherit", "", (), 1, np.zeros(0))
    seconds = float((where / "seconds").read_text())
    return TableConfig(nobody, ladder, 1, seconds=seconds, trace=where / "trace")


def publish_nothing(context: Context) -> list[Any]:
    context.connect()
    return []


def records(run: Run) -> list[dict[str, Any]]:
    return read_journal(run.folder / "journal.jsonl")
