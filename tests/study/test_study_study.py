"""What cannot work is refused before work starts, and leaves the folder free for the next try."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.export import write_nwb
from dynaprobe.studies import kao2019
from dynaprobe.study.progress import Silent
from dynaprobe.study.store import RunStore
from dynaprobe.study.study import Request, fingerprint, run_study
from dynaprobe.study.teacher import teacher_recording

DEFAULTS = kao2019.Kao2019Settings()


@pytest.fixture(scope="module")
def session():
    return teacher_recording(n_units=4, n_repeats=6, n_targets=4, delay_ms=500.0, seed=0).sessions[0]


@pytest.fixture
def refused(tmp_path):
    """The sentence with which the study refuses a session; the folder asked for must stay untouched."""

    def run(session, settings=DEFAULTS, **more) -> str:
        given = write_nwb(session, tmp_path / "given.nwb")
        request = Request(tmp_path / "run", given, **more)

        def trained(_):
            raise AssertionError("work has started")

        with pytest.raises(DataError) as caught:
            run_study(replace(kao2019.STUDY, run=trained), settings, request, progress=Silent())
        assert not RunStore(request.out).exists()
        return str(caught.value)

    return run


def test_a_missing_event(session, refused):
    lame = replace(session, trials=session.trials.drop(columns="move_onset"), events=("target_on", "go_cue"))
    assert "given.nwb: move_onset must be an event of the recording" in refused(lame)


def test_a_column_that_is_not_there(session, refused):
    mapping = ColumnMapping(events=(("go_cue", "nonsense"),))
    assert "the column of go_cue (nonsense) must be in the trial table" in refused(session, mapping=mapping)


def test_a_window_that_the_delay_has_no_room_for(session, refused):
    settings = kao2019.Kao2019Settings().with_changes(
        {"battery.comparison.preparatory_window_ms": (500.0, 1000.0)}
    )
    assert "preparatory_window_ms must end before the go cue" in refused(session, settings)


def test_too_few_trials(session, refused):
    settings = kao2019.Kao2019Settings().with_changes({"battery.comparison.psth.min_trials": 7})
    assert "have a unit with 7 usable trials in each of 4 conditions" in refused(session, settings)


def test_too_few_directions(session, refused):
    trials = session.trials.assign(direction_deg=session.trials["direction_deg"] // 180 * 180)
    assert "must have at least 3 directions" in refused(replace(session, trials=trials))


def test_silence_in_every_window(session, refused):
    early = tuple(np.array([1e-3]) for _ in session.spike_times_s)
    sentence = refused(replace(session, spike_times_s=early))
    assert "must have spikes about target onset or movement onset" in sentence


def test_movement_before_the_go_cue(session, refused):
    trials = session.trials.assign(move_onset=session.trials["go_cue"] - 0.05)
    sentence = refused(replace(session, trials=trials))
    assert (
        "move_onset must come after go_cue, in the median trial, but got a median of -50 ms after it" in sentence
    )


def test_the_advice_for_a_short_delay_can_be_followed(session, refused):
    """At 250 ms a window inside the delay is named; without a delay there is none to name."""
    for delay_s, advice in ((0.25, r"e.g. [62.5, 250]"), (0.0, "Without a delay there is no preparation")):
        trials = session.trials.assign(target_on=session.trials["go_cue"] - delay_s)
        assert advice in refused(replace(session, trials=trials))


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "run").write_text("a note")
    request = Request(tmp_path / "run")
    with pytest.raises(SettingsError, match="--out must be a new, an empty or a run's folder"):
        run_study(kao2019.STUDY, DEFAULTS, request, progress=Silent())
    assert (tmp_path / "run").read_text() == "a note"


def test_a_fingerprint_looks_at_what_is_read_and_nothing_else(tmp_path):
    """Files that no reader takes, or that a desktop leaves behind, change nothing."""
    (tmp_path / "a.nwb").write_bytes(b"one")
    before = fingerprint(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("y")
    assert fingerprint(tmp_path) == before
    (tmp_path / "a.nwb").write_bytes(b"two")
    assert fingerprint(tmp_path) != before
