"""Trial tables of binned counts: not a count is lost or moved, and what cannot be counts is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mat_samples import WRITERS, write_mat5
from scipy.io import savemat
from trial_table_samples import BIN_S, table_rows

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import parse
from dynaprobe.recordings.alongside import aligned_series
from dynaprobe.recordings.binning import PsthSettings, binned
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.load import kind_of, load_recording
from dynaprobe.recordings.psth import average, psth

RAW = PsthSettings(dt_ms=10, sd_ms=0, min_trials=1)


def saved(folder: Path, rows: list[dict[str, Any]] | None = None, version: str = "v5") -> Path:
    return WRITERS[version](folder / "Ada_CO.mat", {"trial_data": table_rows() if rows is None else rows})


def mapped(**values: Any) -> ColumnMapping:
    return parse(ColumnMapping, values)


@pytest.mark.parametrize("version", WRITERS)
def test_every_count_is_where_the_file_has_it(tmp_path: Path, version: str) -> None:
    path, rows = saved(tmp_path, version=version), table_rows()
    assert kind_of(path) == "trials"
    recording = load_recording(path)
    (session,) = recording.sessions
    assert (session.identifier, session.subject, session.resolution_ms) == ("Ada_CO", "Ada", 10.0)
    assert session.units["area"].tolist() == ["M1"] * 3 + ["PMd"] * 2
    assert session.units["electrode"].tolist() == [1, 1, 4, 7, 9]
    assert session.conditions == ("direction_deg",)
    assert recording.conditions.rows == ((0.0,), (90.0,), (180.0,), (270.0,))
    for event, name, start_ms, stop_ms in (
        ("go_cue", "idx_go_cue", -200.0, 300.0),
        ("move_onset", "idx_movement_on", -50.0, 250.0),
    ):
        (block,) = binned(recording, [(event, start_ms, stop_ms)], settings=RAW).blocks
        for trial, row in enumerate(rows):
            counts = np.concatenate([row["M1_spikes"], row["PMd_spikes"]], axis=1)
            first = int(row[name].item()) - 1 + int(start_ms / 10)
            wanted = counts[first : first + int((stop_ms - start_ms) / 10)]
            np.testing.assert_array_equal(block.rates[trial] * BIN_S, wanted)


def test_wider_bins_add_counts_and_finer_ones_are_refused(tmp_path: Path) -> None:
    recording = load_recording(saved(tmp_path))
    window = [("go_cue", -200.0, 300.0)]
    fine = binned(recording, window, settings=RAW).blocks[0].rates * BIN_S
    wide = binned(recording, window, settings=RAW.with_changes({"dt_ms": 50.0})).blocks[0].rates * 0.05
    np.testing.assert_allclose(wide, fine.reshape(12, 10, 5, 5).sum(axis=2), atol=1e-12)
    for dt_ms in (5.0, 15.0):
        with pytest.raises(DataError, match=rf"dt_ms must be a multiple of the 10 ms .* but got {dt_ms:g} ms"):
            binned(recording, window, settings=RAW.with_changes({"dt_ms": dt_ms}))


def test_trials_of_counts_have_halves(tmp_path: Path) -> None:
    rates = binned(load_recording(saved(tmp_path)), [("go_cue", -200.0, 300.0)], settings=RAW)
    whole, first, second = (average(rates, half=half)["go_cue"] for half in (None, 0, 1))
    n_first, n_second = first.n_trials, second.n_trials
    assert int(n_first.min()) == 2
    assert int(n_second.min()) == 1
    joined = (first.mean * n_first + second.mean * n_second) / (n_first + n_second)
    np.testing.assert_allclose(joined.transpose(*whole.mean.dims), whole.mean, atol=1e-9)


def test_nothing_outside_a_trial_is_observed(tmp_path: Path) -> None:
    recording = load_recording(saved(tmp_path))
    # The target comes on in bin 31: 300 ms into the trial, and nothing is known of the time before it.
    left = binned(recording, [("target_on", -300.0, 0.0)], settings=RAW).left_out
    assert left == {}
    with pytest.raises(DataError, match=r"60 unit-trials with unobserved time in target_on \[-310, 0\) ms"):
        binned(recording, [("target_on", -310.0, 0.0)], settings=RAW)


def test_trials_are_chosen_and_mapped_by_the_names_of_the_file(tmp_path: Path) -> None:
    mapping = mapped(where=["result==R", "units.area==M1"], events={"go_cue": "idx_target_on"})
    (session,) = load_recording(saved(tmp_path), mapping).sessions
    assert (session.n_units, session.n_trials) == (3, 11)
    assert session.left_out["trials where result==R does not hold"] == 1
    np.testing.assert_allclose(session.trials["go_cue"] - session.trials["start"], 0.3)


def test_series_stand_in_the_bins_of_the_counts(tmp_path: Path) -> None:
    recording, rows = load_recording(saved(tmp_path)), table_rows()
    assert recording.sessions[0].series["emg"].channels == ("biceps", "triceps")
    window = {"event": "go_cue", "start_ms": -100.0, "stop_ms": 200.0}
    trials = aligned_series(recording, "emg", **window, by="trial")  # type: ignore[arg-type]
    go = int(rows[3]["idx_go_cue"].item()) - 1
    np.testing.assert_allclose(trials.values[3], rows[3]["emg"][go - 10 : go + 20], atol=1e-9)
    mean = psth(recording, **window, settings=RAW).mean  # type: ignore[arg-type]
    assert trials["time"].equals(mean["time"])


def test_onset_from_the_speed_lies_on_the_grid_of_the_bins(tmp_path: Path) -> None:
    (session,) = load_recording(saved(tmp_path, table_rows(onset=False))).sessions
    found = ((session.trials["move_onset"] - session.trials["start"]) / BIN_S).to_numpy()
    np.testing.assert_allclose(found, np.round(found), atol=1e-6)
    file = np.array([row["idx_movement_on"].item() - 1 for row in table_rows()])
    # A fifth of the peak comes 51 ms after the first movement, and the bin in which it falls counts.
    assert set(np.round(found - file)) <= {4.0, 5.0}


def test_numbers_counted_from_zero(tmp_path: Path) -> None:
    rows = table_rows()
    for row in rows:
        for name in ("idx_trial_start", "idx_target_on", "idx_go_cue", "idx_movement_on"):
            row[name] = row[name] - 1
    path = saved(tmp_path, rows)
    with pytest.raises(DataError, match=r"idx_trial_start must count bins from 1, .* --map arrays\.first_index=0"):
        load_recording(path)
    (session,) = load_recording(path, mapped(arrays={"first_index": 0})).sessions
    np.testing.assert_allclose(session.trials["target_on"] - session.trials["start"], 0.3)


def changed(name: str, value: Any, *, trial: int | None = None) -> list[dict[str, Any]]:
    rows = table_rows()
    for k, row in enumerate(rows):
        if trial in (None, k):
            row[name] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (changed("bin_size", np.array([[10.0]])), r"bin_size must be one width in s, below 1, .*got \[10\.0\]"),
        (changed("bin_size", np.array([[0.02]]), trial=2), r"must be one width in s.* \[0\.01, 0\.02\]\. Bin"),
        (changed("bin_size", "none"), r"but got a table without it\. Give the width: --map arrays\.dt_ms=10"),
        (changed("M1_spikes", np.ones((150, 4)), trial=1), r"of the first trial, 3, 2, but got the sizes \("),
        (changed("M1_spikes", np.ones((9, 3)), trial=1), r"have as many bins in every area of a trial, but got 9"),
        (changed("M1_spikes", np.full((150, 3), 0.5)), r"be whole numbers from 0, but got values such as 0\.5"),
        (changed("M1_spikes", np.full((150, 3), np.nan)), r"be whole numbers from 0, but got values such as nan"),
        (changed("M1_spikes", np.full((150, 3), -1.0)), r"be whole numbers from 0, but got values such as -1"),
    ],
)  # fmt: skip
def test_what_cannot_be_counts(tmp_path: Path, rows: list[dict[str, Any]], sentence: str) -> None:
    for row in rows:
        n_bins = len(row["M1_spikes"])
        if n_bins == 150:
            row["PMd_spikes"] = row["PMd_spikes"][:n_bins]
    with pytest.raises(DataError, match=sentence):
        load_recording(saved(tmp_path, rows))


def test_a_frame_of_pandas_saved_as_the_page_says(tmp_path: Path) -> None:
    (wanted,) = load_recording(saved(tmp_path)).sessions
    frame = pd.DataFrame(table_rows())
    for name in ("trial_id", "tgtDir", "bin_size", *(name for name in frame if name.startswith("idx_"))):
        frame[name] = [value.item() for value in frame[name]]
    savemat(tmp_path / "Ada_CO.mat", {"trial_data": frame.to_dict("records")})
    (session,) = load_recording(tmp_path / "Ada_CO.mat").sessions
    pd.testing.assert_frame_equal(session.trials, wanted.trials)
    for one, other in zip(session.spike_times_s, wanted.spike_times_s, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_width_from_the_mapping(tmp_path: Path) -> None:
    rows = table_rows()
    for row in rows:
        del row["bin_size"]
    (session,) = load_recording(saved(tmp_path, rows), mapped(arrays={"dt_ms": 10})).sessions
    assert session.resolution_ms == 10.0


def test_a_file_without_a_trial_table_says_what_it_holds(tmp_path: Path) -> None:
    path = write_mat5(tmp_path / "a.mat", {"x": np.eye(3), "td": [{"M1_rates": np.eye(2)}] * 2})
    with pytest.raises(
        DataError, match=r"one element per trial, .*but got a file with x \(3 x 3\), td \(struct of 2"
    ):
        load_recording(path)


def test_one_unit_and_one_trial_of_every_condition(tmp_path: Path) -> None:
    rows = [{n: v for n, v in row.items() if not n.startswith("PMd")} for row in table_rows(4)]
    for row in rows:
        row["M1_spikes"] = row["M1_spikes"][:, :1]
    recording = load_recording(saved(tmp_path, rows))
    assert (recording.n_units, recording.sessions[0].n_trials) == (1, 4)
    assert "electrode" not in recording.sessions[0].units
