"""What is compared: names, kinds, what all share, and what is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.rates import make_rates
from dynaprobe.recordings.session import Recording
from dynaprobe.study.candidates import Candidate, Given, by_subject, check_names
from dynaprobe.study.common_ground import common_ground, on_common_directions, rate_ranges, shared_directions
from dynaprobe.study.comparison import ComparisonSettings, population, within
from dynaprobe.study.sample import PairSettings
from dynaprobe.study.sampling import check_units, on_shared_bins, sample_all
from dynaprobe.study.teacher import teacher_recording

SETTINGS = ComparisonSettings(n_splits=2, n_floor=5, n_chance=20)


def recording(seed: int, *, delay_ms: float = 500.0, n_targets: int = 6, n_units: int = 14) -> Recording:
    return teacher_recording(n_units=n_units, n_repeats=6, n_targets=n_targets, delay_ms=delay_ms, seed=seed)


def renamed(made: Recording, identifier: str, subject: str) -> Recording:
    return replace(made, sessions=tuple(replace(s, identifier=identifier, subject=subject) for s in made.sessions))


@pytest.fixture(scope="module")
def two_animals() -> Recording:
    parts = [renamed(recording(k), f"day {k}", subject) for k, subject in enumerate(("joe", "lili"))]
    return Recording(tuple(session for part in parts for session in part.sessions), "both")


def candidate(name: str, made: Recording) -> Candidate:
    return Candidate(name, Path(name), made)


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("data/joe", None, "data/joe"),
        ("joe=data/joe", "joe", "data/joe"),
        ("my nets=a=b", "my nets", "a=b"),
        ("runs/x=1/nets", None, "runs/x=1/nets"),
    ],
)
def test_names_stand_before_an_equals_sign(text, name, path):
    assert Given.parse(text) == Given(name, Path(path))


def test_a_path_that_exists_is_one_whatever_signs_it_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=3").mkdir()
    assert Given.parse("lr=3").path == Path("lr=3")


@pytest.mark.parametrize("text", ["=data", "name="])
def test_half_a_name_is_refused(text):
    with pytest.raises(SettingsError, match="candidate must be a path, or read NAME=PATH"):
        Given.parse(text)


def test_two_candidates_of_one_name_are_refused():
    with pytest.raises(DataError, match="candidates must differ in their names, but got joe 2 times"):
        check_names(["joe", "lili", "joe"])


def test_animals_are_parted_with_their_sessions(two_animals):
    parts = by_subject(two_animals)
    assert list(parts) == ["joe", "lili"]
    assert [part.n_units for part in parts.values()] == [14, 14]
    assert parts["joe"].sessions[0].subject == "joe"


def test_directions_are_shared_round_the_circle_and_within_a_degree():
    tables = {"a": (0.0, 90.0, 180.0, 270.0), "b": (359.6, 90.4, 181.5, 270.0)}
    assert shared_directions(tables) == (0.0, 90.0, 270.0)


def test_recordings_of_other_directions_are_refused_with_the_directions():
    with pytest.raises(DataError, match="share at least 3 directions") as caught:
        shared_directions({"a": (0.0, 90.0, 180.0, 270.0), "b": (45.0, 135.0, 225.0, 315.0)})
    assert "b: 45, 135, 225, 315" in str(caught.value)


def test_common_ground_takes_the_shortest_delay_and_the_shared_directions():
    pair = [candidate("long", recording(1, delay_ms=900.0)), candidate("few", recording(2, n_targets=3))]
    ground = common_ground(pair, None, SETTINGS)
    assert ground == common_ground(pair[::-1], None, SETTINGS)
    assert ground.directions_deg == (0.0, 120.0, 240.0)
    assert ground.facts.delay_ms == 500
    assert ground.settings.target_window_ms is not None
    assert ground.settings.target_window_ms[1] <= 500
    assert any("long has 3 further directions" in sentence for sentence in ground.account)
    assert any("shortest median delay, 500 ms" in sentence for sentence in ground.account)


def test_trials_of_other_directions_are_left_out_and_values_made_alike():
    made = recording(1)
    trimmed = on_common_directions(made, (0.4, 120.0, 240.0))
    assert [row[0] for row in trimmed.conditions.rows] == [0.4, 120.0, 240.0]
    assert sum(s.n_trials for s in trimmed.sessions) == sum(s.n_trials for s in made.sessions) // 2
    assert on_common_directions(made, (0.0, 60.0, 120.0, 180.0, 240.0, 300.0)) is made


def test_counts_in_bins_stay_counts_in_bins_when_directions_are_left_out():
    """Without their width, counts of 50 ms were binned at 10 ms as if the times of spikes were known."""
    made = recording(1)
    counted = replace(made, sessions=tuple(replace(s, resolution_ms=50.0) for s in made.sessions))
    trimmed = on_common_directions(counted, (0.0, 120.0, 240.0))
    assert [s.resolution_ms for s in trimmed.sessions] == [50.0]
    assert [set(s.series) for s in trimmed.sessions] == [set(s.series) for s in made.sessions]
    ground = common_ground([candidate("a", recording(1))], None, SETTINGS)
    with pytest.raises(DataError, match="multiple of the 50 ms in which the file counts spikes"):
        population(trimmed, ground.settings, seed=0)


def test_other_conditions_than_directions_are_refused(two_animals):
    session = two_animals.sessions[0]
    other = replace(session, trials=session.trials.rename(columns={"direction_deg": "kind"}), conditions=("kind",))
    with pytest.raises(DataError, match="conditions must be directions of the reach alone"):
        common_ground([candidate("odd", Recording((other,), "odd"))], None, SETTINGS)


def test_ranges_of_several_recordings_stand_side_by_side():
    ground = common_ground([candidate("a", recording(1))], None, SETTINGS)
    sides = {name: population(recording(k), ground.settings, seed=0).rates for k, name in enumerate("ba", 1)}
    joined = rate_ranges(sides)
    assert joined.sizes["unit"] == 28
    np.testing.assert_array_equal(joined.values[..., :14], sides["a"].values)


def test_samples_do_not_depend_on_the_order_of_candidates(two_animals):
    parts = [candidate(name, part) for name, part in by_subject(two_animals).items()]
    ground = common_ground(parts, None, SETTINGS)
    plain, turned = (sample_all(order, ground, reference=None, seed=0).samples for order in (parts, parts[::-1]))
    for name in ("joe", "lili"):
        assert plain[name][0].rates.identical(turned[name][0].rates)
        assert plain[name][0].halves[1][0].identical(turned[name][0].halves[1][0])


def test_too_few_units_are_refused_with_the_name(two_animals):
    parts = [candidate("small", recording(5, n_units=8)), candidate("joe", by_subject(two_animals)["joe"])]
    ground = common_ground(parts, None, SETTINGS)
    samples = sample_all(parts, ground, reference=None, seed=0).samples
    with pytest.raises(DataError, match="at least 12 usable units each, but got 8 of small"):
        check_units(samples, PairSettings(), n_pcs=6)
    with pytest.raises(DataError, match="at least 13 usable units each, but got 8 of small"):
        check_units(samples, PairSettings(n_units=13), n_pcs=6)
    assert check_units(samples, PairSettings(), n_pcs=4) == 8


def test_averages_are_matched_to_the_bins_that_all_have():
    made = recording(1)
    ground = common_ground([candidate("a", made)], None, SETTINGS)
    rates = population(made, ground.settings, seed=0).rates
    moving = rates.isel(time=rates["segment"].values == "move_onset").isel(time=slice(5, 40))
    time = moving["time"].assign_attrs(event="move_onset", units="ms", dt_ms=10.0)
    averages = moving.assign_coords(time=time).drop_vars("segment")
    both = [candidate("a", made), Candidate("avg", Path("avg"), averages=averages)]
    ground = common_ground(both, None, SETTINGS)
    sampled = sample_all(both, ground, reference=None, seed=0)
    assert {s.rates.sizes["time"] for members in sampled.samples.values() for s in members} == {35}
    assert not sampled.samples["avg"][0].has_trials
    assert any("time bins have no counterpart" in sentence for sentence in sampled.account)


def around_move(*, event: str = "move_onset", n_times: int = 40, start_ms: float = -50.0) -> xr.DataArray:
    """Averages of no directions, from some time before an event."""
    values = np.random.default_rng(0).normal(size=(4, n_times, 12))
    return make_rates(values, dims=("condition", "time", "unit"), time_ms=start_ms + 10.0 * np.arange(n_times),
                      event=event, rate_unit="a.u.", source="made up")  # fmt: skip


def test_windows_end_where_averages_do_and_this_is_said():
    both = [Candidate(name, Path(name), averages=around_move(n_times=n)) for name, n in (("a", 40), ("b", 30))]
    ground = common_ground(both, None, SETTINGS)
    assert ground.settings.move_window_ms == (-50.0, 250.0)
    assert ground.settings.jpca_window_ms == SETTINGS.jpca_window_ms
    assert any("cut to -50 to 250 ms, of -250 to 350 ms" in sentence for sentence in ground.account)
    late = [Candidate(name, Path(name), averages=around_move(event="time_zero")) for name in "ab"]
    assert common_ground(late, None, SETTINGS).settings.move_window_ms == SETTINGS.move_window_ms
    # Nothing would be left of the window of jPCA.
    assert within(SETTINGS, around_move(n_times=3, start_ms=250.0)) == SETTINGS


def test_averages_without_directions_are_refused_beside_others():
    made = recording(1)
    ground = common_ground([candidate("a", made)], None, SETTINGS)
    bare = population(made, ground.settings, seed=0).rates.drop_vars("direction_deg")
    with pytest.raises(DataError, match="condition averages must say which direction each condition is"):
        common_ground([candidate("a", made), Candidate("avg", Path("avg"), averages=bare)], None, SETTINGS)


def test_samples_with_nothing_in_common_are_refused():
    from made_up_samples import sample  # noqa: PLC0415

    first, other = sample("a"), sample("b")
    late = other.rates.assign_coords(time=other.rates["time"] + 5000).assign_attrs(other.rates.attrs)
    late["time"].attrs.update(other.rates["time"].attrs)
    with pytest.raises(DataError, match="candidates must share conditions and time bins"):
        on_shared_bins({"a": [first], "b": [replace(other, rates=late)]})


def test_too_few_shared_conditions_are_refused_with_their_numbers():
    from made_up_samples import sample  # noqa: PLC0415

    first, other = sample("a"), sample("b")
    alone = replace(other, rates=other.rates.isel(condition=slice(0, 1)))
    with pytest.raises(DataError, match=r"share at least 3 conditions.*, but got 6 of a, 1 of b"):
        on_shared_bins({"a": [first], "b": [alone]})


def test_averages_are_described_as_far_as_they_go():
    """What needs trials or another event is left out with its reason; the rest is that of any population."""
    from dynaprobe.study.comparison import averages_population  # noqa: PLC0415
    from dynaprobe.study.describe import describe, headline  # noqa: PLC0415

    made = recording(1, n_units=30)
    settings = SETTINGS.with_changes(
        {"preparatory_window_ms": (150.0, 450.0), "n_surrogates": 2, "families": ("T",), "n_pcs": 4}
    )
    whole = population(made, settings.with_changes({"target_window_ms": (-50.0, 450.0)}), seed=0).rates
    moving = whole.isel(time=whole["segment"].values == "move_onset")
    time = moving["time"].assign_attrs(event="move_onset", units="ms", dt_ms=10.0)
    side = averages_population(moving.assign_coords(time=time).drop_vars("segment"))
    found, reasons = describe(side, settings, seed=0)
    assert {"pca", "jpca", "tangling", "gallery", "sparseness", "condition_independent"} <= set(found)
    assert (
        "be at hand, as this analysis tests on them, but got averages over trials" in reasons["direction_tuning"]
    )
    assert reasons["direction_tuning"].endswith("Give the recording with its trials.")
    assert "aligned to target_on, but got move_onset alone. Give the recording" in reasons["alignment"]
    assert "judged on halves of them" in reasons["tuning_correlation"]
    assert np.isfinite(headline(found)["jpca_r2_skew"])
