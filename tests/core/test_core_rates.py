from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import bin_width_ms, check_rates, done, make_rates, steps_done

TIME_MS = np.arange(-2, 3) * 10.0


def make(**changes: object) -> xr.DataArray:
    parts: dict[str, object] = {
        "values": np.arange(30.0).reshape(2, 5, 3),
        "dims": ("condition", "time", "unit"),
        "time_ms": TIME_MS,
        "event": "go_cue",
        "rate_unit": "spikes/s",
        "source": "joe",
    }
    return make_rates(**{**parts, **changes})  # type: ignore[arg-type]


def said(rates: object, **wishes: object) -> str:
    with pytest.raises(RatesError) as caught:
        check_rates(rates, **wishes)  # type: ignore[arg-type]
    return str(caught.value)


def test_rates_carry_their_unit_source_event_and_an_empty_account() -> None:
    rates = make(coords={"unit": ["a", "b", "c"]})
    assert rates.attrs == {"rate_unit": "spikes/s", "source": "joe", "preprocessing": ""}
    assert rates["time"].attrs == {"units": "ms", "event": "go_cue", "dt_ms": 10.0}
    assert rates.sel(unit="b", time=10.0).values.tolist() == [10.0, 25.0]
    assert bin_width_ms(rates) == 10.0
    assert steps_done(rates) == ()
    assert check_rates(rates, dims=("condition", "time", "unit")) is rates


def test_all_dims_together_and_any_few_of_them() -> None:
    make(values=np.zeros((1, 2, 1, 5, 3)), dims=("member", "condition", "trial", "time", "unit"))
    make(values=np.zeros((5, 3)), dims=("time", "unit"))
    check_rates(make().mean("time", keep_attrs=True))


def test_the_account_grows_line_by_line_and_the_original_stays() -> None:
    rates = make()
    twice = done(done(rates, "smoothed"), "averaged")
    assert steps_done(twice) == ("smoothed", "averaged")
    assert steps_done(rates) == ()


def test_something_else() -> None:
    assert said(np.zeros(3), name="recording") == (
        "recording must be an xarray.DataArray, but got ndarray. Build it with dynaprobe.core.rates.make_rates."
    )


def test_dims_out_of_order_or_unknown() -> None:
    assert said(make().transpose("unit", "time", "condition")) == (
        "rates must have dims from ('member', 'condition', 'trial', 'time', 'unit') in that order, "
        "but got ('unit', 'time', 'condition'). Rename or average the other dims and use .transpose to order them."
    )
    assert "but got ('condition', 'time', 'neuron')" in said(make().rename(unit="neuron"))


def test_dims_other_than_an_analysis_needs() -> None:
    message = said(make(), dims=("member", "condition", "time", "unit"))
    assert message.startswith(
        "rates must have the dims ('member', 'condition', 'time', 'unit'), but got ('condition',"
    )


def test_nothing_left() -> None:
    assert said(make().isel(unit=[])) == (
        "rates must hold at least one value along every dim, but got {'condition': 2, 'time': 5, 'unit': 0}. "
        "Check the selection that came before: a window or condition may be empty."
    )


def test_time_in_seconds_or_without_coordinate() -> None:
    rates = make()
    rates["time"].attrs["units"] = "s"
    expected = (
        "rates.time must have a coordinate in ms (attrs['units'] == 'ms'), but got s. Convert to milliseconds"
    )
    assert said(rates).startswith(expected)
    assert "but got no coordinate." in said(make().drop_vars("time"))


def test_an_event_at_zero() -> None:
    rates = make()
    del rates["time"].attrs["event"]
    assert said(rates).startswith(
        "rates.time must name the event at 0 ms in attrs['event'], but got {'units': 'ms',"
    )
    assert said(rates).endswith("Set it, e.g. 'go_cue'.")


@pytest.mark.parametrize(
    ("time_ms", "steps"),
    [([0, 10, 20, 30, 50], "10 to 20"), ([0, 10, 10, 20, 30], "0 to 10"), ([4, 3, 2, 1, 0], "-1 to -1")],
)
def test_uneven_time(time_ms: list[float], steps: str) -> None:
    with pytest.raises(RatesError) as caught:
        make(time_ms=time_ms)
    assert str(caught.value) == (
        f"rates.time must increase in equal steps within a segment, but got steps from {steps} ms. "
        "Resample to a regular grid."
    )


def test_time_may_jump_between_segments_and_only_there() -> None:
    rates = make(values=np.zeros((5, 1)), dims=("time", "unit"))
    rates = rates.assign_coords(time=("time", [0.0, 10, 20, 0, 10], rates["time"].attrs))
    with pytest.raises(RatesError, match="equal steps"):
        check_rates(rates)
    check_rates(rates.assign_coords(segment=("time", ["a", "a", "a", "b", "b"])))
    with pytest.raises(RatesError, match="equal steps"):
        check_rates(rates.assign_coords(segment=("time", ["a", "a", "b", "b", "b"])))


def test_time_in_single_precision_is_even_enough() -> None:
    rates = make()
    late = np.float32(20_000 + 10.1 * np.arange(5))  # exact to 0.002 ms
    check_rates(rates.assign_coords(time=("time", late, rates["time"].attrs)))


def test_an_unknown_rate_unit() -> None:
    assert said(make().assign_attrs(rate_unit="Hz")) == (
        "rates.attrs['rate_unit'] must be one of ('spikes/s', 'a.u.'), but got Hz. Say which unit the values have."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_holes(value: float) -> None:
    rates = make()
    rates[0, 0, :2] = value
    assert said(rates) == (
        "rates must be finite everywhere, but got 2 of 30 values that are NaN or infinite. "
        "Drop the units, trials or conditions that hold them."
    )
    assert check_rates(rates, finite=False) is rates
