"""What tasks and their examples are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas_ray.spec import TaskSpec

Answer = tuple[str, int]
"""The text of an answer and the character of the context at which it begins."""

Target = float | tuple[Answer, ...] | tuple[int, ...] | None


class Task(TaskSpec):
    """A task by name, with the place of its data."""

    name: str
    """As `load_task` knows it."""
    data: Path | None = None
    """Local files that are read in place of the hub's: a folder, or one file that is cut into parts."""

    @property
    def source(self) -> str:
        """Where examples come from: local files, nas_ray's own assets, or a hub's data set with its configuration."""
        if self.data is not None:
            return str(self.data)
        if self.embedded is not None:
            return "assets"
        assert self.hub is not None, "load_task gives files a folder"
        return self.hub.path + (f", {self.hub.config}" if self.hub.config else "")


@dataclass(frozen=True)
class Example:
    """One thing to predict."""

    id: str
    """What prediction files call it; of MultiRC paragraph-question-answer."""
    texts: tuple[str, ...]
    """The text; the pair; question and context of a span; what is before the options and each of them; the words."""
    target: Target
    """Number of the class or of the right option, rating, answers (none: not answerable), class of each word. None:
    not known."""
    group: str
    """Examples of one group lie in one part."""
    names: tuple[str, ...] = ()
    """Of a choice: what prediction files call the options."""
    answers: tuple[str, ...] = ()
    """Of a choice: the names that count as right, where there are several."""
