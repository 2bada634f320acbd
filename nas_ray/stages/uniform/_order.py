"""The intrinsic order of a run's architectures, and which of them are trained with which hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nas_ray.errors import InfeasibleError, SpecError, rounded_up
from nas_ray.search import DimensionSpace, Joint, Point, every, intrinsic_order
from nas_ray.space import AnyArchitecture, UniformArchitecture
from nas_ray.stages._context import Context
from nas_ray.stages._searched import dimension_of
from nas_ray.tables import maximum_point


@dataclass(frozen=True)
class Order:
    """All architectures below the maximum point that meet the bounds, and those that are trained."""

    maximum: UniformArchitecture
    architectures: tuple[UniformArchitecture, ...]
    chosen: tuple[UniformArchitecture, ...]


def intrinsic(context: Context) -> Order:
    """The order of this run.

    Raises:
        SpecError: the maximum point is not above any architecture, or epsilon is above their number.
        InfeasibleError: none meets the bounds; names the smallest value of each.
    """
    maximum, surrogates = maximum_point(context.shape), context.uniform_costs.surrogates
    below = intrinsic_order(context.tuples, surrogates, maximum)
    if not below:
        raise SpecError(
            f"space '{context.tuples.name}' has no architecture smaller than the teacher ({maximum.arch_id}); "
            "accepted: a space below it.",
            key="space",
        )
    within = tuple(a for a in below if _meets(context, a))
    if not within:
        costs = [context.costs_of(a) for a in below]
        near = "; ".join(
            f"{name}: found the bound {bound:.10g}, the smallest is {rounded_up(min(c[name] for c in costs))}"
            for name, bound in context.bounds.items()
        )
        raise InfeasibleError(f"No architecture meets all constraints. {near}. Raise a bound.")
    epsilon = context.spec.extraction.epsilon
    if epsilon > len(within):
        raise SpecError(
            f"found {epsilon}; accepted: 1 to {len(within)}, the architectures below the maximum point.",
            key="extraction.epsilon",
        )
    return Order(maximum, within, every(within, epsilon))


def _meets(context: Context, architecture: UniformArchitecture) -> bool:
    if not context.bounds:
        return True
    costs = context.costs_of(architecture)
    return all(costs[name] <= bound for name, bound in context.bounds.items())


@dataclass(frozen=True)
class Sets:
    """The hyperparameter sets: none of their own, a list, or a space that TPE searches."""

    context: Context

    @property
    def per_architecture(self) -> int:
        """How many each is trained with."""
        return self.context.spec.sets_each

    @cached_property
    def points(self) -> DimensionSpace | None:
        """The ranges of `search.distill`."""
        distill = self.context.spec.search.distill
        assert distill is not None, "checked before anything starts"
        if not distill.searched:
            return None
        return DimensionSpace([dimension_of(name, values) for name, values in distill.searched.items()])

    @cached_property
    def middle(self) -> Point:
        """The middle of the ranges."""
        distill = self.context.spec.search.distill
        assert distill is not None
        assert self.points is not None
        return self.points.decode(distill.middle)

    def listed(self, chosen: tuple[UniformArchitecture, ...]) -> list[AnyArchitecture | Joint[AnyArchitecture]]:
        """Every architecture with every set of the list; nothing where TPE suggests them."""
        if self.points is not None:
            return []
        sets = [Point(tuple(found.chosen.items())) for found in self.context.spec.extraction.hyperparameter_sets]
        return [Joint(a, point) for a in chosen for point in sets] or list(chosen)
