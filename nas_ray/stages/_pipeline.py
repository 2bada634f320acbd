"""The stages in their order; what is done and intact is skipped."""

from __future__ import annotations

import importlib
import shlex
import time
from pathlib import Path

from nas_ray.errors import NasRayError, StageError
from nas_ray.stages._context import Console, Context, Silent
from nas_ray.stages._run import Run

STAGES = {
    "profile": "what every part costs",
    "supernet": "training the blocks' supernets",
    "tabulate": "scoring every path of every block",
    "search": "judging whole candidates",
    "test": "measuring on unseen text",
    "rank": "checking the tables' ranking by stand-alone training",
    "report": "writing tables, figures and the page",
}


_COMMAND: list[str] = []


def resume_command() -> str | None:
    """How to go on with the run that this process drives or drove."""
    return _COMMAND[-1] if _COMMAND else None


def remember(run: Run, address: str | None) -> None:
    """Make ``resume_command`` speak of ``run``."""
    where = f" --address {shlex.quote(address)}" if address else ""
    _COMMAND.append(f"nas-ray resume {shlex.quote(str(run.folder))}{where}")


def _set_aside(journal: Path) -> None:
    """Keep a journal of candidates that older tables and weights judged, under another name."""
    if journal.is_file():
        journal.rename(journal.with_name(f"journal-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"))


def execute(run: Run, console: Console | None = None, address: str | None = None) -> Context:
    """Run all stages that are not done.

    Raises:
        NasRayError: what a stage raises; an error that is nobody's own becomes a StageError.
    """
    context = Context(run, console or Silent(), address)
    run.lock()
    remember(run, address)
    stage = ""
    try:
        first = next((name for name in STAGES if not run.is_done(name)), None)
        for number, (stage, title) in enumerate(STAGES.items(), start=1):
            if first is None or list(STAGES).index(stage) < list(STAGES).index(first):
                context.console.say(f"[{number}/{len(STAGES)}] {stage}: done")
                continue
            context.console.say(f"[{number}/{len(STAGES)}] {stage}: {title}")
            began = time.perf_counter()
            outputs: list[Path] = importlib.import_module(f"nas_ray.stages.{stage}").run(context)
            run.mark_done(stage, time.perf_counter() - began, outputs, list(STAGES))
            if stage == "tabulate":
                _set_aside(context.path("journal.jsonl"))
    except (NasRayError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise StageError(stage, f"{type(error).__name__}: {reason[0] if reason else ''}") from error
    finally:
        context.close()
        run.unlock()
    return context
