"""Columns of files: names, units of directions, overrides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording_samples import WriteNwb, plain_trials

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.recordings.columns import (
    DIRECTION_COLUMNS,
    EVENT_COLUMNS,
    ColumnMapping,
    condition_columns,
    direction_deg,
    direction_rule,
    event_columns,
    last_entries,
)
from dynaprobe.recordings.nwb import read_nwb

HERE = Path("file.nwb")
AS_IT_IS = ColumnMapping()


@pytest.mark.parametrize(
    ("event", "column"), [(e, c) for e, cs in EVENT_COLUMNS.items() for c in (f"{e}_time", *cs)]
)
def test_every_name_of_the_table_is_found(event: str, column: str) -> None:
    found = event_columns(["start_time", "stop_time", column], AS_IT_IS, where=HERE)
    assert [(entry.event, entry.column, entry.certain) for entry in found] == [(event, column, True)]


def test_no_column_stands_for_two_events() -> None:
    names = [name for event, others in EVENT_COLUMNS.items() for name in (event, f"{event}_time", *others)]
    assert len(names) == len(set(names))


def test_overrides_come_before_the_table_and_other_times_are_uncertain() -> None:
    mapping = parse(ColumnMapping, {"events": {"go_cue": "MyGo"}})
    columns = ["start_time", "stop_time", "MyGo", "go_cue_time", "reward_time", "delay"]
    found = {entry.event: (entry.column, entry.certain) for entry in event_columns(columns, mapping, where=HERE)}
    assert found == {"go_cue": ("MyGo", True), "reward": ("reward_time", False)}


def test_a_column_taken_by_the_user_is_not_read_again() -> None:
    mapping = parse(ColumnMapping, {"events": ["first_go=go_time"]})
    assert [e.event for e in event_columns(["go_time"], mapping, where=HERE)] == ["first_go"]


def test_strings_of_the_command_line_equal_tables_of_toml() -> None:
    from_strings = parse(ColumnMapping, {"events": ["go_cue=MyGo", "a=b=c"]})
    assert from_strings == parse(ColumnMapping, {"events": {"go_cue": "MyGo", "a": "b=c"}})
    assert hash(from_strings)
    with pytest.raises(SettingsError, match=r"events\.0"):
        parse(ColumnMapping, {"events": ["MyGo"]})


def test_durations_called_time_are_not_events(write_file: WriteNwb) -> None:
    trials = plain_trials() | {"reaction_time": np.full(6, 0.2), "reward_time": plain_trials()["stop_time"]}
    session = read_nwb(write_file(trials=trials))
    assert session.events == ("target_on", "go_cue", "reward")
    assert any(rule.startswith("reaction_time is not read as an event") for rule in session.account.rules)


def test_array_valued_go_cue_takes_the_last(write_file: WriteNwb) -> None:
    trials = plain_trials()
    go = trials.pop("go_cue_time")
    trials["go_cue_time_array"] = [np.array([t - 0.3, t]) if k % 2 else np.array([t]) for k, t in enumerate(go)]
    session = read_nwb(write_file(trials=trials))
    np.testing.assert_array_equal(session.trials["go_cue"], go)
    assert "go_cue is the last entry of go_cue_time_array" in session.account.rules


def test_last_entries_pass_over_nan_and_empty_rows() -> None:
    last, was_array = last_entries([np.array([1.0, 2.0, np.nan]), np.array([]), np.array([np.nan])])
    assert was_array
    np.testing.assert_array_equal(last, [2.0, np.nan, np.nan])
    np.testing.assert_array_equal(last_entries(np.array([[1.0, 3.0], [4.0, np.nan]]))[0], [3.0, 4.0])


@pytest.mark.parametrize(
    ("values", "rule", "degrees"),
    [
        ([1, 2, 6], "index", [0, 60, 300]),
        ([0, 1, 2, 3], "index0", [0, 60, 120, 180]),
        ([0, 45, 315, -45], "deg", [0, 45, 315, 315]),
        ([0.0, np.pi / 4, -np.pi / 2], "rad", [0, 45, 270]),
        ([22.5, 7.0], "deg", [22.5, 7.0]),
    ],
)
def test_values_say_what_they_are(values: list[float], rule: str, degrees: list[float]) -> None:
    array = np.asarray(values, dtype=float)
    assert direction_rule("target_dir", array, AS_IT_IS, where=HERE) == rule
    np.testing.assert_array_equal(direction_deg(array, rule, 6, where=HERE), degrees)


def test_names_and_mapping_come_before_values() -> None:
    whole = np.array([1.0, 2.0])
    assert direction_rule("direction_deg", whole, AS_IT_IS, where=HERE) == "deg"
    assert direction_rule("target_angle_rad", whole, AS_IT_IS, where=HERE) == "rad"
    assert direction_rule("target_angle_rad", whole, ColumnMapping(direction_unit="deg"), where=HERE) == "deg"


@pytest.mark.parametrize("values", [[0.0], [0.0, 2.0], [-1.0, 1.0], []])
def test_values_that_could_be_anything_are_refused(values: list[float]) -> None:
    with pytest.raises(
        DataError, match=r"say plainly whether it holds an index, degrees or radians.*direction_unit"
    ):
        direction_rule("target_dir", np.asarray(values), AS_IT_IS, where=HERE)


@pytest.mark.parametrize(
    ("values", "rule"), [([7.0], "index"), ([0.0], "index"), ([1.5], "index"), ([6.0], "index0")]
)
def test_an_index_outside_its_range(values: list[float], rule: str) -> None:
    with pytest.raises(DataError, match="direction index must be a whole number from"):
        direction_deg(np.asarray(values), rule, 6, where=HERE)


def test_round_off_makes_no_new_condition() -> None:
    angles = np.deg2rad([60.0, 300.0, 359.9999999999]) + 2 * np.pi * np.array([0, 1, 0])
    assert direction_deg(angles, "rad", 1, where=HERE).tolist() == [60.0, 300.0, 0.0]


def test_which_columns_make_the_conditions() -> None:
    columns = ["a", "target_dir", "trial_type"]
    assert condition_columns(columns, AS_IT_IS, where=HERE) == ("target_dir", ())
    assert condition_columns(["a", "trial_type"], AS_IT_IS, where=HERE) == (None, ("trial_type",))
    mapping = ColumnMapping(conditions=("a", "target_dir"))
    assert condition_columns(columns, mapping, where=HERE) == ("target_dir", ("a",))
    assert condition_columns(columns, ColumnMapping(conditions=("a",)), where=HERE) == (None, ("a",))
    assert condition_columns(columns, ColumnMapping(direction="a"), where=HERE) == ("a", ())


def test_overridden_conditions_reach_the_session(write_file: WriteNwb) -> None:
    trials = plain_trials() | {
        "MyAngle": np.array([0.0, 90.0] * 3),
        "context": np.array(["left", "right", "left"] * 2),
    }
    mapping = ColumnMapping(conditions=("context",), direction="MyAngle")
    session = read_nwb(write_file(trials=trials), mapping)
    assert session.conditions == ("direction_deg", "context")
    assert session.trials["context"].tolist() == ["left", "right", "left"] * 2
    assert session.trials["direction_deg"].tolist() == [0.0, 90.0] * 3


def test_direction_names_are_all_settled_or_auto() -> None:
    assert set(DIRECTION_COLUMNS.values()) <= {"auto", "deg", "rad"}
