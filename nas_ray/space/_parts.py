"""What a student is made of: the one place that says which parts an architecture has.

A part is a text key: ``embedding:384``, ``map:384-192``, ``192:M6``. Every lookup table of costs (parameters, FLOPs,
milliseconds) maps parts to numbers, so a cost of an architecture is the sum over its parts, and the student is built
from the same list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from nas_ray.errors import SpaceError
from nas_ray.space._architecture import Architecture, Path
from nas_ray.space._operations import Operation, parse_operation
from nas_ray.space._paths import PathSpace

Start = Literal["inherit", "scratch"]

_PART = re.compile(
    r"embedding:(?P<size>[0-9]+)|map:(?P<before>[0-9]+)-(?P<after>[0-9]+)|(?P<width>[0-9]+):(?P<token>.+)"
)


@dataclass(frozen=True)
class TeacherShape:
    """The sizes of a teacher that costs depend on.

    ``embedding_params`` counts its own embeddings whole; ``num_positions`` are those that a text can take.
    """

    hidden: int
    num_layers: int
    heads: int
    intermediate: int
    vocab_size: int
    num_positions: int
    embedding_params: int
    encoder_params: int


@dataclass(frozen=True)
class Boundary:
    """One side of a seam between slots: its width, and whether it speaks the teacher's own hidden space."""

    width: int
    native: bool


def teacher_path(shape: TeacherShape, num_blocks: int, head_size: int) -> Path | None:
    """The path that copies the teacher's slice of one block, or None where the operations cannot express it."""
    heads, ratio = shape.heads, shape.intermediate // shape.hidden
    if heads * head_size != shape.hidden or ratio * shape.hidden != shape.intermediate:
        return None
    layer = (
        Operation("attention", heads=heads, head_size=head_size),
        Operation("feed_forward", ratio=ratio, head_size=head_size),
    )
    return Path(shape.hidden, layer * (shape.num_layers // num_blocks))


def embedding_boundary(size: int, shape: TeacherShape) -> Boundary:
    """The seam behind an embedding of ``size``."""
    return Boundary(size, native=size == shape.hidden)


def path_boundary(path: Path, frozen: Path | None, start: Start) -> Boundary:
    """Both seams of a block's path; the teacher's own path keeps the teacher's hidden space."""
    return Boundary(path.width, native=start == "inherit" and path == frozen)


def map_part(before: Boundary, after: Boundary | None, shape: TeacherShape, start: Start) -> str | None:
    """The affine map at a seam; ``after`` is None behind the last block.

    ``inherit`` has a map at every seam, except where both sides speak the teacher's hidden space. ``scratch`` has the
    papers' form: a map only where widths differ, and none behind the last block.
    """
    if start == "scratch":
        return None if after is None or before.width == after.width else f"map:{before.width}-{after.width}"
    after = after or Boundary(shape.hidden, native=True)
    return None if before.native and after.native else f"map:{before.width}-{after.width}"


def parts(architecture: Architecture, shape: TeacherShape, start: Start, frozen: Path | None) -> tuple[str, ...]:
    """The parts of the student, in the order in which it runs them."""
    found = [f"embedding:{architecture.embedding_size}"]
    before = embedding_boundary(architecture.embedding_size, shape)
    for path in architecture.paths:
        after = path_boundary(path, frozen, start)
        seam = map_part(before, after, shape, start)
        found += [seam] if seam else []
        found += [f"{path.width}:{operation.token}" for operation in path.operations]
        before = after
    seam = map_part(before, None, shape, start)
    return (*found, seam) if seam else tuple(found)


def part_params(part: str, shape: TeacherShape, head_size: int) -> int:
    """Weights of one part, exact.

    Raises:
        SpaceError: the key names no part.
    """
    match = _PART.fullmatch(part)
    if match is None:
        raise SpaceError(f"'{part}' is no part; accepted: embedding:<size>, map:<from>-<to>, <width>:<operation>.")
    if match["size"]:
        size = int(match["size"])
        if size == shape.hidden:
            return shape.embedding_params
        return (shape.vocab_size + shape.num_positions + 2) * size
    if match["before"]:
        before, after = int(match["before"]), int(match["after"])
        return before * after + after
    return parse_operation(match["token"], head_size).num_params(int(match["width"]))


def all_parts(space: PathSpace, shape: TeacherShape) -> tuple[str, ...]:
    """Every part that any architecture of the space, a reference or the teacher may have, sorted."""
    sizes = {*space.embedding_sizes, shape.hidden}
    widths = {*space.widths, shape.hidden}
    found = {f"embedding:{size}" for size in sizes}
    found |= {f"map:{a}-{b}" for a in sizes | widths for b in widths}
    for width, operations in space.operations.items():
        found |= {f"{width}:{operation.token}" for operation in operations}
    for path in (*references(space, shape).values(), teacher_path(shape, space.num_blocks, space.head_size)):
        if path is not None:
            found |= {f"{path.width}:{operation.token}" for operation in path.operations}
    return tuple(sorted(found))


def references(space: PathSpace, shape: TeacherShape) -> dict[int, Path]:
    """The path of a uniform hand-designed encoder of each width: as many layers as the teacher, heads of
    ``head_size``, feed-forward ratio 4, cut to the block's number of layers."""
    found: dict[int, Path] = {}
    for width in space.widths:
        if width % space.head_size:
            continue
        layer = (
            Operation("attention", heads=width // space.head_size, head_size=space.head_size),
            Operation("feed_forward", ratio=4, head_size=space.head_size),
        )
        copies = min(shape.num_layers // space.num_blocks, max(1, space.num_layers // 2))
        found[width] = Path(width, layer * copies)
    return found
