"""What the stages of one run share: spec, teacher, text, tables, blocks; each made when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_ray.errors import SpecError
from nas_ray.space import (
    AnyArchitecture,
    Architecture,
    PathSpace,
    Rung,
    TeacherShape,
    UniformArchitecture,
    UniformSpace,
    teacher_path,
)
from nas_ray.stages._console import Console, Silent
from nas_ray.stages._run import Run
from nas_ray.stages._texts import Texts
from nas_ray.stages._trial import tracked_as, tracking_uri
from nas_ray.tables import Costs, PartTable, Surrogates, UniformCosts, params_table

if TYPE_CHECKING:  # torch, mlflow and ray wait until a stage needs them
    from nas_ray.distill import BlockConfig, Blocks
    from nas_ray.spec import TrialSpec
    from nas_ray.teacher import TeacherSource
    from nas_ray.tracking import Tracker


@dataclass
class Context:
    """One run being executed."""

    run: Run
    console: Console = field(default_factory=Silent)
    address: str | None = None
    _blocks: Blocks | None = None
    _published: list[Any] | None = None
    _connected: bool = False
    _joined: bool = False
    _trackers: dict[str, Tracker] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    at_close: list[Callable[[], None]] = field(default_factory=list)
    baselines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spec(self) -> TrialSpec:
        return self.run.spec

    @property
    def bounds(self) -> dict[str, float]:
        """The largest accepted values by metric."""
        return dict(self.spec.search.constraints.items())

    @cached_property
    def space(self) -> PathSpace:
        """The search space of a run of kind paths, before shrinking."""
        space = self.run.space
        if not isinstance(space, PathSpace):
            raise SpecError(f"space '{space.name}' is of kind uniform; accepted here: kind paths.", key="space")
        return space

    @cached_property
    def tuples(self) -> UniformSpace:
        """The search space of a run of kind uniform."""
        space = self.run.space
        if not isinstance(space, UniformSpace):
            raise SpecError(f"space '{space.name}' is of kind paths; accepted here: kind uniform.", key="space")
        return space

    @property
    def is_uniform(self) -> bool:
        """Whether plain encoders are searched."""
        return self.run.space_spec.kind == "uniform"

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """What candidates are judged by; plain encoders are always trained."""
        ladder = self.spec.search.ladder
        return tuple(rung for rung in ladder if rung.kind == "distilled") if self.is_uniform else ladder

    @property
    def head_size(self) -> int:
        """Of attention heads; plain encoders have one each."""
        return 0 if self.is_uniform else self.space.head_size

    def path(self, name: str) -> Path:
        """A file of the run."""
        return self.run.folder / name

    # -- teacher and text ------------------------------------------------------------------------------------------

    @cached_property
    def teacher_source(self) -> TeacherSource:
        """The teacher, found; its configuration only."""
        from nas_ray.teacher import resolve_teacher

        return resolve_teacher(self.spec.teacher, self.console.say)

    @cached_property
    def shape(self) -> TeacherShape:
        """The teacher's sizes."""
        from nas_ray.teacher import teacher_shape

        return teacher_shape(self.teacher_source.config)

    @cached_property
    def texts(self) -> Texts:
        """The text that the search distils on."""
        return Texts(self.spec.text, self.teacher_source, self.spec.seed, self.console.say)

    # -- tables ----------------------------------------------------------------------------------------------------

    @cached_property
    def costs(self) -> Costs:
        """All cost tables; the profile stage has written them."""
        return Costs(
            self.space,
            self.shape,
            self.spec.supernet.start,
            params_table(self.space, self.shape),
            PartTable.read(self.path("tables/flops.parquet")),
            PartTable.read(self.path("tables/latency.parquet")),
        )

    @cached_property
    def uniform_costs(self) -> UniformCosts:
        """Sizes in closed form and the latency table, which the profile stage has written."""
        text, shape = self.spec.text, self.shape
        surrogates = Surrogates(shape.vocab_size, shape.num_positions, text.sequence_length)
        return UniformCosts(surrogates, PartTable.read(self.path("tables/latency.parquet")))

    @property
    def latency(self) -> PartTable:
        """The latency table of either kind of space."""
        return self.uniform_costs.latency if self.is_uniform else self.costs.latency

    def costs_of(self, architecture: AnyArchitecture) -> dict[str, float]:
        """All costs of an architecture of either kind."""
        if isinstance(architecture, UniformArchitecture):
            return self.uniform_costs.of(architecture)
        assert isinstance(architecture, Architecture), "runs search architectures"
        return self.costs.of(architecture)

    def tracker(self, part: str = "", spool: str | Path = "tracking.jsonl") -> Tracker:
        """Where candidates of the run, or of a named ``part`` of it, are logged; made once."""
        if part not in self._trackers:
            from nas_ray.tracking import MlflowTracker, NullTracker, local_artifact_dir

            spec = self.spec.tracking
            if not spec.enabled:
                self._trackers[part] = NullTracker()
            else:
                name = tracked_as(self.run.run_id, part)
                self._trackers[part] = MlflowTracker(
                    tracking_uri(self.spec.tracking, self.run.storage),
                    spec.experiment or self.spec.name,
                    name,
                    name,
                    local_artifact_dir(self.run.storage),
                    self.run.folder / spool,
                    on_warning=self.console.say,
                )
        return self._trackers[part]

    # -- blocks ----------------------------------------------------------------------------------------------------

    @property
    def is_local(self) -> bool:
        """Whether everything runs in this process."""
        return self.spec.cluster.executor == "local"

    def blocks(self) -> Blocks:
        """The block workers, with evaluation states and initialised supernets."""
        if self._blocks is None:
            from nas_ray.distill import LocalBlocks, prepare

            configs = self.block_configs()
            if self.is_local:
                self._blocks = LocalBlocks(configs)
            else:
                self.connect()
                from nas_ray.cluster import RayBlocks

                self._blocks = RayBlocks(self.run.run_id, configs)
            self.baselines = prepare(self._blocks, self.texts.batches, self.texts.counts)
        return self._blocks

    def settled(self, ask: Callable[[], list[Any]]) -> list[Any]:
        """What ``ask`` gets from the blocks, whichever of them was restarted meanwhile."""
        from nas_ray.distill import settled

        return settled(self.blocks(), self.texts.batches, self.texts.counts, ask)

    def published(self) -> list[Any]:
        """The blocks' shared arrays, as candidates take them."""
        if self._published is None:
            blocks = self.blocks()
            self._published = self.settled(blocks.publish)
        return self._published

    def connect(self) -> None:
        """Join the Ray cluster, once; a node that does not see the run's folder is an error now, not in training."""
        if not self._joined:
            from nas_ray.cluster import check_storage, connect

            self._connected = connect(self.address, self.console.say)
            if self.address is not None:
                check_storage(self.run.folder)
            self._joined = True

    def close_blocks(self) -> None:
        """End the block workers; asked for again, they start again."""
        with suppress(Exception):  # they may have died with what ended the run
            if self._blocks is not None:
                self._blocks.close()
        self._blocks = self._published = None

    def close(self) -> None:
        """End the workers, leave the cluster, finish what MLflow has still to be told."""
        self.close_blocks()
        for end in self.at_close:
            with suppress(Exception):
                end()
        self.at_close.clear()
        if self._connected:
            from nas_ray.cluster import disconnect

            disconnect()
        self._connected = self._joined = False
        while self._trackers:
            self._trackers.popitem()[1].close()

    def distinct_batches(self) -> int:
        """Training batches before they repeat: whole steps of all replicas, so that each meets its own again."""
        most = self.texts.batches.num_batches("train")
        count, replicas = min(self.spec.supernet.steps_per_epoch or most, most), self.spec.supernet.replicas
        return count - count % replicas or count

    def block_configs(self) -> list[BlockConfig]:
        """How each block's worker is built."""
        from nas_ray.distill import BlockConfig, ShrinkPlan

        spec, tabulate = self.spec.supernet, self.spec.tabulate
        shrink = None if spec.shrink is None else ShrinkPlan(**spec.shrink.model_dump())
        latencies = {}
        if shrink is not None:
            latency = self.costs.latency
            latencies = {
                path.path_id: sum(latency.part(f"{path.width}:{operation.token}") for operation in path.operations)
                for path in self.space.paths
            }
        shared = spec.model_dump(exclude={"shrink", "steps_per_epoch"})
        return [
            BlockConfig(
                block=block,
                space=self.space,
                teacher=self.spec.teacher,
                checkpoint_dir=self.path(f"supernet/block-{block}"),
                seed=self.spec.seed,
                batches=self.distinct_batches(),
                ridges=tabulate.ridges,
                tile_tokens=tabulate.tile_tokens,
                select_batches=tabulate.select_batches,
                score_precision=tabulate.precision,
                score_bytes=tabulate.memory_bytes,
                shrink=shrink,
                latencies=latencies,
                **shared,
            )
            for block in range(self.space.num_blocks)
        ]

    def frozen_path_id(self) -> str | None:
        """The id of the path that copies the teacher; None where its block cannot be written as one."""
        path = teacher_path(self.shape, self.space.num_blocks, self.space.head_size)
        return None if path is None else path.path_id
