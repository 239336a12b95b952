"""Continuous series of a session (hand, cursor, muscles) and their values in bins beside the rates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import i0

from dynaprobe.core.errors import DataError

# Kaiser window of half-length 6 bins and A dB: the transition band is (A - 8) / (2.285 * 2 pi * 12) cycles/bin
# wide (Oppenheim & Schafer, Discrete-Time Signal Processing, 7.5.3) and ends at the Nyquist frequency of the bins.
# The formula is good to a dB or two, hence 52 for the 50 that are promised.
HALF_LENGTH_BINS, ATTENUATION_DB = 6.0, 52.0
BETA = 0.5842 * (ATTENUATION_DB - 21) ** 0.4 + 0.07886 * (ATTENUATION_DB - 21)
CUTOFF = 0.5 - (ATTENUATION_DB - 8) / (2.285 * 2 * np.pi * 2 * HALF_LENGTH_BINS) / 2
# A bin counts as covered where samples carry this share of the kernel's weight.
COVERED = 0.75
# Two samples further apart than this many sampling intervals have a gap between them.
GAP_SAMPLES = 1.5
# Centres times taps that are worked on at once.
CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class ContinuousSeries:
    """Samples of some channels over a session.

    Attributes:
        times_s: time of every sample on the session clock, increasing, shape ``(sample,)``.
        values: the samples in `unit`, NaN where one is missing, shape ``(sample, channel)``.
        unit: unit of the values.
        channels: name of every channel.
        description: as in the file.

    Raises:
        DataError: when the parts do not fit together.
    """

    times_s: np.ndarray
    values: np.ndarray
    unit: str
    channels: tuple[str, ...]
    description: str = ""

    def __post_init__(self) -> None:
        shape = (self.times_s.size, len(self.channels))
        good = self.values.shape == shape and np.isfinite(self.times_s).all() and (np.diff(self.times_s) > 0).all()
        if not good or not self.times_s.size:
            raise DataError(
                "the series",
                rule="have one value per time and channel, at increasing finite times",
                received=f"{self.times_s.size} times, {len(self.channels)} channels, values {self.values.shape}",
                remedy="Check its timestamps",
            )

    @property
    def interval_s(self) -> float:
        """Median time from one sample to the next."""
        return float(np.median(np.diff(self.times_s))) if self.times_s.size > 1 else float("inf")

    def between(self, start_s: float, stop_s: float) -> ContinuousSeries | None:
        """The samples in ``[start_s, stop_s)``, or None where there is none."""
        rows = slice(*np.searchsorted(self.times_s, [start_s, stop_s]))
        return (
            replace(self, times_s=self.times_s[rows], values=self.values[rows])
            if self.times_s[rows].size
            else None
        )


def resampled(series: ContinuousSeries, centres_s: np.ndarray, width_s: float) -> np.ndarray:
    """Values of a series in bins, low-passed so that nothing above the bins' Nyquist frequency folds back.

        y(t) = sum_k h(t - t_k) d_k x_k / sum_k h(t - t_k) d_k,   h(u) = 2 c sinc(2 c u / w) kaiser(u / (6 w)) / w

    with x_k the sample at t_k, d_k the time it stands for (half of what lies between its neighbours), w the width
    of a bin and c the cut-off. The gain is flat to 1 % up to half the Nyquist frequency of the bins and below
    -50 dB from it on. Where bins are not wider than the sampling interval nothing can fold back, and y is
    interpolated linearly. A bin is NaN where missing samples carry more than a quarter of the kernel's weight.

    Args:
        series: the samples.
        centres_s: t, centre of every bin on the session clock, any shape.
        width_s: w.

    Returns:
        Shape ``(*centres_s.shape, channel)``.
    """
    centres = np.asarray(centres_s, dtype=np.float64)
    seen = np.isfinite(series.values).all(axis=1)
    times_s, values = series.times_s[seen], np.asarray(series.values[seen], dtype=np.float64)
    found = np.full((centres.size, len(series.channels)), np.nan)
    if times_s.size:
        # A hair of slack: intervals of equal rates differ by round-off.
        narrow = width_s <= series.interval_s * (1 + 1e-6)
        evaluate = _interpolated if narrow else _filtered
        usable = np.flatnonzero(np.isfinite(centres.ravel()))
        found[usable] = evaluate(times_s, values, centres.ravel()[usable], width_s, series.interval_s)
    return found.reshape(*centres.shape, len(series.channels))


def _filtered(
    times_s: np.ndarray, values: np.ndarray, centres_s: np.ndarray, width_s: float, interval_s: float
) -> np.ndarray:
    # A hair of slack, so that round-off does not take a sample at one end of the kernel and not at the other.
    reach_bins = HALF_LENGTH_BINS + 1e-6
    half_s = reach_bins * width_s
    first = np.searchsorted(times_s, centres_s - half_s)
    n_taps = int((np.searchsorted(times_s, centres_s + half_s) - first).max(initial=1)) or 1
    # A sample stands for no more than its own interval: next to a gap it must not stand for the gap.
    between = np.minimum(np.diff(times_s), GAP_SAMPLES * interval_s)
    edge = interval_s if np.isfinite(interval_s) else width_s
    stands_for = (np.concatenate([[edge], between]) + np.concatenate([between, [edge]])) / 2
    found = np.full((centres_s.size, values.shape[1]), np.nan)
    for begin in range(0, centres_s.size, max(1, CHUNK // n_taps)):
        rows = slice(begin, begin + max(1, CHUNK // n_taps))
        taps = first[rows, None] + np.arange(n_taps)
        sample = np.minimum(taps, times_s.size - 1)
        since = (times_s[sample] - centres_s[rows, None]) / width_s
        inside = (taps < times_s.size) & (np.abs(since) <= reach_bins)
        weight = np.where(inside, _kernel(since), 0.0) * stands_for[sample] / width_s
        total = weight.sum(axis=1)
        covered = np.abs(total - 1) <= 1 - COVERED
        mean = np.einsum("bk,bkc->bc", weight, values[sample])[covered] / total[covered, None]
        found[rows][covered] = mean
    return found


def _exact_kernel(bins: np.ndarray) -> np.ndarray:
    inside = np.clip(1 - (bins / HALF_LENGTH_BINS) ** 2, 0, None)
    return np.asarray(2 * CUTOFF * np.sinc(2 * CUTOFF * bins) * i0(BETA * np.sqrt(inside)) / i0(BETA))


# Looked up, as Bessel functions of every tap would take most of the time. The error of linear interpolation is at
# most h'' / (8 n^2), with h'' below 2 c (2 pi c)^2 = 4: five billionths.
ENTRIES_PER_BIN = 10_000
TABLE = _exact_kernel(np.arange(int(HALF_LENGTH_BINS * ENTRIES_PER_BIN) + 2) / ENTRIES_PER_BIN)


def _kernel(bins: np.ndarray) -> np.ndarray:
    place = np.abs(bins) * ENTRIES_PER_BIN
    entry = np.minimum(place, TABLE.size - 2).astype(np.int32)
    low = TABLE[entry]
    return np.asarray(low + (TABLE[entry + 1] - low) * (place - entry))


def _interpolated(
    times_s: np.ndarray, values: np.ndarray, centres_s: np.ndarray, width_s: float, interval_s: float
) -> np.ndarray:
    found = np.stack([np.interp(centres_s, times_s, column) for column in values.T], axis=-1)
    after = np.clip(np.searchsorted(times_s, centres_s), 0, times_s.size - 1)
    before = np.maximum(after - 1, 0)
    gap = times_s[after] - times_s[before] > GAP_SAMPLES * interval_s
    nearest = np.minimum(np.abs(times_s[after] - centres_s), np.abs(centres_s - times_s[before]))
    # Inside a gap, or beyond an end, a sample stands for half an interval around it.
    reach = interval_s / 2 if np.isfinite(interval_s) else width_s / 2
    outside = (centres_s < times_s[0]) | (centres_s > times_s[-1]) | gap
    found[outside & (nearest > reach * (1 + 1e-6))] = np.nan
    return np.asarray(found)
