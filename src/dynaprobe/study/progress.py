"""How long work tells that it goes on, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol


class Step(Protocol):
    """A running step of known length."""

    def update(self, done: float, note: str = "") -> None:
        """Say how much of the total is done, with a short note such as the present loss."""


class Progress(Protocol):
    """Listens to a run; the command line shows it, tests stay silent."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def step(self, title: str, total: float) -> AbstractContextManager[Step]:
        """A step of known length, as a context manager."""


class Running(NamedTuple):
    """Work in progress that others do.

    Attributes:
        name: what it is.
        done, total: how far it is.
        note: e.g. its present loss.
    """

    name: str
    done: float
    total: float
    note: str


class View(Protocol):
    """What shows a whole and the parts of it that are being worked at."""

    def show(self, done: float, running: Sequence[Running]) -> None:
        """How much of the whole is done, and which parts are in work."""


class Board(Protocol):
    """Listens to work that goes on at several places at the same time."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def board(self, title: str, total: float, *, done: float = 0) -> AbstractContextManager[View]:
        """A whole of known size, some of it done before, as a context manager."""


class _SilentStep:
    def update(self, done: float, note: str = "") -> None:
        """Nothing."""


class _SilentView:
    def show(self, done: float, running: Sequence[Running]) -> None:
        """Nothing."""


class Silent:
    """Says nothing: the default."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def step(self, title: str, total: float) -> Iterator[Step]:  # noqa: ARG002 - the protocol's names
        """A step that nobody sees."""
        yield _SilentStep()

    @contextmanager
    def board(self, title: str, total: float, *, done: float = 0) -> Iterator[View]:  # noqa: ARG002 - as above
        """A board that nobody sees."""
        yield _SilentView()
