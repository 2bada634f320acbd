"""A trial spec as a run keeps it: local inputs by absolute path, so that it goes on from anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nas_ray.assets import CATALOGUE
from nas_ray.spec import (
    Adapt,
    Agora,
    Finetune,
    PathSpaceSpec,
    Retrain,
    TextSource,
    Tracking,
    TrialSpec,
    UniformSpaceSpec,
    edit,
    find,
    load_space_spec,
    load_trial,
    read_settings,
)


def load_run_specs(trial: str, overrides: Sequence[str] = ()) -> tuple[TrialSpec, PathSpaceSpec | UniformSpaceSpec]:
    """The spec of ``trial`` and that of its space; together they name the run's folder.

    Raises:
        SpecError: no such spec or space, or something in them is not accepted.
    """
    spec = load_trial(trial, overrides)
    return _absolute(spec), load_space_spec(spec.space, find(trial, "trials", "trial spec").parent)


def edit_run_specs(
    spec: TrialSpec, space_spec: PathSpaceSpec | UniformSpaceSpec, overrides: Sequence[str]
) -> tuple[TrialSpec, PathSpaceSpec | UniformSpaceSpec]:
    """The specs of a run after ``a.b=value`` edits; its space stays, unless another is named.

    Raises:
        SpecError: as ``load_run_specs``.
    """
    edited = edit(spec, overrides)
    return _absolute(edited), space_spec if edited.space == spec.space else load_space_spec(edited.space)


def retrain_spec(overrides: Sequence[str] = ()) -> Retrain:
    """The settings of a retraining after ``a.b=value`` edits.

    Raises:
        SpecError: as ``load_run_specs``.
    """
    spec = edit(Retrain(), overrides)
    sources = None if spec.text.sources is None else absolute_sources(spec.text.sources)
    teacher = None if spec.teacher is None else absolute_teacher(spec.teacher)
    return spec.model_copy(update={"teacher": teacher, "text": spec.text.model_copy(update={"sources": sources})})


def adapt_spec(overrides: Sequence[str] = ()) -> Adapt:
    """The settings of a teacher's adaptation after ``a.b=value`` edits.

    Raises:
        SpecError: as ``load_run_specs``.
    """
    spec = edit(Adapt(), overrides)
    text = spec.text.model_copy(update={"sources": absolute_sources(spec.text.sources)})
    return spec.model_copy(update={"text": text})


def finetune_spec(overrides: Sequence[str] = (), settings: str | Path | None = None) -> Finetune:
    """The settings of a fine-tuning: what a YAML file says, if one is named, and ``a.b=value`` edits.

    Raises:
        SpecError: as ``load_run_specs``.
    """
    return edit(Finetune() if settings is None else read_settings(Finetune(), Path(settings)), overrides)


def agora_spec(overrides: Sequence[str] = (), settings: str | Path | None = None) -> Agora:
    """The settings of Agora's loop: what a YAML file says, if one is named, and ``a.b=value`` edits.

    Raises:
        SpecError: as ``load_run_specs``.
    """
    return edit(Agora() if settings is None else read_settings(Agora(), Path(settings)), overrides)


def absolute_teacher(name: str) -> str:
    """A teacher's name; that of a folder by absolute path."""
    return name if name in CATALOGUE else _local(name)


def tracking_uri(tracking: Tracking, storage: Path) -> str:
    """The URI that a spec names, else MLflow's own environment variable, else a database beside the runs."""
    from nas_ray.tracking import local_uri

    return tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(storage)


def tracked_as(run_id: str, part: str = "") -> str:
    """MLflow's ``nas_ray.run`` of a run, or of a named ``part`` of it."""
    return "-".join(filter(None, (run_id, part)))


def retraining_part(settings: str) -> str:
    """The part of a run that is its retraining with ``settings``, their hash."""
    return f"retrain-{settings}"


def absolute_sources(sources: Sequence[TextSource]) -> tuple[TextSource, ...]:
    """Local text by absolute path."""
    from nas_ray.data import absolute_source

    return tuple(found.model_copy(update={"source": absolute_source(found.source)}) for found in sources)


def _absolute(spec: TrialSpec) -> TrialSpec:
    table = None if spec.latency.table is None else _local(spec.latency.table)
    return spec.model_copy(
        update={
            "teacher": absolute_teacher(spec.teacher),
            "text": spec.text.model_copy(update={"sources": absolute_sources(spec.text.sources)}),
            "latency": spec.latency.model_copy(update={"table": table}),
        }
    )


def _local(name: str) -> str:
    """``name`` by absolute path, unless it may be that of the model hub."""
    path = os.path.expanduser(name)
    return os.path.abspath(path) if name.startswith((".", "~")) or os.path.exists(path) else name
