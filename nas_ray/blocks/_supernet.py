"""The supernet of one block: weights by (width, layer, operation), a map in by width, a map out by last operation."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from nas_ray.blocks._operations import build_operation
from nas_ray.modeling import Numerics, init_weights
from nas_ray.space import Path, PathSpace, Start


class BlockSupernet(nn.Module):
    """Learns to replace one block of the teacher.

    ``enter[width]`` maps the teacher's hidden size to the width; ``operations`` holds the module of each (width, layer,
    token), ``leave`` the maps back. With ``start: inherit`` each last operation has a map back of its own: one a width
    cannot serve inherited LayerNorms of different layers (docs/lab-notes.md, 1). With ``start: scratch`` there is one a
    width, as the papers imply.
    """

    def __init__(
        self, space: PathSpace, hidden: int, numerics: Numerics, seed: int | None, start: Start = "inherit"
    ) -> None:
        super().__init__()
        self.start = start
        self.enter = nn.ModuleDict({str(w): nn.Linear(hidden, w) for w in space.widths})
        places = [
            (width, layer, operation)
            for width in space.widths
            for layer in range(space.num_layers)
            for operation in space.operations[width]
        ]
        leaving = {self._map_out_key(w, layer, o.token): w for w, layer, o in places}
        self.leave = nn.ModuleDict({key: nn.Linear(w, hidden) for key, w in leaving.items()})
        self.operations = nn.ModuleDict(
            {_key(w, layer, o.token): build_operation(w, o, numerics) for w, layer, o in places}
        )
        if seed is None:  # weights will be loaded
            return
        generator = torch.Generator().manual_seed(seed)
        for module in (*self.enter.values(), *self.leave.values(), *self.operations.values()):
            init_weights(module, generator=generator)

    @staticmethod
    def width_of(name: str) -> int:
        """The width that the weight ``name`` belongs to."""
        return int(name.split(".")[1].split("_")[0])

    def maps(self, path: Path) -> tuple[nn.Linear, nn.Linear]:
        """The maps in and out of ``path``."""
        return self.map_in(path.width), self.map_out(path.width, path.depth - 1, path.operations[-1].token)

    def map_in(self, width: int) -> nn.Linear:
        """From the teacher's hidden size to ``width``."""
        return cast(nn.Linear, self.enter[str(width)])

    def map_out(self, width: int, layer: int, token: str) -> nn.Linear:
        """Back to the teacher's hidden size, behind ``token`` at ``layer``."""
        return cast(nn.Linear, self.leave[self._map_out_key(width, layer, token)])

    def _map_out_key(self, width: int, layer: int, token: str) -> str:
        return str(width) if self.start == "scratch" else _key(width, layer, token)

    def operation(self, width: int, layer: int, token: str) -> nn.Module:
        """The shared module at one place."""
        return self.operations[_key(width, layer, token)]

    def path_operations(self, path: Path) -> list[nn.Module]:
        """The shared modules of a path, in order."""
        return [self.operation(path.width, i, op.token) for i, op in enumerate(path.operations)]

    def path_parameters(self, path: Path) -> list[nn.Parameter]:
        """The weights that a step on ``path`` trains."""
        enter, leave = self.maps(path)
        modules = [enter, *self.path_operations(path), leave]
        return [parameter for module in modules for parameter in module.parameters()]

    def features(self, hidden: Tensor, path: Path, mask: Tensor | None = None) -> Tensor:
        """The path's own output before the map out: ``(batch, tokens, width)``."""
        x = self.map_in(path.width)(hidden)
        for module in self.path_operations(path):
            x = module(x, mask)
        return cast(Tensor, x)

    def prefixes(self, hidden: Tensor, path: Path, mask: Tensor | None = None) -> list[Tensor]:
        """What ``forward`` gives for each prefix of ``path``, shortest first, at the cost of little more than one."""
        x = self.map_in(path.width)(hidden)
        found = []
        for layer, (module, operation) in enumerate(zip(self.path_operations(path), path.operations, strict=True)):
            x = module(x, mask)
            found.append(self.map_out(path.width, layer, operation.token)(x))
        return found

    def forward(self, hidden: Tensor, path: Path, mask: Tensor | None = None) -> Tensor:
        """``(batch, tokens, hidden)`` to the same shape through ``path`` and the shared maps."""
        _, leave = self.maps(path)
        return cast(Tensor, leave(self.features(hidden, path, mask)))


def _key(width: int, layer: int, token: str) -> str:
    return f"{width}_{layer}_{token}"
