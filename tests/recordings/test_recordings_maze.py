"""Files as users have them: the maze task of the Neural Latents Benchmark, and other reach sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nlb_samples import MOVE_S, N_TRIALS, TRIAL_S, hand_path, write_nlb
from recording_samples import WriteNwb, plain_trials

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.load import load_recording
from dynaprobe.recordings.nwb import read_nwb
from dynaprobe.recordings.targets import POSITION_COLUMNS


def mapped(**values: Any) -> ColumnMapping:
    return parse(ColumnMapping, values)


def test_the_maze_file_is_read_as_it_comes(tmp_path: Path) -> None:
    recording = load_recording(write_nlb(tmp_path / "train.nwb"))
    (session,) = recording.sessions
    assert (session.n_units, session.n_trials) == (6, N_TRIALS)
    assert session.events == ("target_on", "go_cue", "move_onset")
    # Mazes that share a direction stay apart.
    assert session.conditions == ("direction_deg", "trial_type", "trial_version")
    assert len(recording.conditions) == 9
    assert session.trials["direction_deg"].tolist() == [0.0, 90.0, 180.0] * 4
    said = " ".join(session.account.rules)
    assert "the angle of target_pos, the target that active_target counts from 0" in said
    assert "2 of 6 units are held out in the benchmark and are read like the others" in said
    assert "trials of every split are read (train: 9, val: 3)" in said
    assert "trials of every success are read (False: 1, True: 11)" in said
    assert session.obs_intervals_s is not None
    # Trials that follow one another without a gap were observed without one.
    np.testing.assert_array_equal(session.obs_intervals_s[0], [[0.0, N_TRIALS * TRIAL_S]])


def test_trials_and_units_are_chosen_by_value_and_counted(tmp_path: Path) -> None:
    path = write_nlb(tmp_path / "train.nwb")
    where = ["success==1", "split==train|test", "trial_version!=2", "units.heldout==false"]
    session = read_nwb(path, mapped(where=where, conditions=["direction_deg"]))
    assert (session.n_units, session.n_trials) == (4, 6)
    assert session.left_out == {
        "trials where success==1 does not hold": 1,
        "trials where split==train|test does not hold": 3,
        "trials where trial_version!=2 does not hold": 2,
        "units where units.heldout==false does not hold": 2,
        "series without usable times or values (broken)": 1,
    }
    assert session.conditions == ("direction_deg",)
    assert not any("are read" in rule for rule in session.account.rules)


def test_an_index_keeps_its_angle_whichever_trials_are_read(write_file: WriteNwb) -> None:
    session = read_nwb(write_file(), mapped(where=["target_direction<=2"]))
    assert session.trials["direction_deg"].unique().tolist() == [0.0, 120.0]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("split==text", r"trials must satisfy split==text at least once, but got train: 9, val: 3 in the column"),
        (
            "nosuch==1",
            r"column of a condition \(nosuch\) must be in the table, but got a table with the col",
        ),
        ("units.nosuch==1", r"\(nosuch\) must be in the table, but got a table with the columns heldout"),
        ("split>1", r"split must hold numbers to be compared by >, but got train: 9, val: 3"),
        ("success==maybe", r"success must be compared with a number, but got maybe"),
        ("target_pos==1", r"target_pos must have one value per row, but got an array-valued column"),
    ],
)
def test_conditions_that_cannot_be_meant(tmp_path: Path, where: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_nwb(write_nlb(tmp_path / "a.nwb"), mapped(where=[where]))


def test_conditions_of_another_form_are_refused_at_once() -> None:
    with pytest.raises(SettingsError, match=r"where.* reads COLUMN==VALUE, .* unlike 'success'"):
        mapped(where=["success"])


def test_a_missing_value_satisfies_nothing(write_file: WriteNwb) -> None:
    trials = plain_trials() | {"score": np.array([1, np.nan, 0, 1, 1, 1])}
    path = write_file(trials=trials)
    assert read_nwb(path, mapped(where=["score!=0"])).n_trials == 4
    assert read_nwb(path, mapped(where=["score>=0"])).n_trials == 5


def test_conditions_without_the_direction(tmp_path: Path) -> None:
    path = write_nlb(tmp_path / "a.nwb")
    assert read_nwb(path, mapped(conditions=["maze_id"])).conditions == ("maze_id",)
    both = mapped(conditions=["maze_id"], direction="target_pos")
    assert read_nwb(path, both).conditions == ("direction_deg", "maze_id")


def test_test_segments_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have cues and conditions, but got the test segments of"):
        load_recording(write_nlb(tmp_path / "test.nwb", cues=False))


@pytest.mark.parametrize("name", POSITION_COLUMNS)
def test_one_target_per_trial_needs_no_count(write_file: WriteNwb, name: str) -> None:
    xy = np.array([[1.0, 1.0], [-2.0, 0.0], [0.0, 0.0]] * 2)
    trials = {k: v for k, v in plain_trials().items() if k != "target_direction"} | {name: xy}
    session = read_nwb(write_file(trials=trials))
    # A target in the centre has no direction.
    assert session.trials["direction_deg"].tolist() == [45.0, 180.0] * 2
    assert session.left_out == {"trials without a condition": 2}


def test_positions_counted_from_one(write_file: WriteNwb) -> None:
    both = np.array([[1.0, 0.0], [0.0, 1.0]])
    trials = {k: v for k, v in plain_trials().items() if k != "target_direction"}
    trials |= {"target_pos": [both] * 6, "active_target": np.array([1, 2, 1, 2, 2, 1])}
    session = read_nwb(write_file(trials=trials))
    assert session.trials["direction_deg"].tolist() == [0.0, 90.0, 0.0, 90.0, 90.0, 0.0]
    assert "counts from 1" in session.account.rules[0]


def test_several_targets_without_a_count_are_refused(write_file: WriteNwb) -> None:
    trials = {k: v for k, v in plain_trials().items() if k != "target_direction"}
    trials["target_pos"] = [np.eye(2)] * 6
    with pytest.raises(DataError, match=r"be counted by a column active_target, but got several targets in 6 "):
        read_nwb(write_file(trials=trials))


def test_a_direction_column_comes_before_positions_and_the_mapping_before_both(write_file: WriteNwb) -> None:
    path = write_file(trials=plain_trials() | {"aim": np.array([[0.0, 1.0]] * 6)})
    assert read_nwb(path).trials["direction_deg"].nunique() == 3
    assert read_nwb(path, mapped(direction="aim")).trials["direction_deg"].unique().tolist() == [90.0]
    wrong = write_file("b.nwb", trials=plain_trials() | {"aim": np.ones((6, 4))})
    with pytest.raises(DataError, match=r"hold x and y of every target, but got an entry of shape \(4,\)"):
        read_nwb(wrong, mapped(direction="aim"))


@pytest.mark.parametrize("nested", [False, True])
def test_series_in_their_unit(tmp_path: Path, nested: bool) -> None:
    session = read_nwb(write_nlb(tmp_path / "a.nwb", nested=nested))
    place, speed = ("cursor_pos", "cursor_vel") if nested else ("hand_pos", "hand_vel")
    times_s, position, velocity = hand_path()
    assert set(session.series) == {place, speed}
    assert (session.series[place].unit, session.series[speed].unit) == ("mm", "mm/s")
    assert session.series[place].channels == ("x", "y")
    np.testing.assert_allclose(session.series[place].values, position, atol=1e-9)
    np.testing.assert_array_equal(session.series[speed].values, velocity)
    np.testing.assert_allclose(session.series[place].times_s, times_s, atol=1e-12)


def test_only_the_series_that_are_wanted(tmp_path: Path) -> None:
    path = write_nlb(tmp_path / "a.nwb")
    assert set(read_nwb(path, mapped(behaviour={"series": "hand_vel"})).series) == {"hand_vel"}
    with pytest.raises(DataError, match=r"a\.nwb: behaviour\.series must be among .*hand_pos, .* but got nose"):
        read_nwb(path, mapped(behaviour={"series": ["nose"]}))


@pytest.mark.parametrize("speed", ["hand_pos", "hand_vel"])
def test_movement_onset_from_the_hand(tmp_path: Path, speed: str) -> None:
    path = write_nlb(tmp_path / "a.nwb", onset=False)
    session = read_nwb(path, mapped(behaviour={"speed": speed, "onset_fraction": 0.2}))
    found = (session.trials["move_onset"] - session.trials["start"]).to_numpy()
    # A minimum-jerk speed 30 u^2 (1 - u)^2 reaches a fifth of its peak where u (1 - u) = sqrt(0.2) / 4.
    u = (1 - np.sqrt(1 - np.sqrt(0.2))) / 2
    np.testing.assert_allclose(found, MOVE_S + 0.4 * u, atol=0.004)
    said = (
        f"move_onset is computed from {speed}, as the file has none: where its speed rises above 0.2 of the peak"
    )
    assert any(rule.startswith(said) for rule in session.account.rules)


def test_an_onset_in_the_file_is_kept(tmp_path: Path) -> None:
    session = read_nwb(write_nlb(tmp_path / "a.nwb"))
    np.testing.assert_allclose(session.trials["move_onset"] - session.trials["start"], MOVE_S)
    assert not any("computed" in rule for rule in session.account.rules)


def test_columns_of_other_reach_sets(write_file: WriteNwb) -> None:
    """Perich and Miller (DANDI 000688): target_dir in radians, result by letter."""
    trials = {k: v for k, v in plain_trials().items() if k != "target_direction"}
    trials |= {"target_dir": np.pi / 4 * np.array([1, 2, 5, 1, 2, 5]), "result": np.array(["R", "R", "F"] * 2)}
    session = read_nwb(write_file(trials=trials), mapped(where=["result==R"]))
    assert session.trials["direction_deg"].tolist() == [45.0, 90.0, 45.0, 90.0]
    assert session.left_out == {"trials where result==R does not hold": 2}
