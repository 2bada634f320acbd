"""One block whole: the teacher's slice, the supernet that learns to replace it, its states and its checkpoints.

The same class runs in this process (``LocalBlocks``) and as a Ray actor; it knows nothing of either.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_ray.blocks import BlockSupernet
from nas_ray.distill._config import BlockConfig
from nas_ray.distill._evaluation import EvaluationStates, baselines
from nas_ray.distill._replicas import ReplicaGroup, ReplicaLostError, State
from nas_ray.distill._sampling import step_paths, stratified_sample
from nas_ray.distill._shrink import is_shrunk, path_bins, shrink_once
from nas_ray.distill._standalone import StandAlone, StandAlonePlan
from nas_ray.distill._start import inherit
from nas_ray.distill._store import Boundary, BoundaryCache, Checkpoints
from nas_ray.distill._trainer import Trainer, block_trainer, path_loss
from nas_ray.errors import StageError
from nas_ray.measure import ScoreSets, score_paths
from nas_ray.space import Path as BlockPath
from nas_ray.space import Start
from nas_ray.teacher import load_teacher, numerics_of, resolve_teacher

Array = NDArray[Any]


class BlockWorker:
    """Owns block ``config.block``; reloads its last checkpoint when it is built."""

    def __init__(self, config: BlockConfig) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        if config.device == "cuda" and not torch.cuda.is_available():
            raise StageError("supernet", "supernet.device is cuda, torch finds no GPU here; set supernet.device=cpu.")
        self.config = config
        teacher = load_teacher(resolve_teacher(config.teacher), config.space.num_blocks)
        self.numerics = numerics_of(teacher.config)
        self.shape = teacher.shape
        self.slice = teacher.blocks[config.block].to(config.device)
        self.embedding = teacher.embedding.to(config.device) if config.block == 0 else None
        self.supernet = BlockSupernet(
            config.space, teacher.shape.hidden, self.numerics, config.seed + config.block, config.start
        )
        self.supernet.to(config.device)
        self.trainer: Trainer | None = None
        self.pending: dict[int, Boundary] = {}
        self.cache = BoundaryCache(config.cache_bytes)
        self.evaluation = EvaluationStates()
        self.standalone = StandAlone(
            self.slice, self.shape.hidden, self.shape.hidden // self.shape.heads, self.numerics,
            BoundaryCache(0), config.precision, config.device,
        )  # fmt: skip
        self.step = 0
        self.curve: list[tuple[int, float]] = []
        self.shrinking: list[dict[str, float]] = []
        self.bins: dict[int, tuple[BlockPath, ...]] = {}
        self.paths: tuple[BlockPath, ...] = config.space.block_paths(config.block)
        self.basis: str = config.start
        self.seconds = {"teacher": 0.0, "train": 0.0, "evaluate": 0.0}
        self.ready = False
        self.variance = float("nan")  # of the target, until prepared
        self.group = ReplicaGroup(config.rank, config.replicas, config.device)
        self.checkpoints = Checkpoints(config.checkpoint_dir)
        if config.rank == 0 and (found := self.checkpoints.load()):
            self.take(*found)

    # -- hidden states ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def forward(self, split: str, index: int, inputs: Array, mask: Array | None) -> Array:
        """Run the teacher's slice on one batch and keep its boundary; returns the slice's output.

        ``inputs`` are token ids ``(sequences, tokens)`` for block 0, else hidden states
        ``(sequences, tokens, hidden)``.
        """
        began = time.perf_counter()
        x = torch.from_numpy(np.array(inputs)).to(self.config.device)
        seen = None if mask is None else torch.from_numpy(np.array(mask)).to(self.config.device)
        if self.embedding is not None:
            if split not in ("train", "standalone"):
                self.evaluation.put_ids(split, index, inputs)
            x = self.embedding(x)
        y = self.slice(x, seen)
        boundary = Boundary(x, y, seen)
        if split == "train":
            self.pending[index] = boundary
            self.cache.put(index % self.config.batches, boundary)
        elif split == "standalone":
            self.standalone.cache.put(index, boundary)
        else:
            self.evaluation.put(split, index, boundary)
        self.seconds["teacher"] += time.perf_counter() - began
        return y.cpu().numpy()  # type: ignore[no-any-return]

    def cached(self) -> list[int]:
        """Training batches that need not be streamed again."""
        return sorted(self.cache.held)

    def forget(self, splits: Sequence[str]) -> None:
        """Drop the evaluation states of ``splits``, before they are streamed anew."""
        self.evaluation.forget(splits)

    def prepared(self) -> bool:
        """Whether the evaluation states are here and the supernet has been initialised."""
        return self.ready

    # -- preparation -----------------------------------------------------------------------------------------------

    def prepare(self, counts: Mapping[str, int] | None = None) -> dict[str, Any]:
        """Initialise the supernet from the teacher (or as it is), once the evaluation states have been streamed.

        Returns the block's baselines: ``linear_loss``, ``floors`` by width, ``variance``, ``basis``; nothing, and
        is not prepared, if batches are missing of the ``counts`` by split.
        """
        if not self.evaluation.complete(counts or {}):
            return {}
        config = self.config
        began, before = time.perf_counter(), self.seconds["evaluate"]
        self.sets = self.evaluation.score_sets(config.select_batches)
        self.variance = self.sets.fit.variance()
        if self.step == 0 and not self.curve and config.start == "inherit":
            self.basis = inherit(
                self.supernet, config.space, self.slice, self.standalone.head_size, self.numerics, self.sets,
                config.basis, lambda path, sets: self._scores([path], sets)[path.path_id],
            )  # fmt: skip
        if self.trainer is None:
            self.trainer = block_trainer(config, self.supernet, self.shape.hidden, self.group)
        if config.shrink is not None and not self.bins:
            self.bins = path_bins(self.paths, config.latencies, config.shrink.bins, config.shrink.latency)
            self._keep_bins()
        self.sample = stratified_sample(config.space.block_paths(config.block), config.sample_paths, config.seed)
        self.ready = True
        if not self.curve:
            self._follow()
        found = {**baselines(self.sets, config.ridges, config.space.widths), "basis": self.basis}
        self.seconds["evaluate"] = before + time.perf_counter() - began
        return found

    # -- training --------------------------------------------------------------------------------------------------

    def position(self) -> int:
        """Steps done."""
        return self.step

    def train_step(self, index: int) -> dict[str, Any]:
        """Step ``index``, if it is the next one and its batch is here; says how far this block is.

        A repeated step is not done twice, and a step too early (after a restart) is not done at all: the caller goes
        on from the ``step`` it is told.
        """
        batch = index * self.config.replicas + self.config.rank  # a step takes one of each replica
        boundary = self.pending.pop(batch, None)
        losses: list[float] = []
        if index == self.step and self.ready and self.group.whole:
            boundary = boundary or self.cache.get(batch % self.config.batches)
            if boundary is None:
                self.group.leave()  # else the others would wait for this one's gradients
            else:
                with suppress(ReplicaLostError):
                    losses = self._train(boundary)
        return {"block": self.config.block, "step": self.step, "loss": float(np.mean(losses)) if losses else None}

    def end_training(self) -> None:
        """Free the disk and the memory of batches: nothing is trained any more."""
        self.pending.clear()
        self.cache.close()

    def _train(self, boundary: Boundary) -> list[float]:
        assert self.trainer is not None
        config, began = self.config, time.perf_counter()
        losses: list[float] = []
        loss = partial(path_loss, self.supernet, variance=self.variance, prefixes=config.sampling == "prefixes")
        pieces = boundary.pieces(-(-len(boundary.inputs) // config.updates))
        for update, piece in enumerate(pieces, start=self.step * config.updates):
            paths = step_paths(self.paths, config.paths_per_update, config.seed, config.block, update, config.sampling)
            here = piece.to(config.device)
            losses += self.trainer.step(update, [partial(loss, path, here) for path in paths])
        self.step += 1
        self.seconds["train"] += time.perf_counter() - began
        self._after_step()
        return losses

    def _after_step(self) -> None:
        config, epoch = self.config, self.config.epoch_of(self.step)
        pauses = epoch or config.evaluates(self.step) or config.saves(self.step)
        if config.rank == 0:
            self._evaluate(epoch)
        if config.replicas > 1 and pauses:  # the others wait here for rank 0, then go on with the paths that it left
            self._take_paths(self.group.share({"step": self.step, "bins": self._bin_ids() if epoch else None}))

    def _evaluate(self, epoch: int | None) -> None:
        config, ends = self.config, False
        if config.shrink is not None and epoch:
            self._shrink(epoch)
            ends = config.shrink.stop and is_shrunk(self.bins, config.shrink)
        if ends or config.evaluates(self.step):
            self._follow()
        if ends:  # the steps that would follow count as done
            self.step = config.steps
        if config.saves(self.step):
            self.save()

    def _follow(self) -> None:
        losses = self._scores(self.sample, self.sets)
        self.curve.append((self.step, float(np.mean(list(losses.values())))))

    def _shrink(self, epoch: int) -> None:
        plan = self.config.shrink
        assert plan is not None
        seen: Mapping[str, float] = {}
        if epoch > plan.warm_epochs:
            sets = self.sets if plan.batches is None else self.evaluation.score_sets(plan.batches)
            rng = np.random.default_rng([self.config.seed, self.config.block, epoch, 3])
            self.bins, seen = shrink_once(self.bins, plan, lambda paths: self._scores(paths, sets), rng)
            self._keep_bins()
            seen = seen or self._scores(self.paths, sets)  # nothing more goes, the curve goes on
        values = list(seen.values()) or [float("nan")]
        found = {"best": min(values), "mean": float(np.mean(values))}
        self.shrinking.append({"epoch": epoch, "step": self.step, "remaining": len(self.paths), **found})

    def _keep_bins(self) -> None:
        if self.config.shrink is not None and self.config.shrink.mode == "none":
            return
        kept = {path for paths in self.bins.values() for path in paths}
        self.paths = tuple(path for path in self.config.space.block_paths(self.config.block) if path in kept)

    # -- results ---------------------------------------------------------------------------------------------------

    def score(self, path_ids: Sequence[str] | None = None) -> dict[str, float] | None:
        """Refitted loss on *select* of the given paths, or of every remaining path; None if not prepared."""
        if not self.ready:
            return None
        wanted = None if path_ids is None else set(path_ids)
        return self._scores([p for p in self.paths if wanted is None or p.path_id in wanted], self.sets)

    def _scores(self, paths: Sequence[BlockPath], sets: ScoreSets) -> dict[str, float]:
        config, began = self.config, time.perf_counter()
        found = score_paths(
            self.supernet, paths, sets, config.ridges, tile_tokens=config.tile_tokens,
            memory_bytes=config.score_bytes, precision=config.score_precision,
        )  # fmt: skip
        self.seconds["evaluate"] += time.perf_counter() - began
        return found

    def score_embeddings(self, sizes: Sequence[int], num_positions: int) -> dict[str, float] | None:
        """Loss of slot 0 for each embedding size (block 0 only): reduced embedding plus a refitted map.

        None if not prepared.
        """
        if not self.ready:
            return None
        assert self.embedding is not None
        return self.evaluation.embedding_losses(
            self.embedding, self.sets, sizes, num_positions, self.numerics.norm_eps, self.config.ridges
        )

    def expect_standalone(self, limit: int) -> None:
        """Make room for the hidden states that stand-alone trainings will be fed: ``limit`` bytes of disk."""
        self.standalone.expect(limit)

    def train_standalone(
        self, path_id: str, plan: StandAlonePlan, batches: int, start: Start, seed: int
    ) -> float | None:
        """Refitted loss on *select* of a path trained by itself; None if not prepared, or not fed whole.

        Raises:
            StageError: the disk had no room for what it was fed.
        """
        if not self.ready or not self.standalone.complete(batches):
            return None
        (path,) = (p for p in self.config.space.block_paths(self.config.block) if p.path_id == path_id)
        return self.standalone.loss(
            self.config.space, path, plan, self.sets, self.config.ridges,
            start=start, basis=self.basis, batches=batches, seed=seed,
        )  # fmt: skip

    def remaining(self) -> list[str]:
        """Paths that shrinking left."""
        return [path.path_id for path in self.paths]

    def history(self) -> dict[str, Any]:
        """The refitted loss of the watched sample by step, the shrinking curve, and seconds by kind of work."""
        return {"curve": self.curve, "shrinking": self.shrinking, "seconds": self.seconds}

    def publish(self) -> dict[str, Any] | None:
        """What trials need: supernet weights and boundary states, as numpy arrays; None if not prepared."""
        if not self.ready:
            return None
        self.trainer = None  # the optimizer is no longer needed
        self.pending.clear()
        weights = {name: tensor.cpu().numpy() for name, tensor in self.supernet.state_dict().items()}
        return {"weights": weights, **self.evaluation.shared()}

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint."""
        self.checkpoints.save(self.step, *self.snapshot())

    def snapshot(self) -> State:
        """Weights, optimizer, step, remaining paths and curves: for a checkpoint, and for the other replicas."""
        tensors = {f"weights/{name}": t for name, t in self.supernet.state_dict().items()}
        if self.trainer is not None and self.step < self.config.steps:  # finished weights need no optimizer
            tensors |= {f"optimizer/{name}": t for name, t in self.trainer.state().items()}
        state = {"variance": self.variance, "basis": self.basis, "curve": self.curve, "shrinking": self.shrinking}
        return tensors, {**state, "step": self.step, "bins": self._bin_ids()}

    def _bin_ids(self) -> dict[str, list[str]]:
        return {str(number): [path.path_id for path in paths] for number, paths in self.bins.items()}

    def take(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from a snapshot; another replica's makes this one ready to train."""
        weights, moments = (
            {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}
            for kind in ("weights/", "optimizer/")
        )
        self.supernet.load_state_dict(weights)
        self.trainer = block_trainer(self.config, self.supernet, self.shape.hidden, self.group)
        self.trainer.load_state(moments)
        self.basis, self.variance = str(state["basis"]), float(state.get("variance", "nan"))
        self.curve = [(int(step), float(loss)) for step, loss in state["curve"]]
        self.shrinking = list(state["shrinking"])
        self._take_paths(state)
        self.ready = self.config.rank > 0

    def _take_paths(self, state: Mapping[str, Any]) -> None:
        self.step = int(state["step"])
        if not state["bins"]:
            return
        known = {path.path_id: path for path in self.config.space.block_paths(self.config.block)}
        self.bins = {int(n): tuple(known[p] for p in paths) for n, paths in state["bins"].items()}
        self._keep_bins()

    def close(self) -> None:
        """Remove temporary files."""
        self.cache.close()
        self.standalone.cache.close()
