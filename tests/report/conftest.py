"""A run as it comes out: about fifty candidates, references, gaps."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from nas_ray.report import (
    BlockTraining,
    CandidateRow,
    RunReport,
    ShrinkStep,
    TableCheck,
    UniformComparison,
)
from nas_ray.tables import LatencyCheck

SPEC = """\
name: quickstart
space: minilm_small
teacher: sentence-transformers/all-MiniLM-L6-v2
search:
  searcher: nsga2
  num_candidates: 48
  rungs: [8, 32, 128]
"""


def row(i: int, size: int, loss: float, **changes: object) -> CandidateRow:
    known = CandidateRow(
        candidate_id=f"{i:012x}",
        arch_id=f"e128/192:M6-F4-S5/{128 + 64 * (i % 3)}:M4-F4-M4-F4/256:M8-F4",
        kind="candidate",
        label="",
        origin="solver" if i % 2 else "nsga2",
        status="completed",
        rung=128,
        params=size + 3_950_000,
        encoder_params=size,
        flops=size * 256.0,
        latency_ms=2.0 + size / 9e5,
        table_loss=0.8 * loss,
        select_loss=loss * 1.01,
        test_loss=loss,
        pareto=False,
        floor=0.041,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def rows() -> tuple[CandidateRow, ...]:
    rng = random.Random(3)
    found = []
    for i in range(48):
        size = int(4e5 * 22 ** (i / 47) * rng.uniform(0.95, 1.05))
        best = 0.09 + 0.42 * (4e5 / size) ** 0.55
        if i % 4 == 0:
            found.append(row(i, size, best, pareto=True, latency_ms=2.0 + size / 9e5 * rng.uniform(0.8, 1.2)))
        else:
            worse = best * rng.uniform(1.06, 1.9)
            gaps = {"test_loss": None, "rung": 32, "status": "stopped"}
            found.append(row(i, size, worse, **gaps))
    found.append(row(60, 900_000, 9.0, test_loss=None))
    found.append(
        row(61, 800_000, 1.0, status="failed", reason="MemoryError", rung=None, latency_ms=None, table_loss=None,
            select_loss=None, test_loss=None, flops=None, params=None, encoder_params=None)
    )  # fmt: skip
    uniform = [(128, 1_200_000, 0.39), (192, 2_700_000, 0.3), (256, 4_700_000, 0.24)]
    for i, (width, size, loss) in enumerate(uniform):
        label = {"kind": "reference", "label": f"uniform {width}", "origin": "reference"}
        found.append(row(70 + i, size, loss, **label))
    teacher = {"kind": "reference", "label": "teacher", "origin": "reference", "params": 22_713_216}
    found.append(row(80, 10_646_784, 0.0, arch_id="e384/384:M12-F4-M12-F4/384:M12-F4-M12-F4", **teacher))
    return tuple(found)


def blocks() -> tuple[BlockTraining, ...]:
    floors = (
        {128: 0.17, 192: 0.087, 256: 0.041},
        {128: 0.153, 192: 0.073, 256: 0.034},
        {128: 0.258, 192: 0.138, 256: 0.065},
    )
    linear = (0.212, 0.19, 0.519)
    return tuple(
        BlockTraining(
            linear[i],
            floors[i],
            tuple((step, 0.11 + 0.05 * i + 0.3 * 2 ** (-step / 300)) for step in range(0, 2001, 200)),
            tuple(ShrinkStep(e, 3120 >> e, 0.2 - 0.02 * e + 0.05 * i, 0.55 - 0.06 * e + 0.05 * i) for e in range(5)),
        )
        for i in range(3)
    )


@pytest.fixture
def make() -> Callable[..., RunReport]:
    """The report, with some fields replaced."""

    def build(**changes: object) -> RunReport:
        comparisons = (
            UniformComparison(
                128, "u128", f"{12:012x}", 1_200_000, 1_150_000, 0.39, 0.3312, -0.0588, -0.0641, -0.0533, 214
            ),
            UniformComparison(
                192, "u192", f"{24:012x}", 2_700_000, 2_560_000, 0.3, 0.2931, -0.0069, -0.0144, 0.0006, 214
            ),
            UniformComparison(
                256, "u256", f"{36:012x}", 4_700_000, 4_510_000, 0.24, 0.2522, 0.0122, 0.0071, 0.0173, 214
            ),
        )
        report = RunReport(
            name="quickstart-1a2b3c4d",
            run_dir="runs/quickstart-1a2b3c4d",
            teacher="all-MiniLM-L6-v2",
            teacher_encoder_params=10_646_784,
            vocab_size=30_522,
            objectives=("loss", "latency_ms", "encoder_params"),
            guarantee="whole space",
            rows=rows(),
            comparisons=comparisons,
            stage_seconds={
                "profile": 21.4,
                "supernet": 312.0,
                "tabulate": 88.1,
                "search": 141.6,
                "report": 3.9,
            },
            blocks=blocks(),
            latency_check=LatencyCheck(0.98, 4.6, 20),
            table_check=TableCheck(0.81, 49, 0.74),
            resume_command="nas-ray resume runs/quickstart-1a2b3c4d",
            ui_command="nas-ray ui runs/quickstart-1a2b3c4d",
            front_command="nas-ray front runs/quickstart-1a2b3c4d --max-encoder-params 2M",
            spec_yaml=SPEC,
        )
        return replace(report, **changes)  # type: ignore[arg-type]

    return build
