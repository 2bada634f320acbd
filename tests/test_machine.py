"""What the machine gives: freed memory that stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

from nas_ray._machine import keep_freed_memory

_FAULTS = """
import resource, sys
import numpy as np
from nas_ray._machine import keep_freed_memory
assert keep_freed_memory() and keep_freed_memory()
np.ones(8 << 20)  # 64 MiB, given back
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_used_again() -> None:
    if platform.libc_ver()[0] != "glibc":
        assert not keep_freed_memory()
        return
    run = subprocess.run([sys.executable, "-c", _FAULTS], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 8  # asked for anew it would be 8 x 32 huge pages, or 8 x 16,384 small ones
