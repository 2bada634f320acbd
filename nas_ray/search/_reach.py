"""Which bounds can be met at all, and a choice of points from a front; both on top of the exact front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from nas_ray.errors import InfeasibleError, rounded_up
from nas_ray.search._front import Choice, Seam, exact_front

T = TypeVar("T")


def smallest_reachable(
    slots: Sequence[Sequence[Choice]], seam: Seam, bounds: Sequence[float | None], metric: int
) -> float | None:
    """The least value of ``metric`` under the bounds of the other metrics; None where those cannot be met.

    Exact for additive metrics (as long as ``exact_front`` need not thin).
    """
    others = [None if j == metric else bound for j, bound in enumerate(bounds)]
    points = exact_front(slots, seam, others, [metric]).points
    return points[0].values[metric] if points else None


def require_feasible(
    slots: Sequence[Sequence[Choice]], seam: Seam, bounds: Sequence[float | None], metrics: Sequence[str]
) -> None:
    """Nothing, if some combination meets all bounds.

    Raises:
        InfeasibleError: none does; names the nearest reachable value of each bound that is too low.
    """
    bounded = {j: bound for j, bound in enumerate(bounds) if bound is not None}
    if not bounded or exact_front(slots, seam, bounds, list(bounded)[:1]).points:
        return
    sentences: list[str] = []
    for j, bound in bounded.items():
        least = smallest_reachable(slots, seam, [None] * len(bounds), j)
        if least is not None and least > bound:
            sentences.append(_sentence(metrics[j], bound, least, ""))
    if not sentences:  # each can be met, but not all together
        for j, bound in bounded.items():
            least = smallest_reachable(slots, seam, bounds, j)
            if least is not None:
                sentences.append(_sentence(metrics[j], bound, least, " under the other bounds"))
    raise InfeasibleError(" ".join(["No architecture meets the bounds.", *sentences, "Raise a bound."]))


def _sentence(metric: str, bound: float, least: float, when: str) -> str:
    return f"{metric}: found the bound {bound:.10g}; the smallest reachable value{when} is {rounded_up(least)}."


def spread(points: Sequence[T], count: int, key: Callable[[T], float]) -> list[T]:
    """``count`` of ``points``, evenly over the logarithm of ``key`` (a size); ascending, ends included.

    Deterministic: each target takes the nearest point that is left, the earlier one on a tie.
    """
    ordered = sorted(points, key=key)
    if count >= len(ordered) or count <= 0:
        return ordered if count > 0 else []
    logs = [math.log(key(point)) for point in ordered]
    left = list(range(len(ordered)))
    taken: list[int] = []
    targets = [logs[0] + (logs[-1] - logs[0]) * i / max(1, count - 1) for i in range(count)]
    for target in [targets[0], *targets[:0:-1]]:  # both ends first, so that nothing else takes them
        taken.append(min(left, key=lambda i: abs(logs[i] - target)))
        left.remove(taken[-1])
    return [ordered[i] for i in sorted(taken)]
