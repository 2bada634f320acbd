"""What can go wrong, as one tree.

    NasRayError               exit code 1
    ├── SpecError             2   a trial spec, a space file or a command-line value is wrong
    ├── SpaceError            2   an architecture or operation does not belong to its space
    ├── TeacherError          2   the teacher cannot be loaded or cannot be cut into blocks
    ├── TextError             2   the text is missing, empty or not text
    ├── TaskError             2   a task is unknown, or its data does not fit it
    ├── InfeasibleError       3   no architecture meets the bounds; names the nearest reachable value
    ├── AssetError            2   an archive of the catalogue cannot be fetched or is not what it should be
    ├── TableError            2   a lookup table is missing, damaged or measured for something else
    ├── RunError              2   a run folder is missing, locked, damaged or cannot be written
    ├── ClusterError          2   no Ray cluster answers, or it lost what the run needs
    ├── TrackingError         2   the MLflow server cannot be used
    ├── ModelError            2   a student's folder is missing, damaged or incomplete
    ├── ExportError           1   an export cannot be written, or is not what its model is
    └── StageError            1   a stage of a run failed

A message says what was found, what is accepted and what to do. The command line prints it in one line;
the traceback is shown with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasRayError(Exception):
    """Base of every error that nas_ray raises on purpose."""

    exit_code = 1


class _InputError(NasRayError):
    exit_code = 2


class SpecError(_InputError):
    """A spec is wrong; ``file`` and the dotted ``key`` say where."""

    def __init__(self, message: str, *, file: str = "", key: str = "") -> None:
        self.file = file
        self.key = key
        place = ": ".join(part for part in (file, key) if part)
        super().__init__(f"{place}: {message}" if place else message)


class SpaceError(_InputError):
    """An architecture or operation does not belong to its search space."""


class TeacherError(_InputError):
    """The teacher cannot be loaded, or is not an encoder that can be cut into blocks."""


class TextError(_InputError):
    """The text is missing, empty or not text."""


class TaskError(_InputError):
    """There is no such downstream task, or its data does not fit it."""


def rounded_up(value: float) -> str:
    """Ten digits that are no less than ``value``: a bound of so much can be met."""
    shown = f"{value:.10g}"
    return shown if float(shown) >= value else f"{value + abs(value) * 1e-9:.10g}"


class InfeasibleError(NasRayError):
    """No architecture meets the bounds."""

    exit_code = 3


class AssetError(_InputError):
    """An archive of the catalogue cannot be fetched, or is not what its hash says."""


class TableError(_InputError):
    """A lookup table is missing, damaged or measured for something else."""


class RunError(_InputError):
    """A run folder is missing, locked, damaged or cannot be written."""


class ClusterError(_InputError):
    """No Ray cluster answers, or it lost what the run needs."""


class TrackingError(_InputError):
    """The MLflow tracking server cannot be used."""


class ModelError(_InputError):
    """The folder of a student is missing, damaged or incomplete."""


class ExportError(NasRayError):
    """An export cannot be written, or does not compute what its model does."""


class StageError(NasRayError):
    """A stage of a run failed; ``stage`` names it."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)  # both, so that the error survives pickling
        self.stage = stage

    def __str__(self) -> str:
        stage, message = self.args
        return f"stage {stage}: {message}"


def unknown(what: str, found: str, known: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """One sentence for an unknown name: what was found, what is known, the nearest, or what it is ``elsewhere``."""
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=1) or list(elsewhere)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{found}'; known: {', '.join(names)}.{hint}"
