"""A network's own rates around events, laid out as a population: where no recording says how it would be heard."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.core.preprocess import concatenate_segments
from dynaprobe.core.random import generator
from dynaprobe.core.rates import bin_width_ms, done, make_rates
from dynaprobe.study.comparison import ComparisonSettings, Population, softened_range
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.render import run_trials

EVENTS = ("target_on", "move_onset")
# Rates without a physical scale are softened by this fraction of the median range.
SOFTENING = 0.1


def softening_of(rates: xr.DataArray, softening_hz: float) -> float:
    """What is added to the range of every unit: a rate, or a share of the median range where there is no scale."""
    if rates.attrs["rate_unit"] == "spikes/s":
        return softening_hz
    spread = rates.max(("condition", "time")) - rates.min(("condition", "time"))
    return SOFTENING * float(spread.median())


def own_population(
    network: TrainedNetwork, settings: ComparisonSettings, *, n_repeats: int, seed: int, name: str
) -> Population:
    """Condition averages of a network's rates in a.u., with its own noise and without spikes.

    Trials are aligned, cut and averaged as those of a recording are; bins are those of the network, and nothing is
    smoothed. Soft normalisation divides by range plus a tenth of the median range.

    Args:
        network: the network, its task on the directions and the delay of the comparison.
        settings: resolved settings; their windows are used.
        n_repeats: trials per condition.
        seed: of noise and halves.
        name: of the halves' stream, and the source of the rates.

    Raises:
        DataError: no movement in a condition, or a window outside the trial.
    """
    trials, rates, _, events_ms = run_trials(network.network, network.task, n_repeats=n_repeats, seed=seed)
    condition = np.asarray(trials.condition)
    moved = np.isfinite(events_ms["move_onset"])
    windows = {"target_on": settings.target_window_ms, "move_onset": settings.move_window_ms}
    values = np.asarray(rates.values)[moved]
    number = condition[moved]
    counts = np.bincount(number, minlength=len(trials.conditions))
    if counts.min() < 2:
        raise DataError(
            "network",
            rule="move in at least two trials of every condition",
            received=f"{int(counts.min())} in condition {int(counts.argmin())}",
            remedy="Compare only networks that have learned the task",
            where=name,
        )
    dt_ms = bin_width_ms(rates)
    parts = []
    for event in EVENTS:
        start_ms, stop_ms = windows[event]  # type: ignore[misc]
        first = np.rint((np.asarray(events_ms[event])[moved] + start_ms) / dt_ms).astype(int)
        n_bins = round((stop_ms - start_ms) / dt_ms)
        if first.min() < 0 or first.max() + n_bins > values.shape[1]:
            raise DataError(
                "windows",
                rule="lie inside the trial of the network",
                received=f"[{start_ms:g}, {stop_ms:g}) ms about {event}",
                remedy="Narrow target_window_ms or move_window_ms of the comparison",
                where=name,
            )
        rows = first[:, None] + np.arange(n_bins)
        parts.append((event, start_ms, values[np.arange(len(values))[:, None], rows]))
    labels = [f"direction_deg={float(row[0]):g}" for row in trials.conditions.rows]

    def averaged(chosen: np.ndarray) -> tuple[xr.DataArray, xr.DataArray]:
        return _average(parts, number, chosen, labels=labels, dt_ms=dt_ms, source=name)

    whole, error = averaged(np.ones(number.size, dtype=bool))
    scale = softened_range(whole, softening_of(whole, settings.softening_hz))
    halves = []
    for split in range(settings.n_splits):
        half = _halves(number, generator(seed, "own_rates", "halves", name, split))
        pair = [averaged(half == k)[0] for k in (0, 1)]
        halves.append(tuple((part / scale).assign_attrs(part.attrs) for part in pair))
    n_trials = xr.DataArray(
        np.repeat(counts[:, None], whole.sizes["unit"], axis=1), dims=("condition", "unit"), name="n_trials"
    )
    left_out = {"trials without movement": int((~moved).sum())} if not moved.all() else {}
    return Population(whole, error, n_trials, halves, left_out)  # type: ignore[arg-type]


def _halves(condition: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half 0 or 1 of every trial, in turn along a random order of the trials of each condition."""
    half = np.empty(condition.size, dtype=int)
    for k in np.unique(condition):
        members = rng.permutation(np.flatnonzero(condition == k))
        half[members] = np.arange(members.size) % 2
    return half


def _average(
    parts: list[tuple[str, float, np.ndarray]],
    condition: np.ndarray,
    chosen: np.ndarray,
    *,
    labels: list[str],
    dt_ms: float,
    source: str,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Means and standard errors over the chosen trials of every condition, both alignments joined."""
    joined = []
    for statistic in (np.mean, _standard_error):
        segments = []
        for event, start_ms, values in parts:
            rows = [statistic(values[chosen & (condition == k)], axis=0) for k in range(len(labels))]
            rates = make_rates(
                np.stack(rows),
                dims=("condition", "time", "unit"),
                time_ms=start_ms + dt_ms * np.arange(values.shape[1]),
                event=event,
                rate_unit="a.u.",
                source=source,
                coords={
                    "condition": labels,
                    "direction_deg": ("condition", [float(label.partition("=")[2]) for label in labels]),
                    "unit": [f"{source}/{k}" for k in range(values.shape[2])],
                },
            )
            segments.append(done(rates, "mean over trials of a condition, the network's own rates"))
        joined.append(concatenate_segments(segments))
    return joined[0], joined[1]


def _standard_error(values: np.ndarray, *, axis: int) -> np.ndarray:
    if values.shape[axis] < 2:
        return np.zeros(values.shape[1:])
    return np.asarray(values.std(axis=axis, ddof=1) / np.sqrt(values.shape[axis]))
