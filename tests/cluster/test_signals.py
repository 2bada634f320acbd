"""A process that has joined Ray still ends as it chose to when it is asked to."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ASKED = """
import os, signal, time

def asked(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, asked)
from nas_ray.cluster import connect, disconnect

connect(None)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except KeyboardInterrupt:
    disconnect()
    print("left in order")
"""


@pytest.mark.proof
def test_sigterm_is_ours() -> None:
    run = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "left in order"), run.stderr
