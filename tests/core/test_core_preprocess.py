from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import (
    concatenate_segments,
    smooth,
    soft_normalise,
    subtract_condition_mean,
    window,
)
from dynaprobe.core.random import generator
from dynaprobe.core.rates import make_rates, steps_done

ROUND_OFF = 1e-12
# The kernel ends at four standard deviations, where a Gaussian has lost 6e-5 of its area.
KERNEL_END = 2e-4


def make(
    values: np.ndarray, *, dims: str = "condition time unit", start_ms: float = 0.0, event: str = "go"
) -> xr.DataArray:
    names = dims.split()
    n_times = values.shape[names.index("time")]
    return make_rates(
        values,
        dims=names,
        time_ms=start_ms + 10.0 * np.arange(n_times),
        event=event,
        rate_unit="spikes/s",
        source="test",
    )


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return generator(seed, "preprocess", *shape).normal(size=shape)


class TestSmooth:
    def test_an_impulse_becomes_a_gaussian_of_unit_area(self) -> None:
        impulse = np.zeros((1, 201, 1))
        impulse[0, 100] = 1.0
        rates = smooth(make(impulse), sd_ms=40.0)
        time_ms = rates["time"].values - 1000.0
        gaussian = np.exp(-0.5 * (time_ms / 40.0) ** 2) / (40.0 * np.sqrt(2 * np.pi)) * 10.0
        np.testing.assert_allclose(rates.values[0, :, 0], gaussian, atol=KERNEL_END)
        np.testing.assert_allclose(rates.sum(), 1.0, rtol=ROUND_OFF)

    def test_a_constant_stays_up_to_the_very_ends(self) -> None:
        np.testing.assert_allclose(smooth(make(np.full((2, 30, 3), 7.0)), sd_ms=50.0), 7.0, rtol=ROUND_OFF)

    def test_the_same_as_adding_up_by_hand(self) -> None:
        values, sd_bins = noise(2, 40, 3), 2.5
        reach = int(4 * sd_bins + 0.5)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd_bins) ** 2)
        kernel /= kernel.sum()
        expected = np.zeros_like(values)
        for t in range(40):
            for k, weight in zip(range(-reach, reach + 1), kernel, strict=True):
                expected[:, t] += weight * values[:, min(max(t + k, 0), 39)]
        np.testing.assert_allclose(smooth(make(values), sd_ms=25.0), expected, atol=ROUND_OFF)

    def test_nothing_leaks_from_one_segment_into_the_next(self) -> None:
        parts = [make(np.full((1, 20, 1), level), event=e) for level, e in ((0.0, "a"), (1.0, "b"))]
        joined = smooth(concatenate_segments(parts), sd_ms=50.0)
        np.testing.assert_allclose(joined.values[0, :, 0], [0.0] * 20 + [1.0] * 20, atol=ROUND_OFF)

    def test_integer_counts_become_double_precision(self) -> None:
        assert smooth(make(np.ones((1, 20, 1), dtype=np.float32)), sd_ms=20.0).dtype == np.float64

    def test_the_account_and_no_kernel_at_all(self) -> None:
        rates = make(noise(1, 20, 2))
        assert steps_done(smooth(rates, sd_ms=20)) == ("Gaussian kernel, sd 20 ms",)
        assert smooth(rates, sd_ms=0) is rates

    def test_a_negative_width(self) -> None:
        with pytest.raises(RatesError, match=r"^sd_ms must be positive, but got -3\. Give the standard deviation"):
            smooth(make(noise(1, 20, 2)), sd_ms=-3)


class TestWindow:
    def test_begins_inside_and_ends_outside(self) -> None:
        rates = window(make(noise(1, 20, 2), start_ms=-100), start_ms=-50, stop_ms=30)
        assert rates["time"].values.tolist() == list(range(-50, 30, 10))
        assert steps_done(rates) == ("window [-50, 30) ms around go",)

    @given(st.lists(st.integers(0, 20), min_size=3, max_size=3, unique=True).map(sorted))
    def test_adjacent_windows_make_the_whole(self, edges: list[int]) -> None:
        rates = make(noise(1, 20, 2))
        a, b, c = (10.0 * edge for edge in edges)
        parts = [window(rates, start_ms=x, stop_ms=y) for x, y in ((a, b), (b, c))]
        xr.testing.assert_equal(xr.concat(parts, "time"), window(rates, start_ms=a, stop_ms=c))

    @pytest.mark.parametrize(("start_ms", "stop_ms"), [(-20, 50), (100, 300), (50, 50), (500, 600)])
    def test_a_window_that_the_rates_do_not_cover(self, start_ms: float, stop_ms: float) -> None:
        with pytest.raises(RatesError) as caught:
            window(make(noise(1, 20, 2)), start_ms=start_ms, stop_ms=stop_ms)
        assert str(caught.value) == (
            f"window must lie inside the rates, which cover [0, 200) ms, but got [{start_ms}, {stop_ms}) ms. "
            "Choose a window inside, or align the rates with a wider margin."
        )


class TestConcatenateSegments:
    def test_values_segments_and_times_of_each_part_stay(self) -> None:
        parts = [make(noise(2, 4, 3)), make(noise(2, 6, 3), event="move", start_ms=-30)]
        joined = concatenate_segments(parts)
        assert joined["segment"].values.tolist() == ["go"] * 4 + ["move"] * 6
        for part, event in zip(parts, ("go", "move"), strict=True):
            chosen = joined.isel(time=joined["segment"].values == event)
            np.testing.assert_array_equal(chosen, part)
            np.testing.assert_array_equal(chosen["time"], part["time"])
        assert joined["time"].attrs == {"units": "ms", "dt_ms": 10.0}
        assert parts[0]["time"].attrs["event"] == "go"  # the parts are left as they were

    def test_the_account_says_what_happened_to_all_and_to_each(self) -> None:
        whole = smooth(make(noise(2, 40, 3)), sd_ms=20)
        late = smooth(make(noise(2, 40, 3), event="move"), sd_ms=20)
        joined = concatenate_segments(
            [window(whole, start_ms=0, stop_ms=50), window(late, start_ms=10, stop_ms=90)]
        )
        assert steps_done(joined) == (
            "Gaussian kernel, sd 20 ms",
            "go: window [0, 50) ms around go",
            "move: window [10, 90) ms around move",
            "2 alignments joined along time",
        )

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (make(noise(2, 4, 3)), "parts must be aligned to different events, but got ['go', 'go']. Join"),
            (
                make(noise(2, 4, 2), event="b"),
                "parts must share units and conditions, but got [(('condition', 2), (",
            ),
            (
                make(noise(2, 4, 3), event="b").assign_coords(unit=["a", "c", "b"]),
                "parts must share the labels of unit in one order, but got labels that differ. Select the same",
            ),
            (
                make_rates(
                    noise(2, 4, 3),
                    dims=("condition", "time", "unit"),
                    time_ms=np.arange(4) * 5.0,
                    event="b",
                    rate_unit="spikes/s",
                    source="test",
                ),
                "parts must share one bin width, but got [5.0, 10.0]. Bin all alignments alike.",
            ),
        ],
        ids=["events", "sizes", "labels", "bins"],
    )
    def test_parts_that_do_not_fit(self, other: xr.DataArray, message: str) -> None:
        labels = {"unit": ["a", "b", "c"]} if "unit" in other.coords else {}
        with pytest.raises(RatesError) as caught:
            concatenate_segments([make(noise(2, 4, 3)).assign_coords(labels), other])
        assert str(caught.value).startswith(message)


class TestSubtractConditionMean:
    def test_the_mean_is_gone_and_differences_stay(self) -> None:
        rates = make(noise(4, 10, 3))
        left = subtract_condition_mean(rates)
        np.testing.assert_allclose(left.mean("condition"), 0, atol=ROUND_OFF)
        np.testing.assert_allclose(left[0] - left[3], rates[0] - rates[3], atol=ROUND_OFF)
        assert steps_done(left) == ("cross-condition mean removed",)
        assert left.attrs["rate_unit"] == "spikes/s"

    def test_a_signal_all_conditions_share_leaves_nothing(self) -> None:
        shared = np.broadcast_to(noise(1, 10, 3), (4, 10, 3))
        np.testing.assert_allclose(subtract_condition_mean(make(shared)), 0, atol=ROUND_OFF)

    def test_members_are_taken_one_by_one(self) -> None:
        values = noise(2, 4, 10, 3)
        both = subtract_condition_mean(make(values, dims="member condition time unit"))
        np.testing.assert_allclose(both[1], subtract_condition_mean(make(values[1])), atol=ROUND_OFF)

    def test_without_conditions(self) -> None:
        with pytest.raises(RatesError, match=r"^rates must have the dim condition, but got \('time', 'unit'\)\."):
            subtract_condition_mean(make(noise(10, 3), dims="time unit"))


class TestSoftNormalise:
    def test_range_plus_constant(self) -> None:
        values = np.zeros((2, 3, 2))
        values[1, 2] = [15.0, 35.0]
        rates = soft_normalise(make(values), constant=5.0)
        np.testing.assert_allclose(rates.values[1, 2], [15 / 20, 35 / 40], rtol=ROUND_OFF)
        assert steps_done(rates) == ("soft normalisation, range + 5 spikes/s",)

    def test_the_fraction_is_of_the_median_range(self) -> None:
        values = np.zeros((2, 3, 3))
        values[1, 2] = [10.0, 20.0, 400.0]
        rates = soft_normalise(make(values), fraction=0.25)
        np.testing.assert_allclose(rates.values[1, 2], [10 / 15, 20 / 25, 400 / 405], rtol=ROUND_OFF)

    def test_the_fraction_makes_the_scale_of_the_rates_vanish(self) -> None:
        values = noise(4, 10, 3)
        np.testing.assert_allclose(
            soft_normalise(make(1000 * values)), soft_normalise(make(values)), rtol=100 * ROUND_OFF
        )

    def test_no_range_exceeds_one_and_none_is_inflated(self) -> None:
        rates = soft_normalise(make(noise(4, 10, 30)), constant=0.0)
        np.testing.assert_allclose(rates.max(("condition", "time")) - rates.min(("condition", "time")), 1)

    def test_a_unit_that_never_changes(self) -> None:
        np.testing.assert_array_equal(soft_normalise(make(np.full((2, 3, 1), 4.0)), constant=0.0), 4.0)

    def test_a_negative_constant(self) -> None:
        with pytest.raises(
            RatesError, match=r"^constant must be 0 or more, but got -1\.0\. Give the softening constant"
        ):
            soft_normalise(make(noise(4, 10, 3)), constant=-1.0)
