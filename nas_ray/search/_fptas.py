"""Optimal sub-architecture extraction by surrogates and an ordered grid (de Wynter 2020; Bort, de Wynter & Perry 2020).

The architectures of a ``uniform`` space are put in their intrinsic order, every ``epsilon``-th is trained for a few
steps, and the one of largest W-coefficient is the answer:

    W(f) = (p(T) - p(f)) / p(T) * (i(T) - i(f)) / i(T) / e(f)

with surrogates of size p, latency i and error e, and the maximum point T, whose W is 0 (papers.md B2 and B3). What the
papers leave open is decided here: the order is ascending in parameters, then operations; those that differ in heads
alone are equal to both and stand in an order by hash, so that every epsilon-th does not always meet the same heads;
the first element is always kept; e is floored by ``floor``, so that a perfect candidate has a finite W.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas_ray.space import UniformArchitecture, UniformSpace
from nas_ray.tables import Surrogates


@dataclass(frozen=True)
class Trained:
    """What training one architecture for a few steps has shown."""

    architecture: UniformArchitecture
    params: float
    latency: float
    """In any unit, that of the maximum point."""
    error: float


def w_coefficient(found: Trained, maximum: Trained, floor: float) -> float:
    """Larger is better; 0 for the maximum point and what is not smaller and faster, -inf where training failed."""
    if found.architecture == maximum.architecture:
        return 0.0
    if not math.isfinite(found.error):
        return -math.inf
    smaller = (maximum.params - found.params) / maximum.params
    faster = (maximum.latency - found.latency) / maximum.latency
    if min(smaller, faster) <= 0:  # two wrongs would make a right
        return 0.0
    return smaller * faster / max(found.error, floor)


def intrinsic_order(
    space: UniformSpace, surrogates: Surrogates, below: UniformArchitecture
) -> tuple[UniformArchitecture, ...]:
    """The valid tuples that are smaller than the maximum point ``below``, ascending in size, then in operations."""

    def key(a: UniformArchitecture) -> tuple[int, int, str]:
        return surrogates.params(a), surrogates.operations(a), hashlib.sha256(a.arch_id.encode()).hexdigest()

    most = surrogates.params(below)
    return tuple(sorted((a for a in space.architectures if surrogates.params(a) < most), key=key))


def every(order: Sequence[UniformArchitecture], epsilon: int) -> tuple[UniformArchitecture, ...]:
    """The first of ``order`` and every ``epsilon``-th after it: ceil(len / epsilon) candidates.

    Raises:
        ValueError: ``epsilon`` is not from 1 to the length of the order.
    """
    if not 1 <= epsilon <= max(1, len(order)):
        raise ValueError(
            f"epsilon is {epsilon}; accepted: 1 to {len(order)}, the architectures below the maximum point."
        )
    return tuple(order[::epsilon])


def how_many(epsilon: int) -> str:
    """``all``, ``every 2nd``, ``every 6th``."""
    if epsilon == 1:
        return "all"
    ending = "th" if epsilon % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(epsilon % 10, "th")
    return f"every {epsilon}{ending}"


def statement(epsilon: int, candidates: int, tuples: int, steps: int, thetas: int) -> str:
    """What the papers promise of the answer, under which assumptions, and how their bound is read here."""
    return (
        f"{candidates} of {tuples} architectures ({how_many(epsilon)} in the intrinsic order), hyperparameter sets: "
        f"{thetas}, {steps} steps each. de Wynter (2020): with a smooth, strongly convex loss in clipped weights, "
        "and stochastic gradients of bounded size, an approximation ratio of at most |1 - epsilon| = "
        f"{abs(1 - epsilon)} in W. Read here as: relative to the best W of all {tuples} by the same surrogates after "
        f"{steps} steps, not to any measured task. No transformer meets these assumptions as it stands."
    )
