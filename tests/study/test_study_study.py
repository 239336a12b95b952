"""What cannot work is refused before work starts, and leaves the folder free for the next try."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.export import write_nwb
from dynaprobe.studies import kao2019
from dynaprobe.study.progress import Silent
from dynaprobe.study.records import Verdict
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


class Steps:
    """A study of three steps, each of which leaves a file and does nothing where that is there."""

    FILES = ("networks/a", "probes/a", "results/mechanisms")

    def __init__(self) -> None:
        self.done: list[str] = []
        self.killed_at = ""

    def run(self, run):
        for name in self.FILES:
            if name == self.killed_at:
                raise KeyboardInterrupt
            if not run.store.has(name):
                self.done.append(name)
                run.store.save(name, {"x": xr.Dataset({"v": ("k", np.full(3, len(name)))})})
        status = {"status": ("network", np.array(["converged"] * 2))}
        controls = xr.Dataset({"status": ("network", np.array(["converged", "diverged", "converged"]))})
        run.store.save("results/summary", {"networks": xr.Dataset(status), "controls": controls})
        return [Verdict(kao2019.STUDY.claims[0], "undecided", "Nothing.", {})], {}


@pytest.mark.parametrize("name", Steps.FILES)
def test_a_run_killed_anywhere_or_damaged_after_comes_to_the_same_end(tmp_path, session, name):
    given = write_nwb(session, tmp_path / "given.nwb")
    steps = Steps()
    study = replace(kao2019.STUDY, run=steps.run, check=lambda *_: None)

    def go(out: str, **more) -> RunStore:
        return run_study(study, DEFAULTS, Request(tmp_path / out, given, **more), progress=Silent())

    def held(store: RunStore) -> dict[str, bytes]:
        files = store.manifest()["files"]
        return {file: store.path(file).read_bytes() for file in files}

    whole = held(go("whole"))
    assert set(whole) == {f"{one}.nc" for one in (*Steps.FILES, "results/summary")} | {"claims.json"}
    steps.killed_at = name
    with pytest.raises(KeyboardInterrupt):
        go("killed")
    steps.killed_at = ""
    killed = go("killed", resume=True)
    assert held(killed) == whole
    steps.done.clear()
    path = killed.path(f"{name}.nc")
    path.write_bytes(path.read_bytes()[:-300])
    assert held(go("killed", resume=True)) == whole
    assert steps.done == [name]
    assert killed.manifest()["state"] == "complete"
    # Controls are no networks of the comparison; they are counted, apart.
    assert killed.manifest()["counts"] == {
        "networks": 2, "converged": 2, "controls": {"networks": 3, "converged": 2, "diverged": 1}
    }  # fmt: skip


def test_a_fingerprint_looks_at_what_is_read_and_nothing_else(tmp_path):
    """Files that no reader takes, or that a desktop leaves behind, change nothing."""
    (tmp_path / "a.nwb").write_bytes(b"one")
    before = fingerprint(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("y")
    assert fingerprint(tmp_path) == before
    (tmp_path / "a.nwb").write_bytes(b"two")
    assert fingerprint(tmp_path) != before
