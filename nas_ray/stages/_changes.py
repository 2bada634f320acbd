"""A run whose spec was changed: the first stage that must run again, and making room for it.

Every stage remembers the spec it was begun with (``Run.begin``). A key that feeds a stage and differs from that makes
the stage old; ``--from STAGE`` lets it and all after it run again. Nothing is dropped without it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

from nas_ray.errors import SpecError, unknown
from nas_ray.spec import PathSpaceSpec, TrialSpec, UniformSpaceSpec
from nas_ray.stages._inputs import changed_inputs, fingerprints, refuse
from nas_ray.stages._run import Run

Changes = Mapping[str, tuple[Any, Any]]
RETRAINED = "retrained"  # the folder of a run's retrained students


def check_unchanged(run: Run, stages: Iterable[str]) -> None:
    """Refuse to go on from one of ``stages`` that was begun with another spec.

    Raises:
        SpecError: names the first such stage, what changed, and how to go on.
    """
    stage, changes = _first_old(run, stages)
    if stage:
        raise SpecError(
            f"{_sentence(changes)} since stage {stage} was begun, so {stage} is the first that must run again; "
            f"accepted: the old value, or `--from {stage}` with `nas-ray resume`, which keeps what came before.",
            file=str(run.folder),
        )


def change(run: Run, spec: TrialSpec, space_spec: PathSpaceSpec | UniformSpaceSpec, start: str | None) -> Run:
    """The run with another spec, its stages from ``start`` on to be run again.

    What a kill in between leaves is either refused by ``check_unchanged``, or has a stage less that is done.

    Raises:
        SpecError: a stage must run again that was not asked for; the run is as it was.
        RunError: another process drives the run, or its inputs are not what they were.
    """
    order = run.course.order
    if start is not None and start not in order:
        raise SpecError(unknown("stage", start, order), key="--from")
    run.lock()
    try:
        run.begin_unknown()
        changed, overwrites = Run(run.folder, spec, space_spec), (run.spec, run.space_spec) != (spec, space_spec)
        if start is None:
            check_unchanged(changed, order)
        else:
            _check_early_enough(changed, start)
        searches_on = _only_more(_changes(changed, "search"), _is_drawn(changed))
        if overwrites:
            changed.write_specs()
        if start is not None:
            _make_room(changed, start)
        elif searches_on:
            changed.forget_stages(order[order.index("search") :])
    finally:
        run.unlock()
    return changed


def set_aside(path: Path) -> None:
    """Keep a file or folder of older results under another name."""
    if not path.exists():
        return
    stem = f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))  # several in one second
    path.rename(next(place for name in names if not (place := path.with_name(f"{name}{path.suffix}")).exists()))


def _check_early_enough(run: Run, start: str) -> None:
    order = run.course.order
    stage, changes = _first_old(run, order)
    if stage and order.index(stage) < order.index(start):
        raise SpecError(
            f"{start} is too late: {_sentence(changes)} since stage {stage} was begun, so {stage} is the first that "
            f"must run again; accepted: {', '.join(order[: order.index(stage) + 1])}.",
            key="--from",
        )
    refuse(run, [name for name in changed_inputs(run) if not _may_change(run, name, start)])


def _may_change(run: Run, name: str, start: str) -> bool:
    """Whether the input ``name`` is read by no stage before ``start``."""
    return start == "profile" or (start in run.course.readers("text") and name.startswith("the text "))


def _make_room(run: Run, start: str) -> None:
    """Drop or set aside what the stages from ``start`` on would otherwise go on from."""
    order = run.course.order
    again = order[order.index(start) :]
    if "supernet" in again and _trains_anew(run, start):
        shutil.rmtree(run.folder / "supernet", ignore_errors=True)
        set_aside(run.folder / "ranking.jsonl")
    elif start == "rank":
        set_aside(run.folder / "ranking.jsonl")
    if ("tabulate" if "tabulate" in order else "search") in again:  # students of other weights, text or costs
        set_aside(run.folder / RETRAINED)
    if "search" in again:
        shutil.rmtree(run.folder / "students", ignore_errors=True)
        set_aside(run.folder / "journal.jsonl")
    kept = [name for name in fingerprints(run.spec) if not _may_change(run, name, start)]
    run.forget_stages(again, inputs=kept)  # last: what is missing above is not done, whatever the manifest says


def _trains_anew(run: Run, start: str) -> bool:
    """Whether checkpoints are of no use: a new latency table alone does not change what is trained."""
    inputs = [name for name in changed_inputs(run) if not name.startswith("the latency table ")]
    return bool(start == "supernet" or _changes(run, "supernet") or inputs or run.spec.supernet.shrink)


_MORE: Mapping[str, Callable[[Any, Any], bool]] = {  # of an extraction, by its old value and its new one
    "extraction.epsilon": lambda old, new: old % new == 0,
    "extraction.hyperparameter_sets": lambda old, new: bool(old) and new[: len(old)] == old,
}


def _first_old(run: Run, stages: Iterable[str]) -> tuple[str, Changes]:
    """The first of ``stages`` that was begun with other values of what feeds it, and these, old and new."""
    for stage in stages:
        changes = _changes(run, stage)
        if changes and not (stage == "search" and _only_more(changes, _is_drawn(run))):
            return stage, changes
    return "", {}


def _only_more(changes: Changes, is_drawn: bool) -> bool:
    """Whether more candidates, drawn or named, are all that is wanted: what the journal holds stays true.

    Where hyperparameters are drawn (``is_drawn``) an extraction's architectures take turns, which more of them change.
    """
    if changes and changes.keys() <= _MORE.keys():
        return not is_drawn and all(_MORE[key](*pair) for key, pair in changes.items())
    old, new = changes.get("search.num_candidates", (0, 0))
    named = {key: pair for key, pair in changes.items() if key.startswith("search.enqueue")}
    grown = all(set(before or ()) <= set(after or ()) for before, after in named.values())
    return len(changes) == 1 + len(named) and new > old and grown


def _is_drawn(run: Run) -> bool:
    distill = run.spec.search.distill
    return distill is not None and bool(distill.searched)


def _changes(run: Run, stage: str) -> Changes:
    """Keys that feed ``stage`` and differ from the spec it was begun with: old and new value."""
    before = run.begun_with(stage)
    if before is None:
        return {}
    old, new = dict(_flat(_texts(*before))), dict(_flat(_texts(run.spec, run.space_spec)))
    shrinks = run.spec.supernet.shrink is not None
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and stage in _fed_by(run, key, shrinks)
    }


def _fed_by(run: Run, key: str, shrinks: bool) -> tuple[str, ...]:
    """The stages that read ``key``; shrinking scores paths and weighs latency while the supernets train."""
    found = run.course.readers(key)
    return (*found, "supernet") if shrinks and {"profile", "tabulate"} & set(found) else found


def _texts(spec: TrialSpec, space_spec: PathSpaceSpec | UniformSpaceSpec) -> dict[str, Any]:
    """Both specs as plain data; the content of the space stands for its name."""
    return {**spec.model_dump(mode="json"), "space": space_spec.model_dump(mode="json")}


def _flat(data: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; lists are values."""
    if isinstance(data, Mapping) and data:
        for name, value in data.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, data


def _sentence(changes: Changes) -> str:
    """The first three changes in words."""
    shown = [f"{key} changed from {_short(old)} to {_short(new)}" for key, (old, new) in changes.items()]
    more = f" and {len(shown) - 3} more keys changed" if len(shown) > 3 else ""
    return f"{', '.join(shown[:3])}{more}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
