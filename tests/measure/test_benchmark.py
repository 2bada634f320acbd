"""The benchmark of supernets runs whole on a CPU, at small sizes, on nothing but torch and transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# A bare GPU machine has none of these.
WITHOUT = ("datasets", "matplotlib", "mlflow", "optuna", "pydantic", "ray")
RUN = f"""
import json, runpy, sys
sys.modules.update(dict.fromkeys({WITHOUT}))
for words in json.loads(sys.argv[1]):
    sys.argv = ["benchmarks/supernet.py", *words]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
COMMANDS = {
    "step": ("--batch 1 --repeats 2 --sequence-length 16", 6),
    "score": ("--tokens 32 16 16 --widths 192 --sample 3 --sequence-length 16 --precision fp32 bf16", 2),
    "full": ("--tokens 64 --limit 10 --sequence-length 16 --parents 3", 1),
    "train": ("--batch 1 --repeats 2 --sequence-length 16 --paths-per-step 1", 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What all commands write, one after the other in one process: its imports take longer than they do."""
    out = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    words = [[command, *options.split(), "--out", str(out)] for command, (options, _) in COMMANDS.items()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(words)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, rows: list[dict[str, Any]]) -> None:
    found = [row for row in rows if row["benchmark"] == command]
    assert len(found) == COMMANDS[command][1]
    for row in found:
        assert all(value > 0 for key, value in row.items() if key.endswith(("_s", "seconds", "ratio", "bound")))
