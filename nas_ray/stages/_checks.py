"""What is refused within seconds, before anything long starts: by ``search``, ``resume`` and ``--plan`` alike."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

from nas_ray._machine import num_cores, processor
from nas_ray.errors import RunError, SpecError
from nas_ray.space import PathSpace, TeacherShape
from nas_ray.spec import Adapt, Latency, TrialSpec
from nas_ray.stages._console import Console, Silent
from nas_ray.stages._context import Context
from nas_ray.stages._enqueued import check_enqueued
from nas_ray.stages._run import Run
from nas_ray.stages._trial import tracking_uri
from nas_ray.stages.uniform import changed, check_extraction, check_maximum
from nas_ray.tables import PartTable


def check_run(run: Run, console: Console | None = None, address: str | None = None) -> None:
    """Everything that can be known of a run before a cluster is joined.

    Raises:
        TeacherError, TextError, AssetError, SpecError, TrackingError, InfeasibleError: what is wrong with which.
    """
    from nas_ray.data import resolve_text
    from nas_ray.teacher import load_tokenizer
    from nas_ray.tracking import check_uri

    context = Context(run, console or Silent())
    if context.is_uniform:
        check_extraction(run.spec, context.tuples)
    else:
        check_spec(run.spec, context.space)
    source = context.teacher_source
    check_positions(run.spec, context.shape)
    if context.is_uniform:
        check_maximum(run.spec, context.tuples, source.config)
    else:
        check_teacher(run.spec, context.space, context.shape)
    load_tokenizer(source)
    for text in run.spec.text.sources:
        resolve_text(text.source, context.console.say)
    _check_devices(run.spec, address)
    if run.spec.tracking.enabled:
        check_uri(tracking_uri(run.spec.tracking, run.storage))


def check_spec(spec: TrialSpec, space: PathSpace) -> None:
    """The searcher's name and options, enqueued candidates, keys of plain encoders, and the tracking server's address,
    where one is given.

    Raises:
        SpecError, TrackingError: what is wrong with them.
    """
    from nas_ray.search import make_searcher
    from nas_ray.tracking import check_uri

    chosen = spec.search.searcher
    make_searcher(chosen.name, space, len(spec.search.objectives), spec.seed, chosen.options)
    check_enqueued(spec, space)
    for name in changed(spec.extraction):
        raise SpecError(
            f"has no effect in a space of kind paths ('{space.name}'); accepted: a space of kind uniform.",
            key=f"extraction.{name}",
        )
    if spec.tracking.enabled and spec.tracking.uri:
        check_uri(spec.tracking.uri)


def check_teacher(spec: TrialSpec, space: PathSpace, shape: TeacherShape) -> None:
    """Blocks and bounds on parameters; those on latency and FLOPs wait for their tables.

    Raises:
        TeacherError: its layers do not divide into the space's blocks.
        InfeasibleError: no architecture meets the bounds; names the smallest reachable value.
    """
    from nas_ray.search import table_problem
    from nas_ray.tables import Costs, params_table
    from nas_ray.teacher import check_blocks

    check_blocks(shape.num_layers, space.num_blocks)
    known: dict[str, float] = {k: v for k, v in spec.search.constraints.items() if k in ("params", "encoder_params")}
    if known:
        params = params_table(space, shape)
        costs = Costs(space, shape, spec.supernet.start, params, params, params)
        table_problem(costs, None, list(known)).require_feasible(known)


def check_positions(spec: TrialSpec | Adapt, shape: TeacherShape) -> None:
    """Whether the teacher can read sequences of the spec's length.

    Raises:
        SpecError: it cannot.
    """
    if spec.text.sequence_length > shape.num_positions:
        raise SpecError(
            f"found {spec.text.sequence_length}; accepted: at most {shape.num_positions}, the teacher's positions.",
            key="text.sequence_length",
        )


def check_latency(latency: Latency) -> None:
    """Whether the device to measure on is here.

    Raises:
        SpecError: it is not, or lacks a package, or the table that is given instead is missing.
    """
    if latency.table is not None and not Path(latency.table).is_file():
        raise SpecError(
            f"{latency.table}: no such file; accepted: a table that `nas-ray profile` wrote.", key="latency.table"
        )
    if latency.runtime == "onnxruntime" and latency.table is None:
        from nas_ray.measure import require_onnx

        require_onnx("latency.runtime onnxruntime")
    if latency.device == "cuda" and latency.table is None and not _has_gpu():
        raise SpecError(
            "found cuda, torch finds no GPU here; accepted: cpu, or as latency.table a table that "
            "`nas-ray profile --device cuda` wrote elsewhere.",
            key="latency.device",
        )


def check_machine(context: Context) -> None:
    """Say so where the run's latency table was measured on another machine; it stays."""
    file = context.path("tables/latency.parquet")
    if context.spec.latency.table is not None or not file.is_file():
        return
    key = PartTable.read(file).metadata["key"]
    there, here = f"{key['processor']}, {key['threads']} threads", _this_machine(context.spec.latency)
    if there != here:
        context.console.say(
            f"  latency was measured on {there}; this is {here}. The table stays; "
            f"`nas-ray resume {shlex.quote(str(context.run.folder))} --from profile` measures it here"
        )


def _this_machine(latency: Latency) -> str:
    threads = latency.threads or num_cores()
    if latency.device == "cpu":
        return f"{processor()}, {threads} threads"
    import torch

    return f"{torch.cuda.get_device_name() if _has_gpu() else 'no GPU'}, {threads} threads"


def _check_devices(spec: TrialSpec, address: str | None) -> None:
    check_latency(spec.latency)
    joins = address is not None and spec.cluster.executor == "ray"
    for key, device in (("supernet.device", spec.supernet.device), ("extraction.device", spec.extraction.device)):
        if not joins:
            check_device(key, device)


def check_device(key: str, device: str) -> None:
    """Whether the ``device`` that ``key`` names is here.

    Raises:
        SpecError: it is not.
    """
    if device == "cuda" and not _has_gpu():
        raise SpecError("found cuda, torch finds no GPU here; accepted: cpu.", key=key)


def device_here(device: str) -> str:
    """``device``, or ``cpu`` where a driver lacks the GPU that its workers have."""
    return device if device == "cpu" or _has_gpu() else "cpu"


def check_room(folder: Path, size: int, advice: str) -> None:
    """Whether ``size`` bytes can be written below ``folder``, which is made.

    Raises:
        RunError: they cannot; ends with the ``advice``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}; {advice}.") from error
    if free < size:
        raise RunError(f"{folder}: {free / 1e6:,.0f} MB of the disk are free, {size / 1e6:,.0f} are needed; {advice}.")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
