"""The public face, and that it loads neither torch nor Ray, nor Optuna before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nas_ray.search as search


def test_all_is_sorted_and_true() -> None:
    assert search.__all__ == sorted(search.__all__)
    assert all(hasattr(search, name) for name in search.__all__)


def test_importing_is_light() -> None:
    code = "import sys, nas_ray.search; print([m for m in ('torch', 'ray', 'optuna') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
