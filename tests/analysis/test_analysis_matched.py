"""Matching conditions and bins of two populations: by direction, by label, by order; what is left out is said."""

from __future__ import annotations

import numpy as np
import pytest
from similarity_samples import noise, rates_of

from dynaprobe.analysis.matched import match
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import concatenate_segments


def with_directions(degrees, n_units=3, seed=0, **coords):
    rates = rates_of(noise(len(degrees), 8, n_units, seed=seed), directions=False)
    return rates.assign_coords(direction_deg=("condition", np.asarray(degrees, dtype=float)), **coords)


def test_conditions_are_found_by_direction_whatever_their_order_and_turn():
    a, b = with_directions([0, 90, 180, 270]), with_directions([-90, 180.4, 360, 45], n_units=5, seed=1)
    found = match(a, b)
    assert found.matched_by == ("direction_deg",)
    np.testing.assert_array_equal(found.a.values, a.values[[0, 2, 3]])
    np.testing.assert_array_equal(found.b.values, b.values[[2, 1, 0]])
    np.testing.assert_array_equal(found.b["direction_deg"], [0, 180, 270])  # the labels of a
    assert found.left_out == {
        "condition of a without a counterpart": 1,
        "condition of b without a counterpart": 1,
    }
    assert found.account == (
        "3 conditions, matched by direction_deg; 8 bins; left out: 1 x condition of a without a counterpart; "
        "left out: 1 x condition of b without a counterpart"
    )


def test_a_tolerance_brings_eight_targets_and_six_together():
    found = match(
        with_directions(np.arange(6) * 60.0), with_directions(np.arange(8) * 45.0, seed=1), tolerance_deg=22.5
    )
    assert found.n_conditions == 6
    assert found.left_out == {"condition of b without a counterpart": 2}
    again = match(found.a, found.b)  # the labels now agree
    assert again.n_conditions == 6
    np.testing.assert_array_equal(again.b.values, found.b.values)


def test_all_shared_variables_must_agree_and_names_choose_among_them():
    delays = [100.0, 200.0, 100.0]
    a = with_directions([0, 0, 90], delay_ms=("condition", delays))
    b = with_directions([0, 90, 0], delay_ms=("condition", [200.0, 100.0, 100.0]), seed=1)
    np.testing.assert_array_equal(match(a, b).b.values, b.values[[2, 0, 1]])
    with pytest.raises(
        RatesError, match=r"conditions of b must differ in direction_deg, but got 2 that match one"
    ):
        match(a, b, by=("direction_deg",))
    with pytest.raises(RatesError, match=r"by must name coordinates along condition of both sides"):
        match(a, b, by=("speed",))


def test_labels_decide_where_no_variable_is_known_to_both():
    a = rates_of(noise(3, 8, 2, seed=0), directions=False).assign_coords(condition=["x", "y", "z"])
    b = rates_of(noise(2, 8, 2, seed=1), directions=False).assign_coords(condition=["z", "x"])
    found = match(a, b)
    assert found.a["condition"].values.tolist() == ["x", "z"]
    np.testing.assert_array_equal(found.b.values, b.values[::-1])


def test_the_order_decides_where_there_are_no_labels():
    a, b = (rates_of(noise(3, 8, 2, seed=k), directions=False) for k in (0, 1))
    found = match(a, b)
    assert found.matched_by == ("order",)
    np.testing.assert_array_equal(found.b.values, b.values)
    with pytest.raises(RatesError, match=r"say which condition is which, or have equally many, but got 3 and 2"):
        match(a, b.isel(condition=slice(2)))


def test_bins_are_found_by_event_and_time():
    a, b = (rates_of(noise(4, 12, 2, seed=k)) for k in (0, 1))
    late = b.isel(time=slice(5, None)).assign_coords(time=b["time"].isel(time=slice(5, None)) + 0.3)
    late["time"].attrs.update(b["time"].attrs)
    found = match(a, late)
    assert found.n_bins == 7
    np.testing.assert_array_equal(found.a["time"], np.arange(5, 12) * 10.0)
    np.testing.assert_array_equal(found.b["time"], found.a["time"])
    assert found.left_out == {"time bin of a without a counterpart": 5}


def test_segments_in_another_order_are_put_in_the_order_of_a():
    parts = []
    for event in ("target_on", "go_cue"):
        part = rates_of(noise(4, 6, 2, seed=len(parts)))
        part["time"].attrs["event"] = event
        parts.append(part)
    a, b = concatenate_segments(parts), concatenate_segments(parts[::-1])
    np.testing.assert_array_equal(match(a, b).b.values, a.values)
    alone = match(parts[1], a)  # one event of a joined array
    np.testing.assert_array_equal(alone.b.values, parts[1].values)


def test_halves_are_cut_like_their_side():
    a, b = with_directions([0, 90, 180]), with_directions([180, 0], seed=1)
    found = match(a, b)
    np.testing.assert_array_equal(found.take_b(b + 1).values, found.b.values + 1)
    np.testing.assert_array_equal(found.take_a(a + 1).values, found.a.values + 1)


def test_what_cannot_be_matched_is_said():
    a = with_directions([0, 90, 180])
    with pytest.raises(RatesError, match=r"share a condition by direction_deg, but got direction_deg 0.0, 90.0"):
        match(a, with_directions([10, 100]))
    other = rates_of(noise(3, 8, 3, seed=1), dt_ms=5.0)
    with pytest.raises(RatesError, match=r"b.time must have bins of 10 ms, as a has, but got 5"):
        match(a, other)
    elsewhere = a.copy()
    elsewhere["time"] = elsewhere["time"].assign_attrs(event="move_onset")
    with pytest.raises(
        RatesError, match=r"share a time bin about the same event, but got \[0, 70\] ms about go_cue"
    ):
        match(a, elsewhere)
    with pytest.raises(RatesError, match=r"b must have the dims"):
        match(a, a.mean("unit"))
