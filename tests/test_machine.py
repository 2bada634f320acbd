"""What the machine gives: freed memory and compiled kernels that stay with the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from nas_ray._machine import keep_compiled_kernels, keep_freed_memory

_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"

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


@pytest.mark.parametrize(("own", "kept"), [(None, "4096"), ("7", "7")])
def test_the_cache_of_kernels_is_large_unless_one_s_own_size_is_set(
    own: str | None, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(_KERNELS, own or "")
    if own is None:
        monkeypatch.delenv(_KERNELS)
    keep_compiled_kernels()
    assert os.environ[_KERNELS] == kept


def test_who_trains_has_set_it_before_the_first_product() -> None:
    code = "import os, nas_ray.distill; print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    environment = {name: value for name, value in os.environ.items() if name != _KERNELS}
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert run.stdout == "4096\n"
