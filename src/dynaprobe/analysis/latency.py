"""When single units begin to respond, and when they begin to tell conditions apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpy.lib.stride_tricks import sliding_window_view

from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.multiple_tests import benjamini_hochberg, check_fraction, wilson_interval
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.trial_blocks import TrialBlock, condition_sums, pieces, shuffled_members, trial_table
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.timeline import in_interval, n_bins

CRITERIA = ("response", "selectivity")
RESPONSE, SELECTIVITY, BOTH = slice(0, 1), slice(1, 2), slice(0, 2)
# Bins in which hardly any trial has a spike: their variance is raised to this share of the mean over time.
LEAST_VARIANCE = 0.1
Window = tuple[float, float]


@dataclass(frozen=True)
class ResponseLatency(Result):
    """Latency of every unit after the event at 0 ms, by two criteria.

    Variables of `data` (criterion: response, selectivity):
        latency_ms (criterion, unit): start of the first run of bins above threshold; NaN where there is none.
        latency_low_ms, latency_high_ms (criterion, unit): percentile interval over trials drawn with replacement;
            NaN where fewer than half of the draws have a latency.
        threshold (criterion, unit): of the statistic F.
        p_value (criterion, unit): of the strongest run in the search window; NaN for units without variance.
        q_value (criterion, unit): adjusted for the units (Benjamini-Hochberg).
        n_detected, fraction, fraction_low, fraction_high (criterion): units with q at or below the false discovery
            rate, and their fraction with its Wilson interval.
        median_ms, median_low_ms, median_high_ms (criterion): median latency of these units that have one, with
            its percentile interval over units drawn with replacement.
    """


@one_thread
def response_latency(
    trials: Sequence[xr.DataArray],
    *,
    search_ms: Window,
    baseline_ms: Window,
    seed: int,
    least_run_ms: float = 40.0,
    n_null: int = 200,
    n_bootstrap: int = 200,
    levels: tuple[float, float, float] = (0.05, 0.05, 0.95),
) -> ResponseLatency:
    """The first time at which a statistic stays above chance for `least_run_ms`.

    With m_c(t) the mean of condition c over its n_c trials, m(t) that over all trials, b_c the mean of m_c over
    the baseline, v(t) the variance over trials within conditions (raised to a tenth of its mean over time), C
    conditions:

        response:     F(t) = sum_c n_c (m_c(t) - b_c)^2 / (C v(t))
        selectivity:  F(t) = sum_c n_c (m_c(t) - m(t))^2 / ((C - 1) v(t))

    A run at t is the smallest F in ``[t, t + least_run_ms)``. The latency is the first t in the search window
    whose run exceeds a threshold, the 1 - alpha quantile over nulls of the largest run in the window: a unit
    without response has a latency with probability alpha, however many bins are searched. Nulls: for the response
    every trial is shifted by a random time, round the end of the window (a stationary unit does not notice); for
    selectivity conditions are dealt anew to trials. Both keep the correlation of noise in time.

    More trials find earlier latencies, as does a wide kernel, by up to twice its standard deviation: compare
    populations with like numbers of trials and the same narrow kernel. In the interval, means of resampled trials
    carry their noise twice; the 1 that this adds to F is taken off.

    Args:
        trials: single trials in blocks (see `dynaprobe.analysis.trial_blocks.trial_table`), aligned to the event.
        search_ms: where latencies are looked for.
        baseline_ms: what the response is measured from.
        seed: names the streams.
        least_run_ms: how long F must stay above the threshold.
        n_null: draws of each null.
        n_bootstrap: draws of trials.
        levels: alpha of the threshold, false discovery rate, and confidence of intervals.

    Raises:
        RatesError: when trials do not cover the windows.
    """
    check_at_least("n_null", n_null, 19)
    check_at_least("n_bootstrap", n_bootstrap, 1)
    for name, level in zip(("alpha", "false_discovery", "confidence"), levels, strict=True):
        check_fraction(name, level)
    table = trial_table(trials)
    dt_ms = float(trials[0]["time"].attrs["dt_ms"])
    baseline, search = (
        _bins(table.time_ms, span, dt_ms, name)
        for span, name in ((baseline_ms, "baseline_ms"), (search_ms, "search_ms"))
    )
    run = max(1, n_bins(least_run_ms, dt_ms))
    if search.sum() < run:
        raise RatesError(
            "search_ms",
            rule=f"be at least as long as least_run_ms, {least_run_ms:g} ms",
            received=list(search_ms),
            remedy="Widen the window or shorten the run",
        )
    statistics = _Statistics(baseline, search, run, table.time_ms[search], levels)
    source = generator(seed, "latency")
    parts = [statistics.of_block(block, n_null, n_bootstrap, source) for block in table.blocks]
    tables = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    settings = {
        "seed": seed,
        "search_ms": list(search_ms),
        "baseline_ms": list(baseline_ms),
        "least_run_ms": least_run_ms,
        "n_null": n_null,
        "n_bootstrap": n_bootstrap,
        **dict(zip(("alpha", "false_discovery", "confidence"), levels, strict=True)),
        "event": str(trials[0]["time"].attrs.get("event", "")),
    }
    return _summarise(tables, table.coords, settings, source)


def _bins(time_ms: np.ndarray, span_ms: Window, dt_ms: float, name: str) -> Bool[np.ndarray, " time"]:
    chosen: np.ndarray = in_interval(time_ms, *span_ms, dt_ms)
    if not chosen.any() or time_ms[0] > span_ms[0] + dt_ms / 2 or time_ms[-1] + dt_ms < span_ms[1] - dt_ms / 2:
        raise RatesError(
            name,
            rule=f"lie inside the trials, which cover [{time_ms[0]:g}, {time_ms[-1] + dt_ms:g}) ms",
            received=list(span_ms),
            remedy="Choose a window inside, or align the trials with a wider margin",
        )
    return chosen


@dataclass(frozen=True)
class _Statistics:
    """Statistics of one block of units under given windows."""

    baseline: np.ndarray
    search: np.ndarray
    run: int
    search_ms: np.ndarray
    levels: tuple[float, float, float]

    def of_block(
        self, block: TrialBlock, n_null: int, n_bootstrap: int, source: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Latencies, intervals, thresholds and p-values, each of shape ``(criterion, unit)``."""
        values = block.values - block.values.mean(axis=(0, 1))
        squares = values**2
        observed = self._runs(block.member, values, squares)
        null = np.concatenate(self._null_response(block, values, n_null, source))
        dealt = np.concatenate(
            [
                self._runs(members, values, squares, only=SELECTIVITY)[0].max(axis=-2)
                for members in shuffled_members(block, n_null, source)
            ]
        )
        nulls = np.stack([null, dealt])
        threshold = np.quantile(nulls, 1 - self.levels[0], axis=1)
        strongest = observed.max(axis=1)
        varies = squares.sum(axis=(0, 1)) > 0
        p_value = np.where(varies, ((nulls >= strongest[:, None]).sum(axis=1) + 1) / (n_null + 1), np.nan)
        latency = self._first(observed, threshold)
        low, high = self._interval(block, values, threshold, n_bootstrap, source)
        return {
            "latency_ms": latency,
            "latency_low_ms": np.where(np.isfinite(latency), low, np.nan),
            "latency_high_ms": np.where(np.isfinite(latency), high, np.nan),
            "threshold": threshold,
            "p_value": p_value,
        }

    def _runs(
        self,
        member: Float[np.ndarray, "*draw condition trial"],
        values: Float[np.ndarray, "trial time unit"],
        squares: Float[np.ndarray, "trial time unit"],
        extra: float = 0.0,
        only: slice = BOTH,
    ) -> Float[np.ndarray, "criterion *draw start unit"]:
        """Smallest F in every run of the search window, of both criteria or of one."""
        n = member.sum(axis=-1)[..., None, None]
        mean = (condition_sums(member, values)) / n
        # Weighted trials of a draw have a total of squares of their own.
        total = condition_sums(member.sum(axis=-2, keepdims=True), squares)[..., 0, :, :]
        return self._f(mean, total, n, extra, only)

    def _f(self, mean: np.ndarray, total: np.ndarray, n: np.ndarray, extra: float, only: slice) -> np.ndarray:
        n_conditions, n_trials = mean.shape[-3], n.sum(axis=-3)
        within = (total - (n * mean**2).sum(axis=-3)) / (n_trials - n_conditions)
        floor = LEAST_VARIANCE * within.mean(axis=-2, keepdims=True)
        scale = np.maximum(within, floor)
        scale = np.where(scale > 0, scale, np.inf)
        base = mean[..., self.baseline, :].mean(axis=-2, keepdims=True)
        mean, scale = mean[..., self.search, :], scale[..., self.search, :]

        def response() -> np.ndarray:
            values: np.ndarray = (n * (mean - base) ** 2).sum(axis=-3) / (n_conditions * scale)
            return values

        def selectivity() -> np.ndarray:
            from_mean = mean - (n * mean).sum(axis=-3, keepdims=True) / n_trials[..., None, :, :]
            values: np.ndarray = (n * from_mean**2).sum(axis=-3) / ((n_conditions - 1) * scale)
            return values

        criteria = [response, selectivity][only]
        f = np.stack([criterion() for criterion in criteria]) - extra
        n_starts = f.shape[-2] - self.run + 1
        runs = f[..., :n_starts, :]
        # The smallest of a run, one later bin after another: along the last axis it would take far longer.
        for later in range(1, self.run):
            runs = np.minimum(runs, f[..., later : later + n_starts, :])
        return runs

    def _null_response(
        self, block: TrialBlock, values: np.ndarray, n_null: int, source: np.random.Generator
    ) -> list[np.ndarray]:
        """Largest run of the response after every trial was shifted by a random time, in pieces of draws."""
        n_trials, n_time, n_units = values.shape
        n = block.n_trials[:, None, None]
        # Two rounds of time, so that every shift is a contiguous stretch.
        rounds = np.tile(np.ascontiguousarray(values.transpose(0, 2, 1)), (1, 1, 2))
        stretches = sliding_window_view(rounds, n_time, axis=-1)
        largest = []
        for n_here in pieces(n_null, values.size):
            shift = source.integers(n_time, size=(n_here, n_trials))
            shifted = stretches[np.arange(n_trials), :, shift].reshape(n_here, n_trials, -1)
            sums = (block.member @ shifted).reshape(n_here, -1, n_units, n_time)
            total = np.einsum("dkx,dkx->dx", shifted, shifted).reshape(n_here, n_units, n_time)
            f = self._f(sums.swapaxes(-1, -2) / n, total.swapaxes(-1, -2), n, 0.0, RESPONSE)
            largest.append(f[0].max(axis=-2))
        return largest

    def _first(
        self, runs: Float[np.ndarray, "criterion *draw start unit"], threshold: Float[np.ndarray, "criterion unit"]
    ) -> Float[np.ndarray, "criterion *draw unit"]:
        """Start of the first run above the threshold in ms, NaN without one."""
        bar = threshold.reshape(2, *[1] * (runs.ndim - 2), threshold.shape[1])
        above = runs > bar
        first: np.ndarray = np.where(above.any(axis=-2), self.search_ms[above.argmax(axis=-2)], np.nan)
        return first

    def _interval(
        self,
        block: TrialBlock,
        values: np.ndarray,
        threshold: np.ndarray,
        n_bootstrap: int,
        source: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        squares = values**2
        found = []
        n = block.n_trials.astype(int)
        for n_here in pieces(n_bootstrap, n.size * values[0].size):
            weights = np.zeros((n_here, n.size, values.shape[0]))
            for c, count in enumerate(n):
                drawn = source.multinomial(count, np.full(count, 1 / count), size=n_here)
                weights[:, c, block.member[c] > 0] = drawn
            found.append(self._first(self._runs(weights, values, squares, extra=1.0), threshold))
        draws = np.concatenate(found, axis=1)
        known = np.isfinite(draws).mean(axis=1) >= 0.5
        reach = [(1 - self.levels[2]) / 2, (1 + self.levels[2]) / 2]
        spans = np.full((2, *known.shape), np.nan)
        for k in range(2):
            if known[k].any():
                spans[:, k, known[k]] = np.nanquantile(draws[k][:, known[k]], reach, axis=0)
        return spans[0], spans[1]


def _summarise(
    tables: dict[str, np.ndarray],
    coords: dict[str, Any],
    settings: dict[str, Any],
    source: np.random.Generator,
) -> ResponseLatency:
    """Adjusted p-values, fractions and medians over units."""
    q_value = np.stack([benjamini_hochberg(p) for p in tables["p_value"]])
    detected = q_value <= settings["false_discovery"]
    confidence = float(settings["confidence"])
    n_tested = np.isfinite(q_value).sum(axis=1)
    spans = np.array(
        [wilson_interval(int(d.sum()), int(n), confidence) for d, n in zip(detected, n_tested, strict=True)]
    )
    medians = np.full((len(CRITERIA), 3), np.nan)
    for k in range(len(CRITERIA)):
        known = tables["latency_ms"][k][detected[k] & np.isfinite(tables["latency_ms"][k])]
        if known.size:
            draws = np.median(known[source.integers(known.size, size=(1000, known.size))], axis=1)
            medians[k] = np.median(known), *np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    data = xr.Dataset(
        {
            **{name: (("criterion", "unit"), table) for name, table in tables.items()},
            "q_value": (("criterion", "unit"), q_value),
            "n_detected": ("criterion", detected.sum(axis=1)),
            **{
                name: ("criterion", spans[:, k])
                for k, name in enumerate(("fraction", "fraction_low", "fraction_high"))
            },
            **{
                name: ("criterion", medians[:, k])
                for k, name in enumerate(("median_ms", "median_low_ms", "median_high_ms"))
            },
        },
        coords={"criterion": list(CRITERIA), **coords},
    )
    still = int((~np.isfinite(tables["p_value"])).any(axis=0).sum())
    failures = {"unit whose trials are all alike, without latency": still} if still else {}
    return ResponseLatency(data, settings, failures)
