"""PSTHs: rates averaged over the trials of a condition, with standard errors, counts and split halves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import done, make_rates
from dynaprobe.core.trials import ConditionTable
from dynaprobe.recordings.binning import (
    DEFAULT_SETTINGS,
    Binned,
    Block,
    PsthSettings,
    Segment,
    binned,
    rates_account,
)
from dynaprobe.recordings.session import Recording

Half = Literal[0, 1] | None


@dataclass(frozen=True, eq=False)
class Psth:
    """Condition averages around one event.

    Attributes:
        mean: rates in spikes/s, dims ``(condition, time, unit)``; coordinates: the label and the task variables of
            every condition; ``session`` and ``subject`` of every unit.
        standard_error: standard error of the mean over trials, same dims; NaN where there is a single trial.
        n_trials: trials behind every mean, dims ``(condition, unit)``.
        conditions: the conditions as a table.
        left_out: how many trials, unit-trials and units were left out, by reason in words.
    """

    mean: xr.DataArray
    standard_error: xr.DataArray
    n_trials: xr.DataArray
    conditions: ConditionTable
    left_out: Mapping[str, int]


def psth(
    recording: Recording,
    *,
    event: str,
    start_ms: float,
    stop_ms: float,
    settings: PsthSettings = DEFAULT_SETTINGS,
    half: Half = None,
    seed: int = 0,
    split: int = 0,
) -> Psth:
    """PSTHs around one event; see `binned` for the rates and `average` for the halves.

    Args:
        recording: the sessions, pooled by condition.
        event: event at 0 ms.
        start_ms, stop_ms: the window.
        settings: bin width, kernel, minimum of trials.
        half: None for all trials, 0 or 1 for a random half.
        seed: seed of the halves.
        split: which of many ways to halve.

    Raises:
        DataError: unknown event, no unit left, or halves without a trial.
    """
    rates = binned(recording, [Segment(event, start_ms, stop_ms)], settings=settings)
    return average(rates, half=half, seed=seed, split=split)[event]


def aligned(
    recording: Recording,
    segments: Sequence[Segment | tuple[str, float, float]],
    *,
    settings: PsthSettings = DEFAULT_SETTINGS,
    half: Half = None,
    seed: int = 0,
    split: int = 0,
) -> dict[str, Psth]:
    """PSTHs around several events with the same trials, units and conditions in each.

    Their means go straight into `dynaprobe.core.preprocess.concatenate_segments`. For many splits call `binned`
    once and `average` for each.

    Args:
        recording: the sessions, pooled by condition.
        segments: windows ``(event, start_ms, stop_ms)``, each around another event.
        settings: bin width, kernel, minimum of trials.
        half, seed, split: as in `average`.

    Raises:
        DataError: as in `psth`.
    """
    return average(binned(recording, segments, settings=settings), half=half, seed=seed, split=split)


def average(rates: Binned, *, half: Half = None, seed: int = 0, split: int = 0) -> dict[str, Psth]:
    """Average over the trials of every condition, for every segment.

        mean_ci(t) = (1/n) sum_k r_ki(t),   standard error = sqrt(sum_k (r_ki - mean_ci)^2 / (n (n - 1)))

    Halves: the usable trials of a condition are put in random order, the same for all units of a session that
    share their trials, and go to half 0 and half 1 in turn. Both halves of a split are disjoint, together
    they are all trials, and half 0 has the odd one.

    Args:
        rates: single-trial rates.
        half: None for all trials, 0 or 1 for a half.
        seed: seed of the halves.
        split: which of many ways to halve; the order depends on (seed, session's name, split) alone.

    Returns:
        A PSTH for every event.

    Raises:
        DataError: a condition with a single trial cannot be halved.
    """
    n_conditions = len(rates.conditions)
    shape = (n_conditions, rates.blocks[0].rates.shape[1], rates.n_units)
    mean, error = np.empty(shape), np.full(shape, np.nan)
    n_trials = np.empty((n_conditions, rates.n_units), dtype=np.int64)
    for block in rates.blocks:
        columns = np.searchsorted(rates.units, block.units)
        chosen = _half_of(rates, block, seed, split) == half if half is not None else None
        for k in range(n_conditions):
            rows = block.condition == k if chosen is None else (block.condition == k) & chosen
            values = block.rates[rows]
            n = values.shape[0]
            if n == 0:
                raise _no_half(rates, block, k)
            mean[k][:, columns] = values.mean(axis=0)
            n_trials[k, columns] = n
            if n > 1:
                error[k][:, columns] = values.std(axis=0, ddof=1) / np.sqrt(n)
    return _by_event(rates, mean, error, n_trials, half)


def _half_of(rates: Binned, block: Block, seed: int, split: int) -> np.ndarray:
    """The half (0 or 1) of every trial of a block."""
    session = rates.recording.sessions[block.session]
    draw = generator(seed, "recordings", "halves", session.identifier, split).random(session.n_trials)
    half = np.empty(block.trials.size, dtype=np.int64)
    for k in np.unique(block.condition):
        members = np.flatnonzero(block.condition == k)
        order = members[np.argsort(draw[block.trials[members]])]
        half[order] = np.arange(order.size) % 2
    return half


def _no_half(rates: Binned, block: Block, condition: int) -> DataError:
    session = rates.recording.sessions[block.session]
    return DataError(
        "half",
        rule="leave at least one trial of every condition in each half",
        received=f"a single trial of {rates.conditions.labels[condition]}",
        remedy="Raise min_trials to 2 or more",
        where=session.identifier,
    )


def _by_event(
    rates: Binned, mean: np.ndarray, error: np.ndarray, n_trials: np.ndarray, half: Half
) -> dict[str, Psth]:
    """Cut the joined segments apart and label everything."""
    coords = _coords(rates)
    counts = xr.DataArray(n_trials, dims=("condition", "unit"), coords=coords, name="n_trials")
    step = (
        "mean over trials of a condition"
        if half is None
        else f"mean over half {half} of the trials of a condition"
    )
    found: dict[str, Psth] = {}
    first = 0
    for segment in rates.segments:
        time_ms = segment.time_ms(rates.settings.dt_ms)
        cut = slice(first, first + time_ms.size)
        first += time_ms.size
        rates_here = make_rates(
            mean[:, cut],
            dims=("condition", "time", "unit"),
            time_ms=time_ms,
            event=segment.event,
            rate_unit="spikes/s",
            source=rates.recording.source,
            coords=coords,
        )
        rates_here = done(rates_account(rates_here, rates.settings), step)
        found[segment.event] = Psth(
            mean=rates_here,
            standard_error=rates_here.copy(data=error[:, cut]).rename("standard_error"),
            n_trials=counts,
            conditions=rates.conditions,
            left_out=rates.left_out,
        )
    return found


def _coords(rates: Binned) -> dict[str, tuple[str, np.ndarray]]:
    """Labels of conditions and units."""
    sessions = rates.recording.sessions
    owner = np.repeat(np.arange(len(sessions)), [session.n_units for session in sessions])[rates.units]
    ids = np.concatenate([session.units.index.to_numpy() for session in sessions])[rates.units]
    names = [sessions[s].identifier for s in owner]
    coords: dict[str, tuple[str, np.ndarray]] = {
        "condition": ("condition", np.asarray(rates.conditions.labels)),
        "unit": ("unit", np.asarray([f"{name}/{unit}" for name, unit in zip(names, ids, strict=True)])),
        "session": ("unit", np.asarray(names)),
        "subject": ("unit", np.asarray([sessions[s].subject for s in owner])),
    }
    frame = rates.conditions.frame()
    for name in frame.columns:
        values = frame[name].to_numpy()
        coords[name] = ("condition", values.astype(str) if values.dtype.kind not in "iuf" else values)
    return coords
