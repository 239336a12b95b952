"""What the terminal shows: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBars
from rich.table import Column
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
        # Where the line is too narrow the note and the bar give way: counts and time left are what one looks for.
        counted = len(f"{total:g}") * 2 + 1
        columns = (
            TextColumn("{task.description}", table_column=Column(min_width=min(len(title), 40), no_wrap=True)),
            BarColumn(bar_width=16, table_column=Column(min_width=4)),
            MofNCompleteColumn(table_column=Column(min_width=counted)) if total > 1 else TaskProgressColumn(),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            TextColumn("left", table_column=Column(min_width=4)),
            TimeRemainingColumn(table_column=Column(min_width=7)),
            TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
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
