"""The evaluation states of one block, by split and batch: what its paths and embeddings are scored on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_ray.blocks import prior_of, reduced_embedding
from nas_ray.distill._store import Boundary
from nas_ray.measure import ScoreSets, States, linear_loss, rank_floors, refit, split_calibration
from nas_ray.teacher import TeacherEmbedding

Array = NDArray[Any]


class EvaluationStates:
    """Boundaries of *calibrate*, *select* and *test*; block 0 keeps the token ids too."""

    def __init__(self) -> None:
        self._states: dict[str, dict[int, Boundary]] = {}
        self._ids: dict[str, dict[int, Array]] = {}

    def put(self, split: str, index: int, boundary: Boundary) -> None:
        """Keep the boundary of one batch."""
        self._states.setdefault(split, {})[index] = boundary

    def put_ids(self, split: str, index: int, ids: Array) -> None:
        """Keep the token ids ``(sequences, tokens)`` of one batch."""
        self._ids.setdefault(split, {})[index] = np.array(ids)

    def forget(self, splits: Sequence[str]) -> None:
        """Drop ``splits``, before they are streamed anew."""
        for split in splits:
            self._states.pop(split, None)
            self._ids.pop(split, None)

    def complete(self, counts: Mapping[str, int]) -> bool:
        """Whether every batch of the ``counts`` by split is here."""
        return all(sorted(self._states.get(split, ())) == list(range(count)) for split, count in counts.items())

    def score_sets(self, select_batches: int | None) -> ScoreSets:
        """Fit and held-out part of *calibrate*, and the first ``select_batches`` of *select*."""
        calibrate = _joined(self._states["calibrate"])
        sequences = len(calibrate.inputs)
        cut = split_calibration(sequences)
        scored = sorted(self._states["select"])[:select_batches]
        select = _joined({index: self._states["select"][index] for index in scored})
        return ScoreSets(calibrate.slice(0, cut), calibrate.slice(cut, sequences), select)

    def shared(self) -> dict[str, Any]:
        """What trials need of every split, as numpy arrays: targets, and of block 0 its inputs, ids and masks."""
        whole = {split: _joined(states) for split, states in self._states.items()}
        shared: dict[str, Any] = {"targets": {split: s.targets.cpu().numpy() for split, s in whole.items()}}
        if self._ids:
            shared["ids"] = {split: _in_order(ids) for split, ids in self._ids.items()}
            shared["embedded"] = {split: s.inputs.cpu().numpy() for split, s in whole.items()}
            shared["masks"] = {split: None if s.mask is None else s.mask.cpu().numpy() for split, s in whole.items()}
        return shared

    @torch.no_grad()
    def embedding_losses(
        self,
        embedding: TeacherEmbedding,
        sets: ScoreSets,
        sizes: Iterable[int],
        num_positions: int,
        norm_eps: float,
        ridges: Sequence[float],
    ) -> dict[str, float]:
        """Loss on *select* of slot 0 by part (``e128``, ...): the reduced embedding plus a refitted map.

        The teacher's own embedding, loss 0, is that of its hidden size: ELECTRA's word vectors may be narrower.
        """
        words, positions = embedding.tables(num_positions)
        hidden, device = sets.fit.inputs.shape[-1], words.device
        sets = ScoreSets(*(States(s.inputs, s.inputs, s.mask) for s in sets.all))  # its output is the target
        calibrate = _tensor(_in_order(self._ids["calibrate"]), device)
        select = _tensor(_in_order(self._ids["select"])[: len(sets.select.inputs)], device)
        cut = len(sets.fit.inputs)
        found = {}
        for size in sizes:
            if size == hidden:
                found[f"e{size}"] = 0.0
                continue
            module = reduced_embedding(words, positions, size, norm_eps).to(device)
            features = module(calibrate)
            prior = prior_of(features.new_zeros(hidden, size), sets.fit.rows(sets.fit.targets).mean(0))
            readout = refit((features[:cut], features[cut:]), sets, prior, ridges)
            output = module(select) @ readout.weight.T + readout.bias
            error = sets.select.rows((output - sets.select.targets).square()).double().mean()
            found[f"e{size}"] = float(error) / sets.select.variance()
        return found


def baselines(sets: ScoreSets, ridges: Sequence[float], widths: Sequence[int]) -> dict[str, Any]:
    """What a block's paths are judged against: the target's ``variance``, ``linear_loss``, and ``floors`` by width."""
    return {
        "variance": sets.fit.variance(),
        "linear_loss": linear_loss(sets, ridges),
        "floors": rank_floors(sets, widths),
    }


def _tensor(array: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)


def _in_order(batches: Mapping[int, Array]) -> Array:
    return np.concatenate([batches[index] for index in sorted(batches)])


def _joined(batches: Mapping[int, Boundary]) -> States:
    """The boundaries of a split as one; a mask appears if any batch has one."""
    boundaries = [batches[index] for index in sorted(batches)]
    mask = None
    if any(b.mask is not None for b in boundaries):
        mask = torch.cat([_everywhere(b) if b.mask is None else b.mask for b in boundaries])
    return States(torch.cat([b.inputs for b in boundaries]), torch.cat([b.targets for b in boundaries]), mask)


def _everywhere(boundary: Boundary) -> Tensor:
    return torch.ones(boundary.inputs.shape[:2], dtype=torch.bool, device=boundary.inputs.device)
