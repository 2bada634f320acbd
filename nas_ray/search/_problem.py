"""The tables of one run as a problem for the exact solver.

Where the space has an embedding rule, an embedding size stands for a range of encoder sizes: each size is solved by
itself within its range, and the fronts are united. The combinations are those that agree with the rule, so that what
the solver promises holds for the space as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas_ray.errors import InfeasibleError
from nas_ray.search._front import Choice, Front, exact_front
from nas_ray.search._pareto import non_dominated
from nas_ray.search._reach import require_feasible
from nas_ray.search._top import exact_top
from nas_ray.space import Architecture, Boundary, Path, parse_path
from nas_ray.tables import Costs, QualityTable

SCORE, ENCODER = "score", "encoder_params"
_NEGATED = "less encoder_params"  # a bound on it is a lower bound on them

_Slots = tuple[tuple[Choice, ...], ...]
_Bounds = list[float | None]


@dataclass(frozen=True)
class TableProblem:
    """Slots, seams and metrics: ``metrics[0]`` is the summed score of the quality table, the others are costs."""

    slots: _Slots
    metrics: tuple[str, ...]
    costs: Costs

    def seam(self, before: Boundary, after: Boundary | None) -> tuple[float, ...]:
        """What the map at a seam adds."""
        return _values(0.0, self.costs.seam(before, after), self.metrics, self.costs)

    def front(self, objectives: Sequence[str], constraints: Mapping[str, float]) -> Front:
        """The exact front in ``objectives`` (names of ``metrics``) under ``constraints``."""
        chosen = [self.metrics.index(name) for name in objectives]
        fronts = [
            exact_front(slots, self.seam, bounds, chosen, metrics=self.metrics)
            for slots, bounds in self._cases(constraints)
        ]
        points = [point for front in fronts for point in front.points]
        if len(fronts) > 1 and points:
            values = np.array([[point.values[j] for j in chosen] for point in points])
            kept = np.flatnonzero(non_dominated(values))
            points = [points[i] for i in kept[np.lexsort(values[kept].T[::-1])]]
        guarantees = [front.guarantee for front in fronts]
        return Front(tuple(points), next((g for g in guarantees if not g.startswith("exact")), guarantees[0]))

    def top(self, count: int, constraints: Mapping[str, float]) -> Front:
        """The ``count`` architectures of least score under ``constraints``, ascending."""
        fronts = [exact_top(slots, self.seam, bounds, count) for slots, bounds in self._cases(constraints)]
        points = sorted((point for front in fronts for point in front.points), key=lambda point: point.values[0])
        guarantees = [front.guarantee for front in fronts]
        return Front(tuple(points[:count]), next((g for g in guarantees if not g.startswith("exact")), guarantees[0]))

    def require_feasible(self, constraints: Mapping[str, float]) -> None:
        """Nothing, if some architecture meets ``constraints``.

        Raises:
            InfeasibleError: none does; names the nearest reachable values.
        """
        offsets = {metric: self.costs.offset(metric) for metric in constraints}
        names = [
            f"{metric} (beside {offset:.3g} fixed)" if (offset := offsets.get(metric)) else metric
            for metric in self.metrics
        ]
        errors = []
        for slots, bounds in self._cases(constraints):
            try:
                return require_feasible(slots, self.seam, bounds, names)
            except InfeasibleError as error:
                errors.append(error)
        free = (bool(exact_front(slots, self.seam, bounds, [1]).points) for slots, bounds in self._cases({}))
        # The smallest embedding that any encoder has is the nearest to all bounds.
        raise next((error for error, has_any in zip(errors, free, strict=True) if has_any), errors[0])

    def architecture(self, names: Sequence[str]) -> Architecture:
        """The architecture of a point of the front."""
        head_size = self.costs.space.head_size
        return Architecture(int(names[0].removeprefix("e")), tuple(parse_path(name, head_size) for name in names[1:]))

    def _cases(self, constraints: Mapping[str, float]) -> Iterator[tuple[_Slots, _Bounds]]:
        """What the solver gets: everything at once, or each embedding size of a rule, small ones first."""
        known = {metric: bound - self.costs.offset(metric) for metric, bound in constraints.items()}
        rule, least = self.costs.space.embedding_rule, 0
        if rule is None:
            yield self.slots, [known.get(metric) for metric in self.metrics]
            return
        choices = {choice.name: choice for choice in self.slots[0]}
        for most, size in (*rule.bounds, (None, rule.largest)):
            bounds = dict(known)
            if most is not None:
                bounds[ENCODER] = min(known.get(ENCODER, most), most)
            if least:
                bounds[_NEGATED] = -least
            yield ((choices[f"e{size}"],), *self.slots[1:]), [bounds.get(metric) for metric in self.metrics]
            least = 0 if most is None else most + 1


def table_problem(costs: Costs, quality: QualityTable | None, metrics: Sequence[str]) -> TableProblem:
    """The problem over the choices that ``quality`` holds, or over the whole space (losses 0) without one."""
    space = costs.space
    ruled = () if space.embedding_rule is None else (ENCODER, _NEGATED)
    names = (SCORE, *dict.fromkeys((*metrics, *ruled)))
    losses = _no_losses(costs) if quality is None else quality.scores
    first = tuple(
        Choice(
            f"e{size}",
            costs.embedding_boundary(size),
            _values(losses[0].get(f"e{size}", 0.0), (f"embedding:{size}",), names, costs),
        )
        for size in space.embedding_sizes
    )
    slots = [first]
    for block in range(space.num_blocks):
        known = {path.path_id: path for path in space.block_paths(block)}
        if costs.frozen is not None:
            known[costs.frozen.path_id] = costs.frozen
        slots.append(
            tuple(
                Choice(name, costs.path_boundary(path), _values(loss, _parts(path), names, costs))
                for name, loss in losses[block + 1].items()
                if (path := known.get(name)) is not None
            )
        )
    return TableProblem(tuple(slots), names, costs)


def _no_losses(costs: Costs) -> tuple[Mapping[str, float], ...]:
    space = costs.space
    return ({}, *({path.path_id: 0.0 for path in space.block_paths(block)} for block in range(space.num_blocks)))


def _parts(path: Path) -> tuple[str, ...]:
    return tuple(f"{path.width}:{operation.token}" for operation in path.operations)


def _values(loss: float, parts: Sequence[str], names: Sequence[str], costs: Costs) -> tuple[float, ...]:
    def value(metric: str) -> float:
        return -costs.additive(parts, ENCODER) if metric == _NEGATED else costs.additive(parts, metric)

    return (loss, *(value(metric) for metric in names[1:]))
