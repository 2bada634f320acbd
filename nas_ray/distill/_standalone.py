"""Stand-alone training of single paths, no weight shared: the losses that a supernet's scores stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from nas_ray.blocks import BlockSupernet
from nas_ray.distill._start import inherit
from nas_ray.distill._store import Boundary, BoundaryCache
from nas_ray.distill._trainer import Schedule, Trainer, normalised_mse
from nas_ray.errors import StageError
from nas_ray.measure import ScoreSets, score_paths
from nas_ray.modeling import Numerics
from nas_ray.space import Path, PathSpace, Start
from nas_ray.teacher import TeacherBlock


@dataclass(frozen=True)
class StandAlonePlan:
    """How a path is trained; small batches and many steps serve a small budget best."""

    steps: int
    sequences: int
    learning_rate: float  # at the teacher's hidden size; a narrower path learns faster by the ratio of the widths
    warmup: float = 0.08
    weight_decay: float = 0.01
    clip: float = 1.0


@dataclass
class StandAlone:
    """Trains paths of one block, each on ``batches`` boundaries of ``cache``."""

    block: TeacherBlock
    hidden: int
    head_size: int
    numerics: Numerics
    cache: BoundaryCache
    precision: str
    device: str

    def expect(self, limit: int) -> None:
        """Forget the boundaries of earlier trainings; keep up to ``limit`` bytes of those that will come."""
        self.cache.close()
        self.cache = BoundaryCache(limit)

    def complete(self, batches: int) -> bool:
        """Whether ``batches`` boundaries are here.

        Raises:
            StageError: there was no room for them all.
        """
        if all(index in self.cache.held for index in range(batches)):
            return True
        if self.cache.refused:
            raise StageError(
                "rank", f"the hidden states of {batches} batches cannot be kept: {self.cache.refused}; "
                "accepted: a smaller ranking.tokens, or a TMPDIR with more room."
            )  # fmt: skip
        return False

    def loss(
        self,
        space: PathSpace,
        path: Path,
        plan: StandAlonePlan,
        sets: ScoreSets,
        ridges: tuple[float, ...],
        *,
        start: Start,
        basis: str,
        batches: int,
        seed: int,
    ) -> float:
        """Refitted loss on *select* of ``path`` after training from ``start``.

        Batches come in an order of ``seed``, which also draws weights that no teacher gives.
        """
        one = space_of(path, space)
        network = BlockSupernet(one, self.hidden, self.numerics, seed, start).to(self.device)

        def score(path: Path, sets: ScoreSets) -> float:
            return score_paths(network, [path], sets, ridges)[path.path_id]

        if start == "inherit":
            inherit(network, one, self.block, self.head_size, self.numerics, sets, basis, score)
        self._train(network, path, plan, sets.fit.variance(), batches, seed)
        return score(path, sets)

    def _train(
        self, network: BlockSupernet, path: Path, plan: StandAlonePlan, variance: float, batches: int, seed: int
    ) -> None:
        schedule = Schedule(plan.learning_rate * self.hidden / path.width, plan.steps, plan.warmup)
        trainer = Trainer(
            network,
            schedule,
            weight_decay=plan.weight_decay,
            clip=plan.clip,
            precision=self.precision,
            device=self.device,
        )
        order = np.random.default_rng([seed, 5]).permutation(batches)
        pieces: list[Boundary] = []
        drawn = 0
        for step in range(plan.steps):
            if not pieces:
                whole = self.cache.get(int(order[drawn % batches]))
                assert whole is not None, "the caller has seen to it"
                pieces = whole.pieces(plan.sequences)
                drawn += 1
            piece = pieces.pop(0).to(self.device)

            def loss(piece: Boundary = piece) -> Tensor:
                output = network(piece.inputs, path, piece.mask)
                return normalised_mse(output, piece.targets, piece.mask, variance)

            trainer.step(step, [loss])


def space_of(path: Path, space: PathSpace) -> PathSpace:
    """``space`` with the width and the operations of ``path`` only; its layers stay, they say what is inherited."""
    choices = tuple(c for c in space.choices if c.at(path.width, space.head_size) in path.operations)
    return replace(space, widths=(path.width,), choices=choices, remaining=None)
