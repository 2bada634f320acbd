"""The benchmark of supernets runs whole on a CPU, at small sizes, on nothing but torch and transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A bare GPU machine has none of these.
WITHOUT = ("datasets", "matplotlib", "mlflow", "optuna", "pydantic", "ray")
RUN = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({WITHOUT}))
runpy.run_path("benchmarks/supernet.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("step --batch 1 --repeats 2 --sequence-length 16", 6),
        ("score --tokens 32 16 16 --widths 192 --sample 3 --sequence-length 16 --precision fp32 bf16", 2),
        ("full --tokens 64 --limit 10 --sequence-length 16 --parents 3", 1),
        ("train --batch 1 --repeats 2 --sequence-length 16 --paths-per-step 1", 1),
    ],
    ids=lambda value: str(value).split()[0],
)
def test_commands(command: str, rows: int, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command.split(), "--out", str(out)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(found) == rows
    assert {row["benchmark"] for row in found} == {command.split()[0]}
    for row in found:
        assert all(value > 0 for key, value in row.items() if key.endswith(("_s", "seconds", "ratio", "bound")))
