"""Numbers and architectures as short text."""

from __future__ import annotations

import json
import math

NONE = "–"


def count(value: float | None) -> str:
    """``2.31 M`` of 2310000; three digits."""
    if value is None or not math.isfinite(value):
        return NONE
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            return f"{digits(value / size)} {unit}"
    return f"{value:.0f}"


def digits(value: float | None) -> str:
    """Three digits, at least."""
    if value is None or not math.isfinite(value):
        return NONE
    places = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{places}f}"


def loss(value: float | None) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{value:.4f}"


def interval(low: float, high: float) -> str:
    """Both bounds; said in words where there are none."""
    return "too few documents" if low != low else f"{low:+.4f} … {high:+.4f}"


def floor(value: float | None) -> str:
    """``.041``, short for a narrow column."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.3f}".removeprefix("0") if value else "0"


def percent(part: float | None, whole: float) -> str:
    """``22 %``."""
    if part is None or not whole:
        return NONE
    share = 100 * part / whole
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def duration(value: float) -> str:
    """``41 s``, ``12 min 5 s`` or ``3 h 10 min``."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def described(arch_id: str, hyperparameters: str) -> str:
    """An architecture in short, and the hyperparameters of its own, if it has any."""
    found = json.loads(hyperparameters) if hyperparameters else {}
    return "; ".join([short(arch_id), *(f"{name} {value:.3g}" for name, value in found.items())])


def short(arch_id: str) -> str:
    """``e128 192:M6F4 256:S5`` of ``e128/192:M6-F4/256:S5``; ``D4 A8 H512 I1024`` of a uniform encoder."""
    if arch_id.startswith("uniform:"):
        return arch_id.removeprefix("uniform:").replace("-", " ")
    return arch_id.replace("-", "").replace("/", " ")
