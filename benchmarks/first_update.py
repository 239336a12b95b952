"""What ``dynaprobe train`` does, with its defaults, until the first update is done; then the process ends.

``python -m benchmarks.first_update FOLDER`` trains into FOLDER.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dynaprobe.cli.app  # noqa: F401 - what the command imports is part of its start
from dynaprobe.core.devices import prepare_devices
from dynaprobe.core.settings import parse
from dynaprobe.study.train_alone import TrainSettings, train_ensemble


class Stopwatch:
    """Listens to a run and ends the process, without tidying up, as soon as an update is done."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def step(self, title: str, total: float) -> Iterator[Stopwatch]:  # noqa: ARG002 - the protocol's names
        """The training."""
        yield self

    def update(self, done: float, note: str = "") -> None:  # noqa: ARG002 - the protocol's names
        """An update is done."""
        if done >= 1:
            os._exit(0)


if __name__ == "__main__":
    prepare_devices()
    train_ensemble(parse(TrainSettings, {}), Path(sys.argv[1]), progress=Stopwatch())
    sys.exit("training ended without telling of an update")
