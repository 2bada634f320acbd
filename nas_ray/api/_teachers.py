"""What makes teachers: adapt_teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_ray.stages import Console, Silent, absolute_teacher, adapt_spec


def adapt_teacher(
    teacher: str,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Give a teacher the masked-LM head that it lacks, and train both on masked text; resumable.

    Args:
        teacher: an asset, a folder or a name on the model hub. overrides: ``steps=2000`` and other keys of
            ``spec.Adapt``. out: a new folder; ``NAS_RAY_CACHE`` has one for each teacher, text and settings if None.

    Returns:
        What ``adapted.json`` says, and its ``folder``: a teacher with its tokenizer, for any trial. What was made
        before is not made again.

    Raises:
        TeacherError, TextError, SpecError: of which nothing can be made. RunError: ``out`` holds something else,
        another process is at it, or the disk has no room. StageError: the training failed; its last good checkpoint
        stays, the same call goes on from there.
    """
    from nas_ray.stages.adapt import Adapting, read_record

    place = None if out is None else Path(out).expanduser().absolute()
    folder = Adapting(absolute_teacher(teacher), adapt_spec(overrides), place, console or Silent()).run()
    return {**read_record(folder), "folder": str(folder)}
