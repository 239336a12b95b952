"""Single trials of a recording for the analyses that test on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import xarray as xr

from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.preprocess import window
from dynaprobe.recordings.binning import Binned, PsthSettings, Segment, binned
from dynaprobe.recordings.session import Recording
from dynaprobe.recordings.single_trials import trial_rates
from dynaprobe.study.unit_settings import UnitSettings

Window = tuple[float, float]


@dataclass(frozen=True)
class SingleTrials:
    """Rates of every trial around both events, narrowly smoothed.

    Attributes:
        rates: all of them; None where the recording does not allow it.
        reason: why not.
        remedy: what gives the analyses trials.
        left_out: units and trials that lack some time which PSTHs do without, by reason.
    """

    rates: Binned | None = None
    reason: str = "no single trials are at hand"
    remedy: str = "Shorten baseline_window_ms or latency_window_ms of units to what was recorded"
    left_out: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _by_event(self) -> dict[str, list[xr.DataArray]]:
        if self.rates is None:
            return {}
        return {part.event: trial_rates(self.rates, part.event) for part in self.rates.segments}

    def around(self, event: str) -> list[xr.DataArray]:
        """The trials aligned to an event, one array per block of units.

        Raises:
            RatesError: when there are none.
        """
        if event not in self._by_event:
            raise RatesError(
                "trials",
                rule="be at hand, as this analysis tests on them",
                received=self.reason,
                remedy=self.remedy,
            )
        return self._by_event[event]

    def cut(self, event: str, span_ms: Window) -> list[xr.DataArray]:
        """The trials in a window around an event."""
        return [window(block, start_ms=span_ms[0], stop_ms=span_ms[1]) for block in self.around(event)]


def before_movement_ms(move_window_ms: Window) -> Window:
    """What movement latencies are measured from: the tenth of a second before the window around movement onset."""
    return move_window_ms[0] - 100.0, move_window_ms[0]


def single_trials(
    recording: Recording,
    psth: PsthSettings,
    units: UnitSettings,
    *,
    target_window_ms: Window,
    move_window_ms: Window,
) -> SingleTrials:
    """Bin the trials of a recording with the narrow kernel of latencies, from baseline to the end of both windows.

    Args:
        recording: a real one, or a network rendered as one.
        psth: bins and least number of trials.
        units: baseline and latency windows, and the kernel.
        target_window_ms, move_window_ms: windows of the PSTHs.
    """
    start_ms = min(target_window_ms[0], units.baseline_window_ms[0], units.latency_window_ms[0])
    stop_ms = max(target_window_ms[1], units.latency_window_ms[1])
    parts = [
        Segment("target_on", start_ms, stop_ms),
        Segment("move_onset", before_movement_ms(move_window_ms)[0], move_window_ms[1]),
    ]
    settings = psth.with_changes({"sd_ms": units.latency_sd_ms, "min_trials": max(2, psth.min_trials)})
    try:
        rates = binned(recording, parts, settings=settings)
    except DataError as error:
        # Recordings that begin with the target have PSTHs all the same.
        return SingleTrials(None, str(error))
    return SingleTrials(rates, "", left_out=rates.left_out)
