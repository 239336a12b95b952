"""Where pieces of a sweep are worked at: what the driver asks of this machine, of Dask and of a cluster alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from dynaprobe.study.pieces import Outcome, Piece


class Engine(Protocol):
    """Has pieces worked at, in processes that may end at any moment.

    An engine does not retry a piece whose process ended: it says so, and who leads the sweep decides. To add one:
    a class with these two methods and its row in `dynaprobe.study.engine_table.engine_of`.
    """

    def run(self, waiting: deque[Piece]) -> Iterator[tuple[Piece, Outcome] | None]:
        """Every piece with its outcome, as they end; None about once a second while none does.

        Pieces are taken from the left of `waiting`. Who listens may put more there between two answers; it ends
        when none waits and none is in work.
        """

    def close(self) -> None:
        """End all processes that this engine started; what they had not stored is lost to its last checkpoint."""
