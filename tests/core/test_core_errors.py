from __future__ import annotations

import pickle

import pytest

from dynaprobe.core.errors import DataError, DynaprobeError, RatesError, SettingsError


def test_the_sentence_names_the_thing_the_rule_the_value_and_the_way_out() -> None:
    error = DynaprobeError("dt_ms", rule="be positive", received=-1.0, remedy="Give it in ms, e.g. 10")
    assert str(error) == "dt_ms must be positive, but got -1.0. Give it in ms, e.g. 10."


def test_the_place_comes_first_and_strings_are_shown_as_they_are() -> None:
    error = DataError("spike_times", rule="be sorted", received="3 steps back", remedy="Sort", where="a.nwb")
    assert str(error) == "a.nwb: spike_times must be sorted, but got 3 steps back. Sort."


def test_every_part_can_be_asked_for() -> None:
    error = SettingsError("x", rule="be 1", received=2, remedy="Say 1", where="f.toml")
    assert (error.name, error.rule, error.received, error.remedy, error.where) == (
        "x",
        "be 1",
        2,
        "Say 1",
        "f.toml",
    )


@pytest.mark.parametrize("kind", [SettingsError, DataError, RatesError])
def test_one_except_clause_catches_them_all(kind: type[DynaprobeError]) -> None:
    with pytest.raises(DynaprobeError):
        raise kind("x", rule="be 1", received=2, remedy="Say 1")
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize("kind", [SettingsError, DataError, RatesError])
def test_an_error_of_another_process_says_the_same(kind):
    error = kind("n_units", rule="be positive", received=-3, remedy="Give a larger number", where="settings.toml")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.received, again.where) == (-3, "settings.toml")
