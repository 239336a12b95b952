"""The real recording, counted through our reader and through bare HDF5."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dynaprobe.recordings.binning import PsthSettings, binned
from dynaprobe.recordings.export import write_nwb
from dynaprobe.recordings.nwb import read_nwb
from dynaprobe.recordings.psth import aligned, average
from dynaprobe.recordings.session import Recording

pytestmark = pytest.mark.recording


def test_sessions_units_and_directions(riehle: Recording) -> None:
    assert (riehle.n_sessions, riehle.n_units) == (66, 142)
    assert riehle.conditions.rows == tuple((60.0 * k,) for k in range(6))
    assert "142 units (76 joe, 66 lili) in 66 sessions" in riehle.summary
    assert {"target_on", "go_cue", "move_onset", "move_end"} <= set(riehle.event_names)


def test_reaction_times(riehle: Recording) -> None:
    per_session = [(s.trials["move_onset"] - s.trials["go_cue"]).to_numpy() * 1e3 for s in riehle.sessions]
    n_units = [s.n_units for s in riehle.sessions]
    # 198 ms over trials; 183 ms when every unit counts the trials it was recorded in, as in a list of units.
    assert np.nanmedian(np.concatenate(per_session)) == pytest.approx(198.0, abs=0.5)
    by_unit = np.concatenate([np.tile(t, n) for t, n in zip(per_session, n_units, strict=True)])
    assert np.nanmedian(by_unit) == pytest.approx(183.0, abs=0.5)


def test_every_spike_and_trial_of_the_files_is_there(riehle: Recording, riehle_folder: Path) -> None:
    n_spikes = n_trials = 0
    for path in sorted((riehle_folder / "nwb").glob("*.nwb")):
        with h5py.File(path) as file:
            n_spikes += file["units/spike_times"].size
            n_trials += file["intervals/trials/start_time"].size
    assert sum(t.size for s in riehle.sessions for t in s.spike_times_s) == n_spikes
    assert sum(s.n_trials for s in riehle.sessions) == n_trials
    assert set(riehle.left_out) <= {"times of move_end outside their trials"}


def test_psths_of_all_units_around_two_events(riehle: Recording) -> None:
    both = aligned(riehle, [("target_on", -400, 1000), ("move_onset", -300, 500)])
    for part in both.values():
        assert part.mean.sizes["unit"] == 142
        assert part.left_out == {"trials without move_onset": 7}
        assert int(part.n_trials.min()) >= 5
        assert float(part.mean.min()) >= 0


def test_halves_agree_far_better_than_shuffled_conditions(riehle: Recording) -> None:
    rates = binned(riehle, [("move_onset", -200.0, 400.0)], settings=PsthSettings(dt_ms=20, sd_ms=50))
    tuned = []
    for half in (0, 1):
        mean = average(rates, half=half)["move_onset"].mean
        tuned.append((mean - mean.mean("condition")).values)
    same = np.corrcoef(tuned[0].ravel(), tuned[1].ravel())[0, 1]
    other = np.corrcoef(tuned[0].ravel(), np.roll(tuned[1], 3, axis=0).ravel())[0, 1]
    assert same > 0.7
    assert other < 0


def test_a_real_session_survives_export(riehle_folder: Path, tmp_path: Path) -> None:
    session = read_nwb(riehle_folder / "riehle_sample.nwb")
    assert session.n_units == 5
    back = read_nwb(write_nwb(session, tmp_path / "back.nwb"))
    for a, b in zip(session.spike_times_s, back.spike_times_s, strict=True):
        np.testing.assert_array_equal(a, b)
    assert session.trials.equals(back.trials)
