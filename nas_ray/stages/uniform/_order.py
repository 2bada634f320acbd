"""The intrinsic order of a run's architectures, and which of them are trained with which hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from nas_ray.errors import InfeasibleError, SpecError, rounded_up
from nas_ray.search import DimensionSpace, Joint, Point, every, intrinsic_order
from nas_ray.space import AnyArchitecture, TeacherShape, UniformArchitecture, UniformSpace
from nas_ray.spec import TrialSpec
from nas_ray.stages._context import Context
from nas_ray.stages._searched import dimension_of
from nas_ray.tables import Surrogates, maximum_point


@dataclass(frozen=True)
class Order:
    """All architectures below the maximum point that meet the bounds, and those that are trained."""

    maximum: UniformArchitecture
    architectures: tuple[UniformArchitecture, ...]
    chosen: tuple[UniformArchitecture, ...]


def intrinsic(context: Context) -> Order:
    """The order of this run.

    Raises:
        SpecError, InfeasibleError: as ``order_of``.
    """
    epsilon, surrogates = context.spec.extraction.epsilon, context.uniform_costs.surrogates
    return order_of(context.tuples, context.shape, surrogates, epsilon, context.bounds, context.costs_of)


def closed_form_order(spec: TrialSpec, space: UniformSpace, shape: TeacherShape) -> Order:
    """The order as far as it is known before latency is measured: bounds on that leave it as it is.

    Raises:
        SpecError, InfeasibleError: as ``order_of``.
    """
    surrogates = Surrogates(shape.vocab_size, shape.num_positions, spec.text.sequence_length)
    bounds: dict[str, float] = {k: v for k, v in spec.search.constraints.items() if k != "latency_ms"}
    return order_of(space, shape, surrogates, spec.extraction.epsilon, bounds, surrogates.of)


def order_of(
    space: UniformSpace,
    shape: TeacherShape,
    surrogates: Surrogates,
    epsilon: int,
    bounds: Mapping[str, float],
    costs_of: Callable[[UniformArchitecture], Mapping[str, float]],
) -> Order:
    """What of ``space`` is below the maximum point and within ``bounds``, and every ``epsilon``-th of it.

    Raises:
        SpecError: the maximum point is not above any architecture, or epsilon is above their number.
        InfeasibleError: none meets the bounds; names the smallest value of each.
    """
    maximum = maximum_point(shape)
    below = intrinsic_order(space, surrogates, maximum)
    if not below:
        raise SpecError(
            f"space '{space.name}' has no architecture smaller than the teacher ({maximum.arch_id}); accepted: a space "
            "below it.",
            key="space",
        )
    costs = {a: costs_of(a) for a in below} if bounds else {}
    within = tuple(a for a in below if all(costs[a][name] <= bound for name, bound in bounds.items()))
    if not within:
        near = "; ".join(
            f"{name}: found the bound {bound:.10g}, the smallest is {rounded_up(min(c[name] for c in costs.values()))}"
            for name, bound in bounds.items()
        )
        raise InfeasibleError(f"No architecture meets all constraints. {near}. Raise a bound.")
    if epsilon > len(within):
        meeting = " that meet the constraints" if bounds else ""
        raise SpecError(
            f"found {epsilon}; accepted: 1 to {len(within)}, the architectures below the maximum point{meeting}.",
            key="extraction.epsilon",
        )
    return Order(maximum, within, every(within, epsilon))


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
