"""What tables know of a candidate before it is evaluated, in the form that searchers use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from nas_ray.search._members import normalise
from nas_ray.search._objectives import Constraint, Objective, violation
from nas_ray.search._searcher import A


@dataclass(frozen=True)
class Priced(Generic[A]):
    """A candidate as it would be proposed.

    ``values`` are its minimised objectives, None for those that must be measured; ``violation`` is 0 if and only if
    it meets the constraints; ``prior`` is a prediction of the first measured objective, in any unit that grows
    with it.
    """

    architecture: A
    values: tuple[float | None, ...]
    violation: float = 0.0
    prior: float | None = None


Price = Callable[[A], Priced[A]]


def make_price(
    space: Any,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    costs: Callable[[A], Mapping[str, float]],
    prior: Callable[[A], float | None] | None = None,
) -> Price[A]:
    """Prices by the same objectives, constraints and costs that a ``Proposer`` is given."""

    def price(architecture: A) -> Priced[A]:
        found, metrics = normalise(space, architecture, costs)
        values = tuple(o.minimised(metrics) if o.metric in metrics else None for o in objectives)
        return Priced(found, values, violation(constraints, metrics), None if prior is None else prior(found))

    return price
