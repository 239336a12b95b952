"""The commands as a user types them: what they print, what they leave, what they say of mistakes."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import xarray as xr
from rich.console import Console

from dynaprobe import __version__
from dynaprobe.cli import app
from dynaprobe.cli.console import TerminalProgress
from dynaprobe.cli.inputs import column_mapping, parse_changes, study_settings
from dynaprobe.core.errors import SettingsError
from dynaprobe.studies.kao2019 import STUDY
from dynaprobe.study.store import RunStore, read_json, read_tree

# Thirty units, few updates: enough that the networks move in every direction, not that they are good.
QUICK = (
    "network.n_units=30", "fit.n_updates=150", "fit.batch_size=24", "fit.threshold=0.2", "n_seeds=2",
    "rate_penalties=[0.0]", "simulated.n_units=30", "simulated.n_targets=6", "battery.comparison.n_floor=5",
    "battery.comparison.n_splits=1", "battery.comparison.n_surrogates=2", "battery.n_fixed_point_starts=16",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def dynaprobe(monkeypatch, capsys) -> Callable[..., Done]:
    """Runs a command as its entry point would, in this process: starting Python anew each time takes seconds."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["dynaprobe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        shown = capsys.readouterr()
        return Done(int(ended.value.code or 0), shown.out, shown.err)

    return call


def quick(out: Path, *more: str | Path) -> list[str | Path]:
    """A small study into a folder."""
    changes = [word for change in QUICK for word in ("--set", change)]
    return ["study", "kao2019", "--preset", "smoke", "--out", out, *changes, *more]


def test_help_is_quick_and_names_every_command(dynaprobe):
    code = "import sys, dynaprobe.cli.app; print([m for m in ('jax', 'xarray', 'matplotlib') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
    shown = dynaprobe("--help").out
    for command in (
        "tasks",
        "train",
        "study",
        "settings",
        "compare",
        "fixed-points",
        "probe",
        "simulate-recording",
        "report",
    ):
        assert command in shown


def test_settings_shown_are_settings_taken(tmp_path, dynaprobe):
    shown = dynaprobe("settings", "--preset", "smoke")
    file = tmp_path / "all.toml"
    file.write_text(shown.out)
    assert study_settings(STUDY, "demo", file, []) == study_settings(STUDY, "smoke", None, [])


def test_the_version_is_that_of_the_package(dynaprobe):
    assert dynaprobe("--version").out.split() == ["dynaprobe", __version__]


def test_tasks_are_listed_and_drawn(tmp_path, dynaprobe):
    assert "delayed_reach" in dynaprobe("tasks").out
    shown = dynaprobe("tasks", "delayed_reach", "--figure", tmp_path)
    assert "200 - 700" in shown.out
    assert "target_on" in shown.out
    assert {file.suffix for file in tmp_path.iterdir()} == {".svg", ".pdf"}


@pytest.mark.slow
def test_a_study_from_nothing_to_a_report(tmp_path, dynaprobe):
    """Simulated recording, training, battery, claims, page; then resumed, compared, fixed points found."""
    out = tmp_path / "run"
    first = dynaprobe(*quick(out))
    assert first.code == 0, first.err
    assert "No recording given" in first.out
    assert f"Everything is in {out}" in first.out.replace("\n", "")
    store = RunStore(out)
    manifest = store.manifest()
    assert manifest["state"] == "complete"
    assert manifest["counts"]["networks"] == 2
    assert manifest["recording"]["n_units"] == 30
    assert [verdict["claim"]["id"] for verdict in read_json(out / "claims.json")] == ["1", "2", "3", "4"]
    page = (out / "report" / "index.html").read_text()
    assert "Considerations in using recurrent neural networks" in page
    summary = store.load("results/summary")
    assert summary["networks"].sizes["network"] == 2

    again = dynaprobe(*quick(out))
    assert again.code == 2
    assert "--out must be a new folder unless --resume is given" in again.err
    resumed = dynaprobe(*quick(out, "--resume"))
    assert resumed.code == 0, resumed.err
    assert "This run is complete; nothing is computed again" in resumed.out
    whole = store.load("results/recording")
    damaged = out / "results" / "recording.nc"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    assert dynaprobe(*quick(out, "--resume")).code == 0
    for name, group in store.load("results/recording").items():
        xr.testing.assert_identical(group, whole[name])
    other = dynaprobe(*quick(out, "--resume", "--seed", "1"))
    assert other.code == 2
    assert "seed must be as in the run that is resumed, but got 1 now and 0 there" in other.err

    network = sorted((out / "networks").glob("*.nc"))[0]
    points = dynaprobe("fixed-points", network, "--starts", "16", "--out", tmp_path / "points.nc")
    assert points.code == 0, points.err
    assert "fixed point" in points.out
    assert "fixed_points" in read_tree(tmp_path / "points.nc")

    options = (
        "--set",
        "comparison.n_floor=5",
        "--set",
        "comparison.n_splits=1",
        "--set",
        "comparison.n_surrogates=2",
        "--set",
        "n_fixed_point_starts=16",
    )
    recording = out / "recording" / "simulated.nwb"
    compared = dynaprobe("compare", network, "--recording", recording, "--out", tmp_path / "compared", *options)
    assert compared.code == 0, compared.err
    assert "single units" in compared.out
    others = sorted((out / "networks").glob("*.nc"))
    stale = dynaprobe(
        "compare", *others, "--recording", recording, "--out", tmp_path / "compared", "--resume", *options
    )
    assert stale.code == 2
    assert "must be as in the run that is resumed" in stale.err
    # The same network, recording and seed: the same numbers, whichever command asked for them.
    row = RunStore(tmp_path / "compared").load("results/summary")["networks"].isel(network=0)
    place = summary["networks"]["id"].values.tolist().index(str(row["id"].item()))
    for name in ("population_raw", "single_unit_raw", "jpca_hz"):
        assert float(row[name]) == float(summary["networks"][name][place])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("study", "nope"), "study must be one of kao2019, but got nope"),
        (("study", "kao2019", "--preset", "huge"), "--preset must be one of smoke, demo, standard, full"),
        (("study", "kao2019", "--recording", "nowhere"), "--recording must be a file or a folder"),
        (("study", "kao2019", "--set", "fit.lr=1"), "setting must have a known name, but got fit.lr"),
        (("train", "--set", "network.dt_ms=5"), "dt_ms must be the same for network and task (10 ms)"),
        (
            ("compare", "nowhere"),
            "candidate must be a network file, the folder of a run, or a recording, but got nowhere",
        ),
        (("report", "nowhere"), "run must hold run.json, but got nowhere"),
        (("fixed-points", "nowhere.nc"), "nowhere.nc must be a file, but got a path where nothing is"),
        (("tasks", "juggling"), "task must be one of delayed_reach, but got juggling"),
        (("simulate-recording", "x.mat"), "the file to write must end in .nwb"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, dynaprobe, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    done = dynaprobe(*arguments)
    assert done.code == 2
    assert sentence in done.err.replace("\n", " ")
    assert "Traceback" not in done.err


def test_a_recording_that_lacks_an_event_says_how_to_map_it(tmp_path, dynaprobe):
    made = dynaprobe(
        "simulate-recording",
        tmp_path / "r.nwb",
        "--set",
        "n_units=5",
        "--set",
        "n_repeats=6",
        "--set",
        "n_targets=4",
    )
    assert made.code == 0, made.err
    wrong = dynaprobe(*quick(tmp_path / "run", "--recording", tmp_path / "r.nwb", "--map", "go_cue=nope_time"))
    assert wrong.code == 2
    assert "go_cue" in wrong.err
    assert "nope_time" in wrong.err
    assert "Traceback" not in wrong.err
    assert not (tmp_path / "run").exists(), "the corrected command must find its folder free"


def test_changes_are_read_as_toml():
    assert parse_changes(["a.b=3", "c=[1, 2]", "d=tanh", "e=true"]) == {
        "a.b": 3,
        "c": [1, 2],
        "d": "tanh",
        "e": True,
    }


def test_columns_are_mapped_from_both_places(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("[mapping]\ndirection = 'target'\n[mapping.events]\ngo_cue = 'go'\n")
    mapping = column_mapping(file, ["move_onset=mv", "n_directions=8"])
    assert mapping.direction == "target"
    assert dict(mapping.events) == {"go_cue": "go", "move_onset": "mv"}
    assert mapping.n_directions == 8
    with pytest.raises(SettingsError, match="--map must read ROLE=COLUMN, but got go_cue"):
        column_mapping(None, ["go_cue"])
    with pytest.raises(SettingsError, match=r"--map must name one of target_on, go_cue, .* but got gocue"):
        column_mapping(None, ["gocue=MyGo"])


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch, dynaprobe):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dynaprobe.report.html.write_report", interrupted)
    done = dynaprobe("report", tmp_path)
    assert done.code == 130
    assert "the same command goes on, with --resume if it has that" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mapping = 3", "ColumnMapping must be a valid dictionary"),
        ("[mapping]\nevents = 3", "events must be a list"),
        ("[mapping.events]\ngocue = 'MyGo'", "mapping.events must name one of target_on, go_cue, "),
        ("[mapping]\nn_directions = 0", "n_directions must be greater than or equal to 1, but got 0"),
        ("[mapping]\ndirections = 'x'", "must have a known name, but got directions. Did you mean direction"),
    ],
)
def test_a_bad_mapping_is_one_sentence_that_names_the_file(tmp_path, text, sentence):
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        column_mapping(file, [])
    assert str(caught.value).startswith(f"{file}: ")
    assert sentence in str(caught.value)


def test_events_are_taken_as_a_table_and_as_pairs(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("[mapping]\nevents = ['go_cue=go']\n")
    assert column_mapping(file, ["move_onset=mv"]).events == (("go_cue", "go"), ("move_onset", "mv"))


def test_a_narrow_terminal_still_shows_counts_and_time_left():
    written = io.StringIO()
    progress = TerminalProgress(Console(file=written, force_terminal=True, width=80))
    with progress.step("Train 14 networks (rectified_tanh), 1/2", 3000) as step:
        step.update(1500, "median loss 0.002, R2 0.910")
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue()).split("\r")[-1]
    assert re.search(r"rectified_tanh\), 1/2 .* 1500/3000 0:00:\d\d left [-0-9]:[-0-9]{2}", last)
