"""The prefix tree of a block's paths, walked so that every prefix runs once.

Prefixes of one length are extended in groups. A group of one parent is a depth-first walk, whose small tensors stay in
a CPU's caches; a group of many is the large products that a GPU needs to be busy. A group is walked on as soon as it is
full, so that one group a layer is all that is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nas_ray.blocks import BlockSupernet, TargetTile
from nas_ray.space import Operation, Path


@dataclass(frozen=True)
class Piece:
    """The sequences ``start`` to ``stop`` of a tile, which belong to one set; ``kept`` numbers the positions of text
    where there is padding."""

    part: int
    start: int
    stop: int
    kept: Tensor | None
    target: TargetTile

    def rows(self, hidden: Tensor) -> Tensor:
        """``(parents, sequences, tokens, width)`` of the tile as ``(parents, n, width)``, padding left out."""
        rows = hidden[:, self.start : self.stop].flatten(1, 2)
        return rows if self.kept is None else rows.index_select(1, self.kept)


@dataclass(frozen=True)
class Tile:
    """A few sequences ``(sequences, tokens, hidden)`` that are computed at once."""

    inputs: Tensor
    mask: Tensor | None
    pieces: tuple[Piece, ...]


@dataclass(slots=True)
class Node:
    """A prefix: the id of the path that ends here, if it is wanted, and what may follow."""

    path_id: str | None = None
    below: dict[Operation, Node] = field(default_factory=dict)


def tree(paths: Iterable[Path]) -> Node:
    """The root of the tree of ``paths``, all of one width."""
    root = Node()
    for path in paths:
        node = root
        for operation in path.operations:
            node = node.below.setdefault(operation, Node())
        node.path_id = path.path_id
    return root


@dataclass
class Group:
    """Prefixes of one length; ``hidden`` holds ``(prefixes, sequences, tokens, width)`` of each tile."""

    nodes: list[Node]
    hidden: list[Tensor]

    def __len__(self) -> int:
        return len(self.nodes)

    def where(self, wanted: Callable[[Node], object]) -> Group:
        """The prefixes that are ``wanted``; copied only if some are not."""
        chosen = [i for i, node in enumerate(self.nodes) if wanted(node)]
        if len(chosen) == len(self.nodes):
            return self
        index = torch.tensor(chosen, dtype=torch.long, device=self.hidden[0].device)
        return Group([self.nodes[i] for i in chosen], [h.index_select(0, index) for h in self.hidden])


def _joined(groups: list[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    tiles = zip(*(group.hidden for group in groups), strict=True)
    return Group([node for group in groups for node in group.nodes], [torch.cat(pieces) for pieces in tiles])


@dataclass(frozen=True)
class Walk:
    """A walk over the paths of one width in groups of at most ``limit`` parents; ``visit`` is shown each group with the
    map out behind its last operation."""

    supernet: BlockSupernet
    width: int
    tiles: list[Tile]
    limit: int
    bf16: bool
    visit: Callable[[Group, nn.Linear], None]

    def over(self, root: Node) -> None:
        """Walk the tree."""
        enter = self.supernet.map_in(self.width)
        self._extend(Group([root], [enter(tile.inputs)[None] for tile in self.tiles]), 0)

    def _extend(self, group: Group, layer: int) -> None:
        waiting: list[Group] = []
        for operation in dict.fromkeys(operation for node in group.nodes for operation in node.below):
            count = sum(operation in node.below for node in group.nodes)
            if waiting and sum(map(len, waiting)) + count > self.limit:
                self._extend(_taken(waiting), layer + 1)
            waiting += self._children(group, layer, operation)
            if sum(map(len, waiting)) >= self.limit:
                self._extend(_taken(waiting), layer + 1)
        if waiting:
            self._extend(_taken(waiting), layer + 1)

    def _children(self, group: Group, layer: int, operation: Operation) -> list[Group]:
        """Runs ``operation`` behind the prefixes that it may follow, shows the new ones, returns those that go on."""
        parents = group.where(lambda node: operation in node.below)
        module = self.supernet.operation(self.width, layer, operation.token)
        hidden = [self._run(module, tile, h) for tile, h in zip(self.tiles, parents.hidden, strict=True)]
        children = Group([node.below[operation] for node in parents.nodes], hidden)
        ends = children.where(lambda node: node.path_id is not None)
        if len(ends):
            self.visit(ends, self.supernet.map_out(self.width, layer, operation.token))
        onward = children.where(lambda node: node.below)
        return [onward] if len(onward) else []

    def _run(self, module: nn.Module, tile: Tile, hidden: Tensor) -> Tensor:
        mask = None if tile.mask is None else tile.mask.repeat(len(hidden), 1)
        with torch.autocast(hidden.device.type, torch.bfloat16, enabled=self.bf16):
            after: Tensor = module(hidden.flatten(0, 1), mask)
        return after.float().view(hidden.shape)


def _taken(waiting: list[Group]) -> Group:
    """All that waits, as one group; nothing waits afterwards, so that its pieces are not held twice."""
    group = _joined(waiting)
    waiting.clear()
    return group
