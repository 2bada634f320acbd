"""No search: all candidates are enqueued."""

from __future__ import annotations

from typing import Any


class Listed:
    """Nothing beyond the list."""

    name = "listed"

    def propose(self, index: int, attempt: int = 0) -> Any:
        raise AssertionError("all candidates are listed")

    def observe(self, architecture: Any, values: tuple[float, ...] | None, finished: bool) -> None:
        """Nothing to learn."""
