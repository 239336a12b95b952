"""Time: the only place where milliseconds become bins.

Bin ``k`` of a trial covers the half-open interval ``[k dt, (k + 1) dt)`` and is labelled by its start.
An epoch ``[a, b)`` holds the bins whose start lies in it. Everything else follows from these two sentences.
Only arithmetic operators are used, so that NumPy arrays and traced JAX arrays go through the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dynaprobe.core.errors import SettingsError

# A time a hair below a bin edge by round-off (0.1 + 0.2) belongs to the bin that starts at the edge.
EDGE_TOLERANCE_BINS = 1e-4


def bin_of(time_ms: Any, dt_ms: float) -> Any:
    """Index of the bin that contains an instant: ``floor(time_ms / dt_ms)``, as float so that NaN survives."""
    return (time_ms / dt_ms + EDGE_TOLERANCE_BINS) // 1


def n_bins(duration_ms: float, dt_ms: float) -> int:
    """Number of bins that cover a duration: ``ceil(duration_ms / dt_ms)``."""
    return int(-((-duration_ms / dt_ms + EDGE_TOLERANCE_BINS) // 1))


def in_interval(time_ms: Any, start_ms: Any, stop_ms: Any, dt_ms: float) -> Any:
    """Whether each bin start lies in ``[start_ms, stop_ms)``; False where an end is NaN.

    Args:
        time_ms: bin starts.
        start_ms, stop_ms: ends of the interval, anything that broadcasts against `time_ms`.
        dt_ms: bin width, which sets the round-off tolerance.
    """
    slack_ms = EDGE_TOLERANCE_BINS * dt_ms
    return (time_ms >= start_ms - slack_ms) & (time_ms < stop_ms - slack_ms)


@dataclass(frozen=True)
class Epoch:
    """A named half-open interval between two events of a trial.

    Attributes:
        name: the field's word for it: baseline, delay, movement, ...
        start: event at which it begins (inside).
        stop: event at which it ends (outside).
    """

    name: str
    start: str
    stop: str


@dataclass(frozen=True)
class Timeline:
    """The clock shared by all trials of one task: bin width, number of bins, and which epochs there are.

    Attributes:
        dt_ms: bin width in ms.
        n_bins: bins per trial; shorter trials are padded and the padding is masked out of the loss.
        epochs: the epochs, in the order in which they happen.
    """

    dt_ms: float
    n_bins: int
    epochs: tuple[Epoch, ...] = ()

    def __post_init__(self) -> None:
        if not self.dt_ms > 0:
            raise SettingsError(
                "dt_ms",
                rule="be positive",
                received=self.dt_ms,
                remedy="Give the bin width in milliseconds, e.g. 10",
            )

    @property
    def time_ms(self) -> Float[np.ndarray, " time"]:
        """Start of every bin in ms, counted from the start of the trial."""
        return np.arange(self.n_bins) * self.dt_ms

    def epoch(self, name: str) -> Epoch:
        """The epoch called `name`."""
        for epoch in self.epochs:
            if epoch.name == name:
                return epoch
        known = ", ".join(epoch.name for epoch in self.epochs)
        raise SettingsError(
            "epoch", rule=f"be one of {known}", received=name, remedy="Name an epoch that the task defines"
        )

    def epoch_mask(self, name: str, events_ms: Mapping[str, Any]) -> Any:
        """Which bins of each trial lie in an epoch.

        Args:
            name: the epoch.
            events_ms: time of every event, each of shape ``(trial,)``, NaN where a trial lacks it.

        Returns:
            Booleans of shape ``(trial, time)``.
        """
        epoch = self.epoch(name)
        start_ms, stop_ms = events_ms[epoch.start], events_ms[epoch.stop]
        return in_interval(self.time_ms, start_ms[..., None], stop_ms[..., None], self.dt_ms)
