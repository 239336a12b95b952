"""What the terminal shows: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.text import Text

# In a log file, one line per step every so often is enough to see that it lives.
LOG_EVERY_S = 20.0


class _Bar:
    def __init__(self, bars: RichBars, title: str, total: float) -> None:
        self._bars = bars
        self._task = bars.add_task(title, total=total, note="")

    def update(self, done: float, note: str = "") -> None:
        self._bars.update(self._task, completed=done, note=note)


class _LogLine:
    def __init__(self, console: Console, title: str, total: float) -> None:
        self._console, self._title, self._total = console, title, total
        self._started = self._last = time.monotonic()

    def update(self, done: float, note: str = "") -> None:
        now = time.monotonic()
        finished = done >= self._total
        if now - self._last < LOG_EVERY_S and not finished:
            return
        self._last = now
        spent = now - self._started
        left = "" if finished or done <= 0 else f", {_clock(spent / done * (self._total - done))} left"
        text = f"{self._title}: {done:g}/{self._total:g} in {_clock(spent)}{left}  {note}"
        self._console.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)


class TerminalProgress:
    """Shows a run on the terminal, or logs it where there is none."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, total: float) -> Iterator[_Bar | _LogLine]:
        """A step of known length."""
        if not self.console.is_terminal:
            line = _LogLine(self.console, title, total)
            yield line
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        with RichBars(*columns, console=self.console) as bars:
            yield _Bar(bars, title, total)

    @property
    def elapsed(self) -> str:
        """Time since the start, readable."""
        return _clock(time.monotonic() - self._started)


def _clock(duration_s: float) -> str:
    return str(timedelta(seconds=round(duration_s)))


def tell(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def fail(error: Exception) -> NoReturn:
    """Show a problem the user can mend on standard error, and end with exit code 2."""
    Console(stderr=True, highlight=False).print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
    sys.exit(2)
