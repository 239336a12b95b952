"""What the terminal shows: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBars
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from dynaprobe.study.progress import Running

# In a log file, one line per step every so often is enough to see that it lives.
LOG_EVERY_S = 20.0


class _Bar:
    def __init__(self, bars: RichBars, title: str, total: float) -> None:
        self._bars = bars
        self._task = bars.add_task(title, total=total, note="")

    def update(self, done: float, note: str = "") -> None:
        self._bars.update(self._task, completed=done, note=note)


class _Bars:
    """A bar for a whole, and one for every part of it that is being worked at."""

    def __init__(self, bars: RichBars, title: str, total: float, done: float) -> None:
        self._bars = bars
        self._whole = bars.add_task(title, total=total, note="")
        bars.update(self._whole, completed=done)
        self._parts: dict[str, TaskID] = {}

    def show(self, done: float, running: Sequence[Running]) -> None:
        self._bars.update(self._whole, completed=done, note=f"{len(running)} in work")
        names = {part.name for part in running}
        for name in [name for name in self._parts if name not in names]:
            self._bars.remove_task(self._parts.pop(name))
        for part in running:
            if part.name not in self._parts:
                self._parts[part.name] = self._bars.add_task(f"  {part.name}", total=part.total, note=part.note)
            self._bars.update(self._parts[part.name], completed=part.done, note=part.note)


class _LogView:
    """The same as lines of a log."""

    def __init__(self, console: Console, title: str, total: float, done: float) -> None:
        self._line, self._total = _LogLine(console, title, total, done), total

    def show(self, done: float, running: Sequence[Running]) -> None:
        parts = [f"{part.name} {part.done:g}/{part.total:g}" for part in running]
        # All is done when nothing is in work any more, not when the last update is.
        most = self._total - 0.1 if running else self._total
        self._line.update(min(int(done * 10) / 10, most), "; ".join(parts))


class _LogLine:
    def __init__(self, console: Console, title: str, total: float, before: float = 0) -> None:
        self._console, self._title, self._total, self._before = console, title, total, before
        self._started = self._last = time.monotonic()

    def update(self, done: float, note: str = "") -> None:
        now = time.monotonic()
        finished = done >= self._total
        if now - self._last < LOG_EVERY_S and not finished:
            return
        self._last = now
        spent = now - self._started
        new = done - self._before
        left = "" if finished or new <= 0 else f", {_clock(spent / new * (self._total - done))} left"
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
        with RichBars(*_columns(title, total), console=self.console) as bars:
            yield _Bar(bars, title, total)

    @contextmanager
    def board(self, title: str, total: float, *, done: float = 0) -> Iterator[_Bars | _LogView]:
        """A whole and its parts that are being worked at."""
        if not self.console.is_terminal:
            yield _LogView(self.console, title, total, done)
            return
        with RichBars(*_columns(" " * 40, total), console=self.console) as bars:
            yield _Bars(bars, title, total, done)

    @property
    def elapsed(self) -> str:
        """Time since the start, readable."""
        return _clock(time.monotonic() - self._started)


def _columns(title: str, total: float) -> tuple[ProgressColumn, ...]:
    # Where the line is too narrow the note and the bar give way: counts and time left are what one looks for.
    counted = len(f"{total:g}") * 2 + 1
    return (
        TextColumn("{task.description}", table_column=Column(min_width=min(len(title), 40), no_wrap=True)),
        BarColumn(bar_width=16, table_column=Column(min_width=4)),
        MofNCompleteColumn(table_column=Column(min_width=counted)) if total > 1 else TaskProgressColumn(),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn("left", table_column=Column(min_width=4)),
        TimeRemainingColumn(table_column=Column(min_width=7)),
        TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
    )


def _clock(duration_s: float) -> str:
    return str(timedelta(seconds=round(duration_s)))


def tell(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def fail(error: Exception) -> NoReturn:
    """Show a problem the user can mend on standard error, and end with exit code 2."""
    Console(stderr=True, highlight=False).print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
    sys.exit(2)
