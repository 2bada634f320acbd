"""Latency of chosen whole models, where a table has only estimated it; each is measured once for a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nas_ray._files import write_text
from nas_ray.errors import InfeasibleError, StageError
from nas_ray.space import Architecture, UniformArchitecture, parse_any
from nas_ray.stages._context import Context
from nas_ray.stages.profile import measure_whole
from nas_ray.tables import uniform_parts

_FILE = "tables/whole.json"  # milliseconds by arch_id, kept: a command that is repeated chooses the same


def first_within(context: Context, rows: Sequence[dict[str, Any]], bound: float) -> dict[str, Any]:
    """The first of ``rows`` whose whole model takes at most ``bound`` ms when measured as the run's table was.

    Where it cannot be measured so, the first that the table holds for fast enough.

    Raises:
        InfeasibleError: all take longer.
    """
    say, key = context.console.say, context.latency.metadata["key"]
    file = context.path(_FILE)
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known = kept["milliseconds"] if kept.get("key") == key else {}
    for row in rows:
        arch_id = row["arch_id"]
        if arch_id not in known:
            try:
                known[arch_id] = measure_whole(key, [_parts(context, arch_id)], context.console)[0]
            except StageError as error:
                say(f"  latency by the table only: {error}")
                return row
            write_text(file, json.dumps({"key": key, "milliseconds": known}, indent=1))
        found = known[arch_id]
        verdict = "within" if found <= bound else "over"
        say(f"  {arch_id}: {found:.2f} ms as a whole, {row['latency_ms']:.2f} by the table; {verdict} {bound:.2f}")
        if found <= bound:
            return row
    fastest = min(known[row["arch_id"]] for row in rows)
    raise InfeasibleError(
        f"{context.run.folder}: by the table {len(rows)} candidates are within {bound:g} ms, as whole models none; the "
        f"fastest takes {fastest:.2f} ms. Accepted: a larger bound."
    )


def _parts(context: Context, arch_id: str) -> tuple[str, ...]:
    architecture = parse_any(arch_id, context.head_size)
    if isinstance(architecture, Architecture):
        return context.costs.parts(architecture)
    assert isinstance(architecture, UniformArchitecture), "runs search architectures"
    return uniform_parts(architecture)
