"""What is refused of an extraction before anything long starts."""

from __future__ import annotations

from typing import Any

from nas_ray.errors import SpecError, TeacherError
from nas_ray.space import UniformSpace
from nas_ray.spec import Scheduler, Search, TrialSpec
from nas_ray.stages.uniform._order import closed_form_order

_READ = ("constraints", "distill", "max_concurrent", "objectives", "scheduler")  # keys of `search`
_FITTED = "rungs"  # has a default that fits the selection batches
_OTHERS: dict[str, tuple[str, ...]] = {"supernet": (), "tabulate": ("ridges",), "ranking": ()}  # and what is read


def changed(section: Any, read: tuple[str, ...] = ()) -> list[str]:
    """The keys of a section of a spec that are not at their defaults, without those that are ``read``."""
    usual = type(section)()
    names = (name for name in type(section).model_fields if name not in read)
    return [name for name in names if getattr(section, name) != getattr(usual, name)]


def check_extraction(spec: TrialSpec, space: UniformSpace) -> None:
    """The keys of the spec by themselves.

    Raises:
        SpecError, TrackingError: what is wrong with which.
    """
    from nas_ray.tracking import check_uri

    if spec.search.distill is None:
        raise SpecError(
            f"is missing; accepted in a space of kind uniform ('{space.name}'): how candidates are trained, at least "
            "its steps, the last of which is n.",
            key="search.distill",
        )
    usual = Search().rungs
    if spec.search.rungs not in (usual, tuple(rung for rung in usual if rung <= spec.text.select_batches)):
        raise SpecError(
            "has no effect in a space of kind uniform; its rungs are search.distill.steps.", key="search.rungs"
        )
    where = f"in a space of kind uniform ('{space.name}')"
    for name in changed(spec.search, (*_READ, _FITTED)):
        raise SpecError(
            f"has no effect {where}; accepted there: {', '.join(_READ)}; which architectures are trained says "
            "extraction.epsilon.",
            key=f"search.{name}",
        )
    for section, read in _OTHERS.items():
        for name in changed(getattr(spec, section), read):
            allowed = f"; accepted there: {', '.join(read)}" if read else ""
            raise SpecError(f"has no effect {where}{allowed}.", key=f"{section}.{name}")
    if not spec.extraction.early_stopping and spec.search.scheduler != Scheduler():
        raise SpecError(
            f"has no effect {where} unless extraction.early_stopping is true; accepted: that, or no scheduler.",
            key="search.scheduler",
        )
    if not spec.search.distill.searched and "draws" in changed(spec.extraction):
        raise SpecError(
            "has no effect where search.distill has neither ranges nor lists; accepted: one of these, or no draws.",
            key="extraction.draws",
        )
    if spec.extraction.epsilon > space.num_architectures:
        raise SpecError(
            f"found {spec.extraction.epsilon}; accepted: 1 to {space.num_architectures}, the space's architectures.",
            key="extraction.epsilon",
        )
    if spec.tracking.enabled and spec.tracking.uri:
        check_uri(spec.tracking.uri)


def check_maximum(spec: TrialSpec, space: UniformSpace, config: Any) -> None:
    """The teacher as maximum point, and bounds on what has a closed form; those on latency wait for its table.

    Raises:
        TeacherError: it has no masked-LM head where its predictions are asked for.
        SpecError: no architecture is smaller, or epsilon is above the number of those that are.
        InfeasibleError: no architecture meets the bounds.
    """
    from nas_ray.teacher import has_masked_lm_head, teacher_shape

    if spec.extraction.error == "cross_entropy" and not has_masked_lm_head(config):
        raise TeacherError(
            f"extraction.error is cross_entropy, but teacher '{spec.teacher}' has no masked-LM head; accepted: a "
            "teacher with one (`nas-ray adapt-teacher` gives it one), or extraction.error: hidden_state."
        )
    closed_form_order(spec, space, teacher_shape(config))
