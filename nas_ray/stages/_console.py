"""Where stages speak."""

from __future__ import annotations

from typing import Any, Protocol


class Console(Protocol):
    """Where stages speak; the command line implements it."""

    def say(self, text: str) -> None:
        """One line."""

    def progress(self, done: float, total: float, unit: str, note: str = "") -> None:
        """How far the current stage is."""

    def show(self, renderable: Any) -> None:
        """A table or another rich object."""


class Silent:
    """No output, for tests and notebooks."""

    def say(self, text: str) -> None: ...

    def progress(self, done: float, total: float, unit: str, note: str = "") -> None: ...

    def show(self, renderable: Any) -> None: ...
