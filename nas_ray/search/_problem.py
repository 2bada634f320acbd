"""The tables of one run as a problem for the exact solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas_ray.search._front import Choice, Front, exact_front
from nas_ray.search._reach import require_feasible
from nas_ray.space import Architecture, Boundary, Path, parse_path
from nas_ray.tables import Costs, QualityTable

LOSS = "table_loss"


@dataclass(frozen=True)
class TableProblem:
    """Slots, seams and metrics: ``metrics[0]`` is the summed loss, the others are costs."""

    slots: tuple[tuple[Choice, ...], ...]
    metrics: tuple[str, ...]
    costs: Costs

    def seam(self, before: Boundary, after: Boundary | None) -> tuple[float, ...]:
        """What the map at a seam adds."""
        return _values(0.0, self.costs.seam(before, after), self.metrics, self.costs)

    def bounds(self, constraints: Mapping[str, float]) -> list[float | None]:
        """One bound a metric, less what a whole model costs beside its parts."""
        return [
            constraints[metric] - self.costs.offset(metric) if metric in constraints else None
            for metric in self.metrics
        ]

    def front(self, objectives: Sequence[str], constraints: Mapping[str, float]) -> Front:
        """The exact front in ``objectives`` (names of ``metrics``) under ``constraints``."""
        chosen = [self.metrics.index(name) for name in objectives]
        return exact_front(self.slots, self.seam, self.bounds(constraints), chosen, metrics=self.metrics)

    def require_feasible(self, constraints: Mapping[str, float]) -> None:
        """Nothing, if some architecture meets ``constraints``.

        Raises:
            InfeasibleError: none does; names the nearest reachable values.
        """
        names = [
            metric if not (o := self.costs.offset(metric)) else f"{metric} (beside {o:.3g} fixed)"
            for metric in self.metrics
        ]
        require_feasible(self.slots, self.seam, self.bounds(constraints), names)

    def architecture(self, names: Sequence[str]) -> Architecture:
        """The architecture of a point of the front."""
        head_size = self.costs.space.head_size
        return Architecture(int(names[0].removeprefix("e")), tuple(parse_path(name, head_size) for name in names[1:]))


def table_problem(costs: Costs, quality: QualityTable | None, metrics: Sequence[str]) -> TableProblem:
    """The problem over the choices that ``quality`` holds, or over the whole space (losses 0) without one."""
    space = costs.space
    names = (LOSS, *metrics)
    sizes = list(space.embedding_sizes) if space.embedding_rule is None else [max(space.embedding_sizes)]
    losses = _no_losses(costs) if quality is None else quality.losses
    first = tuple(
        Choice(
            f"e{size}",
            costs.embedding_boundary(size),
            _values(losses[0].get(f"e{size}", 0.0), (f"embedding:{size}",), names, costs),
        )
        for size in sizes
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
    return (loss, *(costs.additive(parts, metric) for metric in names[1:]))
