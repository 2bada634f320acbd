"""What a trial costs, in closed form: arithmetic of its stages, memory of its blocks, disk of their caches.

Seconds are FLOPs over the speed of a candidate operation on this machine. Against the quickstart on two cores of about
50 GFLOP/s each (docs/benchmarks.md) every stage comes out within a factor 1.2.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas_ray.space import Operation, Path, PathSpace, TeacherShape, all_parts
from nas_ray.spec import TrialSpec
from nas_ray.stages._rates import operation_flops
from nas_ray.stages._shrinking import shrinking

PROCESS_BYTES = 900_000_000  # a worker with torch and transformers loaded
REFERENCES = 4  # that a search judges beside its candidates, about
_START_SECONDS = {"profile": 9.0, "supernet": 20.0, "search": 10.0, "report": 3.0}  # processes, text, files
_CALL_SECONDS = 2e-4  # one operation on a short sequence, besides its arithmetic


@dataclass(frozen=True)
class StageEstimates:
    """What the stages of a trial take; ``about`` and ``details`` are lines for its plan."""

    about: str  # the teacher
    details: tuple[str, ...]
    seconds: dict[str, float]
    memory_bytes: float


@dataclass(frozen=True)
class Memory:
    """Bytes of one block worker by use."""

    weights: int
    gradients: int
    moments: int
    in_flight: int
    evaluation: int
    work: int
    teacher: int
    process: int = PROCESS_BYTES

    @property
    def total(self) -> int:
        return sum(vars(self).values())


class Estimate:
    """Figures of one trial under a teacher of ``shape``; losses, text and latency are not looked at."""

    def __init__(self, spec: TrialSpec, space: PathSpace, shape: TeacherShape) -> None:
        self.spec, self.space, self.shape = spec, space, shape
        self.length = spec.text.sequence_length
        self.batch = spec.text.batch_sequences * self.length
        self.tokens: dict[str, int] = {
            split: getattr(spec.text, f"{split}_batches") * self.batch for split in ("calibrate", "select", "test")
        }
        self.scored = self.tokens["calibrate"] + self._select(spec.tabulate.select_batches)
        self.shrinking = shrinking(spec, space)
        self.replicas = spec.supernet.replicas

    def _select(self, batches: int | None) -> int:
        return min(batches or self.spec.text.select_batches, self.spec.text.select_batches) * self.batch

    # -- arithmetic: forward FLOPs a token, unless said otherwise --------------------------------------------------

    @cached_property
    def _operation_flops(self) -> dict[tuple[int, Operation], float]:
        return {
            (width, operation): operation_flops(operation, width, self.length)
            for width, operations in self.space.operations.items()
            for operation in operations
        }

    def path(self, path: Path) -> float:
        """One path, without its maps."""
        return sum(self._operation_flops[path.width, operation] for operation in path.operations)

    @cached_property
    def teacher(self) -> float:
        """The whole encoder."""
        return 2 * self.shape.encoder_params + 4 * self.shape.num_layers * self.length * self.shape.hidden

    @cached_property
    def mean_path(self) -> float:
        """Mean over the space's paths."""
        return float(np.mean([self.path(path) for path in self.space.paths]))

    @cached_property
    def step_path(self) -> float:
        """A trained path with its maps; the mean over what the sampling law draws."""
        law = self.spec.supernet.sampling
        groups: dict[tuple[int, int], list[float]] = defaultdict(list)
        for path in self.space.paths:
            if law == "prefixes" and path.depth < self.space.num_layers:
                continue  # learns with a whole path
            group = (0 if law == "paths" else path.width, 0 if law in ("paths", "widths") else path.depth)
            groups[group].append(self.path(path) + 4 * path.width * self.shape.hidden)
        return float(np.mean([np.mean(found) for found in groups.values()]))

    def readout(self, width: int, select: int) -> float:
        """FLOPs of one refitted readout: moments, solves (fp64, counted twice), error on ``select`` tokens."""
        w, h = width, self.shape.hidden
        solves = len(self.spec.tabulate.ridges) * 2 * (w**3 / 3 + 4 * w * w * h)
        return self.tokens["calibrate"] * (w * w + 2 * w * h) + select * 2 * w * h + solves

    @cached_property
    def mean_readout(self) -> float:
        """FLOPs of a readout, mean over the widths of all paths."""
        select = self.scored - self.tokens["calibrate"]
        return float(np.mean([self.readout(path.width, select) for path in self.space.paths]))

    def scoring(self, count: int, tokens: int) -> float:
        """FLOPs of scoring ``count`` paths of one block: a path each, or all nodes of the tree if that is less."""
        node = float(np.mean([self._operation_flops[path.width, path.operations[-1]] for path in self.space.paths]))
        return min(count * self.mean_path, len(self.space.paths) * node) * tokens + count * self.mean_readout

    @cached_property
    def steps(self) -> int:
        """Training steps, fewer where shrinking ends the training."""
        steps = self.spec.supernet.steps
        if self.shrinking is None or self.spec.supernet.shrink is None:
            return steps
        return round(steps * self.shrinking.epochs / self.spec.supernet.shrink.epochs)

    @property
    def distinct(self) -> int:
        """Distinct training batches, as far as the spec says."""
        most = self.steps * self.replicas
        return min(self.spec.supernet.steps_per_epoch or most, most)

    def supernet(self) -> float:
        """FLOPs of the supernet stage, all blocks."""
        spec, blocks = self.spec.supernet, self.space.num_blocks
        seen = self.steps * self.replicas
        streamed = self.distinct + (seen - self.distinct) * (1 - self.cached_bytes / max(1, self.boundary_bytes))
        teacher = self.teacher * (streamed * self.batch + sum(self.tokens.values()))
        trained = 3 * self.step_path * seen * spec.paths_per_update * self.batch * blocks
        judged = self.scoring(spec.sample_paths, self.scored) * (spec.evaluations + 1)
        if self.shrinking is not None and spec.shrink is not None:
            tokens = self.tokens["calibrate"] + self._select(spec.shrink.batches or self.spec.tabulate.select_batches)
            judged += sum(self.scoring(count, tokens) for count in self.shrinking.evaluated)
        return teacher + trained + judged * blocks

    def tabulate(self) -> float:
        """FLOPs of the tabulate stage, all blocks."""
        left = len(self.space.paths) if self.shrinking is None else self.shrinking.remaining
        count = min(self.spec.tabulate.max_paths or left, left)
        return self.scoring(count, self.scored) * self.space.num_blocks

    def standalone(self) -> float:
        """FLOPs of training and scoring the paths that check the ranking, all blocks."""
        ranking, blocks = self.spec.ranking, self.space.num_blocks
        each = 3 * self.step_path * ranking.tokens + self.scoring(1, self.scored)
        return self.teacher * ranking.tokens + ranking.paths * blocks * each

    def candidate(self, tokens: int) -> float:
        """FLOPs of stitching one candidate and running it on ``tokens`` more."""
        return self.space.num_blocks * (self.mean_path * (self.tokens["calibrate"] + tokens) + self.mean_readout)

    def distillation(self) -> float:
        """FLOPs of distilling candidates, as many at each rung as halving leaves, and the references."""
        search, done, total = self.spec.search, 0, 0.0
        if search.distill is None:
            return total
        each = self.teacher + 3 * self.space.num_blocks * self.mean_path
        tokens = search.distill.most_sequences * self.spec.text.sequence_length
        eta = 1.0 if search.scheduler.name == "none" else search.scheduler.eta
        for passed, rung in enumerate(search.ladder):
            if rung.kind == "distilled":
                reached = search.num_candidates / eta**passed + REFERENCES
                total += reached * (rung.budget - done) * tokens * each
                done = rung.budget
        return total

    def seconds(self, rate: float) -> dict[str, float]:
        """Seconds of each stage at ``rate`` FLOP/s."""
        latency, search = self.spec.latency, self.spec.search
        tokens = latency.batch_size * latency.sequence_length
        parts = len(all_parts(self.space, self.shape))
        part = float(np.mean(list(self._operation_flops.values()))) * tokens / rate + _CALL_SECONDS
        model = self.space.num_blocks * (self.mean_path * tokens / rate + self.space.num_layers * _CALL_SECONDS)
        profile = parts * (latency.repeats + 12) * part + latency.check_models * (latency.repeats + 3) * model
        judged = self.candidate(self.tokens["select"]) * (search.num_candidates + REFERENCES)
        found = {
            "profile": 0.0 if latency.table else profile,
            "supernet": self.supernet() / rate,
            "tabulate": self.tabulate() / rate,
            "search": (judged + self.distillation()) / rate,
            "test": self.candidate(self.tokens["test"]) * (search.num_candidates / 2 + 5) / rate,
            "rank": self.standalone() / rate,
            "report": 0.0,
        }
        if not self.spec.ranking.paths:
            del found["rank"]
        return {stage: value + _START_SECONDS.get(stage, 0.0) for stage, value in found.items()}

    # -- bytes -----------------------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> int:
        """Weights of one block's supernet, maps included."""
        h, total = self.shape.hidden, operation_weights(self.space)
        for width, operations in self.space.operations.items():
            leaving = 1 if self.spec.supernet.start == "scratch" else self.space.num_layers * len(operations)
            total += h * width + width + leaving * (width * h + h)
        return total

    @property
    def boundary_bytes(self) -> int:
        """Input and target of one block for every distinct training batch that one of its workers sees."""
        return -(-self.distinct // self.replicas) * self.batch * 2 * self.shape.hidden * 4

    @property
    def cached_bytes(self) -> int:
        """What of them is kept on disk."""
        return min(self.spec.supernet.cache_bytes, self.boundary_bytes)

    @property
    def checkpoint_bytes(self) -> int:
        """The two newest checkpoints of one block: weights and both moments."""
        return 2 * 3 * self.weights * 4

    @property
    def student_bytes(self) -> int:
        """Checkpoints of all candidates that are distilled, if each is as large as the largest."""
        search = self.spec.search
        if search.distill is None:
            return 0
        largest = self.space.num_blocks * max(path.num_params() for path in self.space.paths)
        return 3 * 4 * largest * (search.num_candidates + REFERENCES)

    def memory(self) -> Memory:
        """The first block's worker, which holds the embeddings too, at its widest point."""
        shape, spec = self.shape, self.spec.supernet
        largest = max(self.space.paths, key=Path.num_params)
        path = largest.num_params() + 2 * largest.width * shape.hidden
        joined = self.tokens["calibrate"] + self._select(self.spec.tabulate.select_batches)
        update = self.batch // spec.updates  # paths of an update are differentiated in turn
        activations = update * sum(_saved(operation, largest.width) for operation in largest.operations)
        nodes = 4 * self.space.num_layers * self.scored * max(self.space.widths)
        if spec.device == "cuda":  # as many prefixes at once as there is room for, but at least one
            nodes = max(nodes, self.spec.tabulate.memory_bytes)
        return Memory(
            weights=4 * self.weights,
            gradients=4 * min(self.weights, path * spec.paths_per_update),
            moments=8 * self.weights,
            in_flight=self.spec.cluster.max_in_flight * self.batch * 2 * shape.hidden * 4,
            evaluation=(sum(self.tokens.values()) + joined) * 2 * shape.hidden * 4,
            work=max(4 * activations, nodes),
            teacher=4 * (shape.encoder_params // self.space.num_blocks + shape.embedding_params),
        )

    def total_memory(self, cores: int) -> int:
        """Bytes of all block workers, of the states they publish, and of a trial worker on each of ``cores``."""
        block, trials = self.memory(), min(cores, self.spec.search.max_concurrent or cores)
        published = self.space.num_blocks * (block.weights + sum(self.tokens.values()) * self.shape.hidden * 4)
        teacher = 4 * (self.shape.encoder_params + self.shape.embedding_params)
        others = (self.replicas - 1) * (block.total - block.evaluation)  # only the first replica evaluates
        workers = self.space.num_blocks * (block.total + others)
        return workers + published + trials * (PROCESS_BYTES + teacher)


def operation_weights(space: PathSpace) -> int:
    """Weights of all operations of one block's supernet."""
    return space.num_layers * sum(
        operation.num_params(width) for width, operations in space.operations.items() for operation in operations
    )


def _saved(operation: Operation, width: int) -> int:
    """Values a token that an operation keeps for its backward pass."""
    if operation.kind == "attention":
        return 4 * operation.heads * operation.head_size + 4 * width
    return (2 * operation.ratio + 3) * width if operation.kind == "feed_forward" else 5 * operation.units * width
