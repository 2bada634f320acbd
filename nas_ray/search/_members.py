"""What the proposer must know of a space beyond sampling: canonical members and, of small spaces, all of
them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, cast

from nas_ray.search._searcher import A
from nas_ray.search._spaces import Joint, JointSpace
from nas_ray.space import Architecture, PathSpace, UniformSpace

_LISTABLE = 20_000


def normalise(space: Any, architecture: A, costs: Callable[[A], Mapping[str, float]]) -> tuple[A, Mapping[str, float]]:
    """``architecture`` with the embedding size that the space's rule gives it, and its costs.

    The map behind the embedding counts as encoder, so the size that the rule gives may itself move
    ``encoder_params``. The rule starts from its smallest size and is applied until nothing changes: equal
    paths have equal embeddings, and applying the rule once more changes nothing.
    """
    if isinstance(space, JointSpace):
        joint = cast(Joint[Any], architecture)
        half, metrics = normalise(
            space.architectures, joint.architecture, lambda a: costs(cast(A, Joint(a, joint.point)))
        )
        return cast(A, Joint(half, joint.point)), metrics
    if not isinstance(space, PathSpace) or space.embedding_rule is None:
        return architecture, costs(architecture)
    found = space.with_rule(cast(Architecture, architecture), 0)
    metrics = costs(cast(A, found))
    for _ in space.embedding_rule.bounds:
        after = space.with_rule(found, int(metrics["encoder_params"]))
        if after == found:
            break
        found, metrics = after, costs(cast(A, after))
    return cast(A, found), metrics


def enumerate_members(space: Any) -> Iterator[Any]:
    """Every candidate of a space of at most 20,000; nothing for a larger one.

    A space that is not of this package may have ``members(most)``, which says the same.
    """
    if isinstance(space, UniformSpace):
        yield from space.architectures
    elif isinstance(space, PathSpace):
        sizes = space.embedding_sizes if space.embedding_rule is None else space.embedding_sizes[:1]
        if len(sizes) * space.num_architectures <= _LISTABLE:
            blocks = [space.block_paths(block) for block in range(space.num_blocks)]
            for size, paths in product(sizes, product(*blocks)):
                yield Architecture(size, paths)
    elif hasattr(space, "members"):
        yield from space.members(_LISTABLE)
