"""What a person at the command line sees: lines, progress with rate and time left, tables."""

from __future__ import annotations

import threading
import time
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

# Set by the signal handler. Libraries below may swallow the KeyboardInterrupt it raises; progress raises it again.
interrupted = threading.Event()

_SLOW = 0.1  # a second; below it the seconds of one say more
_EVERY_S = 15.0  # between progress lines where the output is no terminal


class TerminalConsole:
    """Implements ``stages.Console`` with rich; plain lines where the output is a file or a pipe.

    Any thread may speak: tracking warns from one of its own.
    """

    def __init__(self) -> None:
        self.rich = RichConsole(highlight=False, soft_wrap=True)
        self._speaking = threading.RLock()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began = self._last = 0.0
        self._start = 0.0

    def say(self, text: str) -> None:
        """One line; ends a progress display."""
        with self._speaking:
            self._close()
            self.rich.print(text, markup=False)

    def show(self, renderable: Any) -> None:
        """A table."""
        with self._speaking:
            self._close()
            if not self.rich.is_terminal:
                self.rich.width = max(self.rich.width, 110)
            self.rich.print(renderable, soft_wrap=False)

    def progress(self, done: float, total: float, unit: str, note: str = "") -> None:
        """A bar on a terminal, a line now and then elsewhere.

        Raises:
            KeyboardInterrupt: a signal has asked this process to end.
        """
        if interrupted.is_set():
            raise KeyboardInterrupt
        with self._speaking:
            self._progress(done, total, unit, note)

    def _progress(self, done: float, total: float, unit: str, note: str) -> None:
        now = time.monotonic()
        if self._began == 0.0:
            self._began, self._start = now, done
        from nas_ray.report import duration  # loads pyarrow, which a command that only speaks does without

        rate = (done - self._start) / max(1e-9, now - self._began)
        if self.rich.is_terminal:
            self._draw(done, total, f"{unit} {f'{rate:.1f}/s' if rate else ''} {note}")
        elif now - self._last >= _EVERY_S or done >= total:
            left = f", about {duration((total - done) / rate)} left" if rate and done < total else ""
            speed = "" if not rate else f", {rate:.1f}/s" if rate >= _SLOW else f", one in {duration(1 / rate)}"
            self.rich.print(f"  {done:g} of {total:g} {unit}{speed}{left}{f'; {note}' if note else ''}", markup=False)
            self._last = now
        if done >= total:
            self._close()

    def _draw(self, done: float, total: float, text: str) -> None:
        if self._bar is None:
            columns = (TextColumn("  "), BarColumn(30), TextColumn("{task.completed:g}/{task.total:g}"),
                       TextColumn("{task.description}"), TimeRemainingColumn())  # fmt: skip
            self._bar = Progress(*columns, console=self.rich, transient=False)
            self._task = self._bar.add_task(text, total=total)
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total, description=text)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._began = 0.0
