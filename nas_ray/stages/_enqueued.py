"""Candidates that are judged before the searcher's own: those of an earlier run, or of somebody's list.

They stand in the spec (``search.enqueue``), so that the run needs neither the earlier run nor the list to go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from nas_ray.errors import RunError, SpaceError, SpecError
from nas_ray.search import read_journal
from nas_ray.space import Architecture, PathSpace, parse_architecture
from nas_ray.spec import TrialSpec
from nas_ray.stages._context import Context
from nas_ray.stages._run import Run
from nas_ray.stages._searched import quality
from nas_ray.stages._trial import load_run_specs
from nas_ray.tables import read_parquet


def enqueue_overrides(
    trial: str,
    overrides: Sequence[str],
    warm_start: Path | None,
    listed: Path | None,
    say: Callable[[str], None],
) -> list[str]:
    """``overrides``, and those that enqueue the front of the run ``warm_start`` and the arch_ids in file ``listed``.

    Raises:
        RunError: the earlier run has no front, or nothing of it lies in this space.
        SpecError: the file cannot be read, or a line of it is no architecture of this space.
    """
    found = list(overrides)
    if warm_start is None and listed is None:
        return found
    space = load_run_specs(trial, overrides)[1].build()
    if not isinstance(space, PathSpace):
        raise SpecError(
            f"space '{space.name}' is of kind uniform, where extraction.epsilon says which architectures are trained; "
            "accepted with --enqueue and --warm-start: kind paths",
            key="space",
        )
    if listed is not None:
        found.append(f"search.enqueue.user={json.dumps(_read_list(listed))}")
    if warm_start is not None:
        found.append(f"search.enqueue.warm={json.dumps(_front_within(warm_start, space, say))}")
    return found


def check_enqueued(spec: TrialSpec, space: PathSpace) -> None:
    """Whether the spec's enqueued arch_ids are architectures of the space.

    Raises:
        SpecError: names the first that is not.
    """
    for origin, arch_ids in spec.search.enqueue.items():
        for number, arch_id in enumerate(arch_ids, start=1):
            try:
                # What tables answered may hold the teacher's own block, which no space needs to have.
                inside = space.contains(parse_architecture(arch_id, space.head_size)) or origin == "tables"
                why = "" if inside else f"'{arch_id}' is not in space '{space.name}'; accepted: its members"
            except SpaceError as error:
                why = str(error)
            if why:
                raise SpecError(why, key=f"search.enqueue.{origin}, item {number}")


def listed(context: Context, space: PathSpace) -> list[tuple[Architecture, str]]:
    """The spec's enqueued candidates, as far as ``space`` has their paths and they meet the constraints."""
    parsed: list[tuple[Architecture, str]] = [
        (parse_architecture(arch_id, space.head_size), origin)
        for origin, arch_ids in context.spec.search.enqueue.items()
        for arch_id in arch_ids
    ]
    scored = [pair for pair in parsed if space.contains(pair[0]) or _is_scored(context, pair[0])]
    kept: list[tuple[Architecture, str]] = [
        (architecture, origin) for architecture, origin in scored if _meets(context, architecture)
    ]
    for number, reason in ((len(parsed) - len(scored), "have paths without a score"),
                           (len(scored) - len(kept), "do not meet the constraints")):  # fmt: skip
        if number:
            context.console.say(f"  {number} of {len(parsed)} enqueued architectures {reason} and are left out")
    return kept


def proposed_before(context: Context) -> list[Architecture]:
    """What was already given out of the tables' front: a search with more candidates goes on from there."""
    records = read_journal(context.path("journal.jsonl"))
    return [
        parse_architecture(record["arch_id"], context.space.head_size)
        for record in records
        if record["kind"] == "suggested" and record["origin"] == "front"
    ]


def _is_scored(context: Context, architecture: Architecture) -> bool:
    """Whether the tables hold all of it: the teacher's own block, too, which the space may not have."""
    losses = quality(context).losses
    names = [f"e{architecture.embedding_size}", *(path.path_id for path in architecture.paths)]
    return len(names) == len(losses) and all(name in found for name, found in zip(names, losses, strict=True))


def _meets(context: Context, architecture: Architecture) -> bool:
    costs = context.costs.of(architecture)
    return all(costs[metric] <= bound for metric, bound in context.bounds.items())


def _read_list(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise SpecError(
            f"cannot be read: {error}; accepted: a text file of arch_ids, one a line", file=str(file)
        ) from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        try:
            parse_architecture(line, 1)
        except SpaceError as error:
            raise SpecError(
                f"{error} Tables show them as `--json` does: arch_id", file=f"{file}, line {number}"
            ) from error
        found.append(line)
    if not found:
        raise SpecError("holds no arch_id; accepted: one a line, as `nas-ray front RUN --json` shows", file=str(file))
    return found


def _front_within(folder: Path, space: PathSpace, say: Callable[[str], None]) -> list[str]:
    """The arch_ids of a run's front that are members of ``space``."""
    run = Run.open(folder)
    file = run.folder / "front.parquet"
    if not (file.is_file() and run.is_done("test")):
        raise RunError(
            f"{folder}: the run has no front yet; finish it with `nas-ray resume {folder}` to start from it."
        )
    arch_ids = [str(arch_id) for arch_id in read_parquet(file)[0]["arch_id"]]
    inside = [arch_id for arch_id in arch_ids if _is_member(arch_id, space)]
    if not inside:
        raise RunError(
            f"{folder}: none of its {len(arch_ids)} front candidates is in space '{space.name}'; accepted: a run whose "
            f"space has members in common (that run's is '{run.space.name}')."
        )
    others = len(arch_ids) - len(inside)
    say(
        f"warm start: {len(inside)} candidates of the front of {run.run_id}"
        + (f"; {others} more are not in space '{space.name}'" if others else "")
    )
    return inside


def _is_member(arch_id: str, space: PathSpace) -> bool:
    try:
        return space.contains(parse_architecture(arch_id, space.head_size))
    except SpaceError:  # of a space of another kind
        return False
