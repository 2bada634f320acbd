"""What this machine gives to this process."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # glibc's malloc.h
_LARGE = 2**30
_KERNELS = 4096  # of some 0.3 MB; oneDNN keeps 1,024, a model of several widths has about 50 for each length of a batch


def num_cores() -> int:
    """CPU cores that this process may use: fewer than the machine has, where a container or ``taskset`` says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as latency tables keep it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def keep_freed_memory() -> bool:
    """Let this process reuse what it frees; whether its C library can.

    By default glibc gives every large block back to the system and asks for it anew, zeroed page by page: in each
    training step once for the gradient of the word vectors, and for most activations. Blocks of 1 GiB and more are
    given back still.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGE) and library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE - 1))


def keep_compiled_kernels() -> None:
    """Let oneDNN keep the kernels that it compiles; those who have set its variable know better.

    It compiles one for each shape of a product. Where batches are padded to their longest text, a training meets more
    shapes than the cache holds by default, and compiles the same ones again and again. The variable is read once, at
    the process's first product, so this must come before.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KERNELS))
