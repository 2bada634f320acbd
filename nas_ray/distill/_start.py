"""What starts from the teacher: a block's supernet, in the basis whose probe path has the lower held-out loss; plain
students."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nas_ray.blocks import BlockSupernet, Inheritance, Layer, UniformInheritance, probe_path
from nas_ray.measure import ScoreSets
from nas_ray.modeling import Numerics
from nas_ray.space import Path, PathSpace
from nas_ray.teacher import TeacherBlock, TeacherSource, load_teacher, weights_of

_SEQUENCES = 24  # whose states heads and neurons are ranked on
BASES = ("pca", "coordinates")


def inherit(
    supernet: BlockSupernet,
    space: PathSpace,
    block: TeacherBlock,
    head_size: int,
    numerics: Numerics,
    sets: ScoreSets,
    basis: str,
    loss_of: Callable[[Path, ScoreSets], float],
) -> str:
    """Fill ``supernet`` from the teacher's ``block``; returns the basis, chosen by ``loss_of`` if it is ``auto``."""
    states = sets.fit
    mask = None if states.mask is None else states.mask[:_SEQUENCES]
    layers = [Layer(**vars(weights)) for weights in weights_of(block)]
    source = Inheritance(layers, states.inputs[:_SEQUENCES], mask, head_size, numerics)

    def fill(width: int, kind: str) -> None:
        source.initialise(supernet, space, width, source.basis(width, kind))

    if basis == "auto":
        basis = _best_basis(space, states.inputs.shape[-1], sets, fill, loss_of)
    for width in space.widths:
        fill(width, basis)
    return basis


def teacher_inheritance(location: str, numerics: Numerics, ids: Tensor, mask: Tensor | None) -> UniformInheritance:
    """The teacher whose files are at ``location``, run over ``ids`` ``(sequences, tokens)`` for its students."""
    teacher = load_teacher(TeacherSource(location), 1)
    layers = [Layer(**vars(weights)) for weights in weights_of(teacher.blocks[0])]
    shape = teacher.shape
    source = Inheritance(layers, teacher.embedding(ids), mask, shape.hidden // shape.heads, numerics)
    return UniformInheritance(source, *teacher.embedding.tables(shape.num_positions), ids)


def _best_basis(
    space: PathSpace,
    hidden: int,
    sets: ScoreSets,
    fill: Callable[[int, str], None],
    loss_of: Callable[[Path, ScoreSets], float],
) -> str:
    """Judged at the middle one of the narrow widths on the held-out part of *calibrate*; *select* stays unseen."""
    narrow = [width for width in space.widths if width < hidden]
    if not narrow:
        return "coordinates"
    width = narrow[len(narrow) // 2]
    unseen = ScoreSets(sets.fit, sets.held_out, sets.held_out)
    losses = {}
    for kind in BASES:
        fill(width, kind)
        losses[kind] = loss_of(probe_path(space, width), unseen)
    return min(losses, key=lambda kind: losses[kind])
