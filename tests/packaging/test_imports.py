"""Asking for help or for a finished run's front answers at once: neither torch nor ray is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Runs in a process of its own: this one has loaded everything already.
DRIVER = """
import sys

def command(*arguments):
    from nas_ray.cli import main
    sys.argv = ["nas-ray", *arguments]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code

{statement}
heavy = {{"datasets", "matplotlib", "mlflow", "optuna", "ray", "torch", "transformers"}} & set(sys.modules)
print("loaded:", sorted(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import nas_ray",
        "command('--help')",
        "command('front', '--help')",
        "command('search', '--help')",
        "command('export', '--help')",
        "command('adapt-teacher', '--help')",
        "command('tasks')",
    ],
)
def test_loads_nothing_heavy(statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER.format(statement=statement)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "loaded: []"
