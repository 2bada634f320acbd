"""Which architectures are compared: four uniform hand-designed encoders, and what stands beside each at its size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.quality._bundle import DROPPED, RANDOM, SEARCHED, UNIFORM, Arm, Arms, Model
from nas_ray.errors import SpaceError
from nas_ray.search import TableProblem, table_problem
from nas_ray.space import Architecture, Path, PathSpace, TeacherShape, candidate_id, references
from nas_ray.tables import COST_METRICS, Costs, QualityTable

BAND = 0.98  # searched and random architectures have so much, at least, of what the uniform one has
_TRIES = 1_000_000


def choose(costs: Costs, quality: QualityTable, *, randoms: int, seed: int) -> Arms:
    """All arms at all sizes.

    Raises:
        SpaceError: the space holds no architecture of such a size.
    """
    problem = table_problem(costs, quality, COST_METRICS[:3])
    sizes, arms, models = [], [], {}

    def add(size: int, name: str, model: Model) -> None:
        key = candidate_id({"arch": model.arch})
        models[key] = model
        arms.append(Arm(size, name, key))

    for size, (name, uniform) in enumerate(uniforms(costs.space, costs.shape)):
        sizes.append(name)
        whole = model_of(costs, uniform)
        add(size, UNIFORM, whole)
        for arm, metric in SEARCHED.items():
            add(size, arm, searched(problem, metric, whole.costs[metric]))
        add(size, DROPPED, layer_dropped(costs, whole.costs["encoder_params"]))
        for architecture in random_ones(costs, whole.costs["encoder_params"], randoms, (seed, size)):
            add(size, RANDOM, model_of(costs, architecture))
    return Arms(tuple(sizes), models, tuple(arms), {})


def uniforms(space: PathSpace, shape: TeacherShape) -> list[tuple[str, Architecture]]:
    """Uniform encoders narrower than the teacher, small ones first: one of each width with as many layers as the
    teacher, and before them one of the least width with one layer a block."""
    found = {width: path for width, path in references(space, shape).items() if width < shape.hidden}
    least = min(found)
    paths = [Path(least, found[least].operations[:2]), *(found[width] for width in sorted(found))]
    return [
        (f"{path.width} x {path.depth // 2 * space.num_blocks}", _repeated(space, path))
        for path in dict.fromkeys(paths)
    ]


def searched(problem: TableProblem, metric: str, bound: float) -> Model:
    """The architecture of least score with at most ``bound`` of ``metric`` and at least ``BAND`` of that.

    Raises:
        SpaceError: the tables hold none.
    """
    count = 1
    while True:
        points = problem.top(count, {metric: bound}).points
        for point in points:
            model = model_of(problem.costs, problem.architecture(point.names))
            if BAND * bound <= model.costs[metric] <= bound:
                return model
        if len(points) < count:
            raise SpaceError(f"the tables hold no architecture with {BAND * bound:,.0f} to {bound:,.0f} {metric}.")
        count *= 16


def random_ones(costs: Costs, bound: float, count: int, seed: Sequence[int]) -> Iterable[Architecture]:
    """Distinct architectures by the space's own law, whole embedding, ``BAND`` x ``bound`` to ``bound`` encoder
    parameters.

    Raises:
        SpaceError: so many were not found.
    """
    rng, found = np.random.default_rng([*seed, 17]), dict[str, Architecture]()
    for _ in range(_TRIES):
        architecture = Architecture(costs.shape.hidden, costs.space.sample(rng).paths)
        if BAND * bound <= costs.additive(costs.parts(architecture), "encoder_params") <= bound:
            found[architecture.arch_id] = architecture
            if len(found) == count:
                return found.values()
    raise SpaceError(f"{len(found)} random architectures of up to {bound:,.0f} encoder parameters; wanted {count}.")


def layer_dropped(costs: Costs, size: float) -> Model:
    """The copy of some of the teacher's layers that is nearest to ``size`` encoder parameters, larger or smaller."""
    shape = costs.shape
    each = shape.encoder_params / shape.num_layers
    count = min(range(1, shape.num_layers), key=lambda k: abs(math.log(k * each / size)))
    kept = kept_layers(shape.num_layers, count)
    assert costs.frozen is not None, "the space can write the teacher's layers"
    layer = [f"{shape.hidden}:{operation.token}" for operation in costs.frozen.operations[:2]]
    return _model(costs, f"layers:{'-'.join(map(str, kept))}", (f"embedding:{shape.hidden}", *layer * count))


def kept_layers(layers: int, count: int) -> tuple[int, ...]:
    """The middle layer of each of ``count`` equal parts, as sentence-transformers' distillation example keeps them."""
    return tuple(int((part + 0.5) * layers / count) for part in range(count))


def model_of(costs: Costs, architecture: Architecture) -> Model:
    """An architecture with its costs by the tables."""
    return _model(costs, architecture.arch_id, costs.parts(architecture))


def _model(costs: Costs, arch: str, parts: tuple[str, ...]) -> Model:
    found = {metric: costs.additive(parts, metric) + costs.offset(metric) for metric in COST_METRICS}
    return Model(arch, found, parts)


def _repeated(space: PathSpace, path: Path) -> Architecture:
    return Architecture(max(space.embedding_sizes), (path,) * space.num_blocks)
