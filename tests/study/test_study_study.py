"""What cannot work is refused before work starts, and leaves the folder free for the next try."""

from __future__ import annotations

from dataclasses import replace

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
