"""How long work tells that it goes on, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


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


class _SilentStep:
    def update(self, done: float, note: str = "") -> None:
        """Nothing."""


class Silent:
    """Says nothing: the default."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def step(self, title: str, total: float) -> Iterator[Step]:  # noqa: ARG002 - the protocol's names
        """A step that nobody sees."""
        yield _SilentStep()
