"""Latencies: built-in onsets, chance held at its rate with skewed and sluggish noise, intervals, invariance."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.stats import f_oneway
from trial_samples import DEGREES, block_of

from dynaprobe.analysis.latency import ResponseLatency, _Statistics, response_latency
from dynaprobe.analysis.trial_blocks import TrialBlock
from dynaprobe.core.errors import RatesError, SettingsError

N_TIME, FIRST_MS = 60, -150.0
TIME_MS = FIRST_MS + 10.0 * np.arange(N_TIME)


def trials_of(
    onset_ms: np.ndarray,
    *,
    tuned: bool = True,
    size: float = 4.0,
    noise: float = 1.0,
    n_repeats: int = 8,
    seed: int = 0,
) -> xr.DataArray:
    """Units that step up at their onset, in proportion to 1 + cos where tuned."""
    source = np.random.default_rng(seed)
    condition = np.repeat(np.arange(8), n_repeats)
    gain = 1 + np.cos(np.deg2rad(DEGREES[condition])) if tuned else np.ones(condition.size)
    step = (TIME_MS[:, None] >= np.asarray(onset_ms)) * size
    values = (
        10 + gain[:, None, None] * step + noise * source.standard_normal((condition.size, N_TIME, len(onset_ms)))
    )
    return block_of(values, condition, first_ms=FIRST_MS)


def latencies(*blocks: xr.DataArray, n: int = 99, seed: int = 0, **how: object) -> ResponseLatency:
    options = {"search_ms": (0.0, 450.0), "baseline_ms": (-150.0, 0.0), "n_null": n, "n_bootstrap": 40} | how
    return response_latency(blocks, seed=seed, **options)


def test_steps_are_found_where_they_are() -> None:
    onset = np.array([40.0, 130.0, 300.0])
    data = latencies(trials_of(onset, noise=0.3)).data
    np.testing.assert_array_equal(data["latency_ms"], [onset, onset])
    np.testing.assert_array_equal(data["latency_low_ms"].sel(criterion="response"), onset)
    np.testing.assert_array_equal(data["latency_high_ms"].sel(criterion="selectivity"), onset)
    assert data["n_detected"].values.tolist() == [3, 3]
    np.testing.assert_array_equal(data["median_ms"], 130)
    assert (data["p_value"] == 0.01).all()


def test_a_response_without_selectivity_has_one_latency_only() -> None:
    data = latencies(*(trials_of(np.full(10, 100.0), tuned=False, seed=k) for k in range(3))).data
    np.testing.assert_allclose(data["latency_ms"].sel(criterion="response"), 100, atol=10)
    assert data["n_detected"].values.tolist() == [30, 0]
    assert np.isnan(data["median_ms"].sel(criterion="selectivity"))


def test_chance_gives_latencies_at_the_rate_of_alpha() -> None:
    """Rare spikes smoothed along time: skewed, correlated in time, nothing like a Gaussian."""
    source = np.random.default_rng(0)
    condition = np.repeat(np.arange(8), 6)
    spikes = source.poisson(0.03, (condition.size, N_TIME + 40, 300)) * 100.0
    values = gaussian_filter1d(spikes, 2.0, axis=1)[:, 20:-20]
    data = latencies(block_of(values, condition, first_ms=FIRST_MS), n=99).data
    rate = (data["p_value"] <= 0.05).mean("unit").values
    # SAMPLING: 300 units at 5 % scatter by 1.3 %.
    np.testing.assert_allclose(rate, 0.05, atol=0.045)
    assert (data["n_detected"] <= 3).all()
    assert (np.isfinite(data["latency_ms"]).mean("unit") < 0.1).all()


def test_intervals_hold_the_onset_at_their_rate() -> None:
    """A step that trials leave in doubt: the interval must be wide where the latency is scattered."""
    data = latencies(trials_of(np.full(150, 200.0), size=0.8, tuned=False), n=99).data.sel(criterion="response")
    low, high = data["latency_low_ms"].values, data["latency_high_ms"].values
    known = np.isfinite(low)
    assert known.sum() > 75
    # A threshold is crossed late: the interval is one of the crossing, which lies at or after the step.
    middle = np.nanmedian(data["latency_ms"])
    assert ((low <= middle) & (middle <= high))[known].mean() > 0.85


def test_selectivity_is_the_f_ratio_of_an_analysis_of_variance() -> None:
    block = trials_of(np.array([100.0]), noise=2)
    condition = block["condition"].values
    member = (np.arange(8)[:, None] == condition).astype(float)
    everything = np.ones(N_TIME, dtype=bool)
    statistics = _Statistics(TIME_MS < 0, everything, 1, TIME_MS, (0.05, 0.05, 0.95))
    centred = block.values - block.values.mean()
    found = statistics._runs(member, centred, centred**2)
    for t in (3, 30):
        groups = [block.values[condition == c, t, 0] for c in range(8)]
        assert found[1, t, 0] == pytest.approx(f_oneway(*groups).statistic, rel=1e-9)
        means = np.array([g.mean() for g in groups])
        baseline = np.array([block.values[condition == c, :15, 0].mean() for c in range(8)])
        within = np.mean([g.var(ddof=1) for g in groups])
        assert found[0, t, 0] == pytest.approx((8 * (means - baseline) ** 2).sum() / (8 * within), rel=1e-9)
    assert isinstance(TrialBlock(centred, member).n_trials, np.ndarray)


def test_a_run_must_last() -> None:
    block = trials_of(np.array([900.0]), noise=0.3)
    block.values[:, 25:27] += 6.0 * (1 + np.cos(np.deg2rad(DEGREES[block["condition"].values])))[:, None, None]
    short = latencies(block, least_run_ms=20.0).data
    np.testing.assert_array_equal(short["latency_ms"], 100)
    assert int(latencies(block, least_run_ms=40.0).data["n_detected"].sum()) == 0


def test_scale_order_and_blocks_do_not_matter() -> None:
    block = trials_of(np.array([60.0, 210.0]), noise=1)
    before = latencies(block).data
    after = latencies(block.copy(data=block.values * 1e-3 + 5)).data
    xr.testing.assert_allclose(after, before, rtol=1e-6)
    xr.testing.assert_identical(latencies(block).data, before)
    order = np.random.default_rng(0).permutation(block.sizes["trial"])
    np.testing.assert_allclose(
        latencies(block.isel(trial=order)).data["latency_ms"], before["latency_ms"], atol=10
    )
    two = latencies(block.isel(unit=[1]), block.isel(unit=[0])).data
    np.testing.assert_allclose(two["latency_ms"], before["latency_ms"][:, ::-1], atol=10)


def test_a_silent_unit_has_no_latency() -> None:
    block = trials_of(np.array([60.0, 210.0]))
    block.values[:, :, 0] = 0.0
    result = latencies(block)
    assert np.isnan(result.data["latency_ms"][:, 0]).all()
    assert np.isnan(result.data["p_value"][:, 0]).all()
    assert float(result.data["fraction"][0]) == 1.0
    assert result.status == "1 x unit whose trials are all alike, without latency"
    assert ResponseLatency.from_dataset(result.to_dataset()).settings["least_run_ms"] == 40.0


def test_bad_input_is_named() -> None:
    block = trials_of(np.array([60.0]))
    with pytest.raises(
        RatesError, match=r"search_ms must lie inside the trials, which cover \[-150, 450\) ms, but"
    ):
        latencies(block, search_ms=(0.0, 700.0))
    with pytest.raises(RatesError, match="search_ms must be at least as long as least_run_ms, 40 ms"):
        latencies(block, search_ms=(0.0, 30.0))
    with pytest.raises(SettingsError, match="n_null must be at least 19, but got 5"):
        latencies(block, n=5)
    with pytest.raises(SettingsError, match="confidence must lie between 0 and 1, but got 95"):
        latencies(block, levels=(0.05, 0.05, 95))
