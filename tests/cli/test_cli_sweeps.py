"""The commands for many networks, as a user types them."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from dynaprobe.cli import app
from dynaprobe.study import sweeping
from dynaprobe.study.store_seal import seal
from dynaprobe.study.store_sweep import SweepStore

SETTINGS = """
[task]
dt_ms = 20.0
[network]
n_units = 6
dt_ms = 20.0
[sweep]
seeds = 2
grid."network.activation" = ["tanh", "relu"]
"""


@pytest.fixture
def dynaprobe(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["dynaprobe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def store(tmp_path):
    store = SweepStore(tmp_path / "store")
    store.open()
    folder = store.make_folder("networks")
    for k in range(6):
        facts = {
            "id": f"job-{k}",
            "status": "converged" if k else "diverged",
            "scores": {"score": k / 10 if k else None},
            "settings": {"network": {"activation": ("tanh", "relu")[k % 2]}, "fit": {"penalty_rate": k % 3}},
        }
        (folder / f"job-{k}.nc").write_bytes(seal(b"content", facts))
    return store


def test_a_table_of_results_is_shown_filtered_and_sorted(store, dynaprobe):
    code, out, _ = dynaprobe("runs", store.folder, "--where", "activation == 'tanh' and penalty_rate > 0")
    assert code == 0
    assert [k for k in range(6) if f"job-{k}" in out] == [2, 4]
    assert "2 of 6 results" in out
    _, out, _ = dynaprobe("runs", store.folder, "--sort", "-score", "--limit", "2")
    assert [k for k in range(6) if f"job-{k}" in out] == [4, 5]
    assert out.index("job-5") < out.index("job-4")
    assert "6 of 6 results; the first 2 are shown, --csv writes all" in out


def test_in_a_file_every_result_is_one_line_and_headings_break_between_words(store, dynaprobe):
    _, out, _ = dynaprobe("runs", store.folder)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("job-")] == [f"job-{k}" for k in range(6)]
    assert lines[0].split() == ["penalty"]
    assert lines[1].split() == ["id", "status", "score", "activation", "rate"]
    row = next(line for line in lines if line.startswith("job-3"))
    assert row.split() == ["job-3", "converged", "0.3", "relu", "0"]


def test_a_table_goes_to_csv_and_parquet(tmp_path, store, dynaprobe):
    pytest.importorskip("pyarrow")
    _, out, _ = dynaprobe("runs", store.folder, "--csv", tmp_path / "t", "--parquet", tmp_path / "t.parquet")
    assert "6 rows written to" in out
    assert list(pd.read_csv(tmp_path / "t.csv")["id"]) == [f"job-{k}" for k in range(6)]
    assert len(pd.read_parquet(tmp_path / "t.parquet")) == 6


def test_a_store_of_another_format_is_refused_and_not_shown(store, dynaprobe):
    store.manifest_path.write_text(
        store.manifest_path.read_text().replace('"format_version": 1', '"format_version": 2')
    )
    code, out, err = dynaprobe("runs", store.folder)
    assert code != 0
    assert "format_version must be 1, but got 2" in " ".join(err.split())
    assert "job-1" not in out
    assert not store.path("index.jsonl").exists()


def test_failures_work_in_progress_and_damage_are_told(store, dynaprobe):
    store.note_failure("job-9", "the process ran out of memory (try 3 of 3)", n_tries=3)
    claim = store.claim("job-8")
    assert claim is not None
    code, out, _ = dynaprobe("runs", store.folder)
    assert code == 0
    assert "1 in work" in out
    assert "job-9 has no result: the process ran out of memory (try 3 of 3)" in out
    code, out, _ = dynaprobe("runs", store.folder, "--check")
    assert code == 0  # what these files hold is no netCDF, but it is what was written
    assert "All are whole" in out
    file = store.path("networks", "job-3.nc")
    file.write_bytes(file.read_bytes().replace(b"content", b"contend"))
    code, out, _ = dynaprobe("runs", store.folder, "--check")
    assert code == 1
    assert "job-3.nc must hold what was written to it" in out
    assert "1 damaged files; the same sweep computes them again" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--where", "__import__('os')"], "--where must hold columns, constants"),
        (["--where", "penalty > 0"], "Did you mean"),
        (["--sort", "nothing"], "--sort must name columns of the table"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(store, dynaprobe, arguments, sentence):
    code, _, err = dynaprobe("runs", store.folder, *arguments)
    assert code == 2
    assert sentence in err


def test_the_table_is_there_without_jax(store):
    """It is asked for often, on login nodes and while the cores are busy."""
    code = (
        "import sys; from dynaprobe.cli import app\n"
        "try: app.app()\nfinally: print([m for m in ('jax', 'xarray', 'h5py') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "runs", str(store.folder), "--where", "score > 0.3"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "2 of 6 results" in shown
    assert shown.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('[sweep]\ngrid."network.activatoin" = ["tanh"]', "Did you mean network.activation"),
        ("[sweep]\nsed = 3", "Did you mean seeds"),
        ("[network]\nn_unit = 3", "Did you mean network.n_units"),
        ("[sweep\n", "settings file must be valid TOML"),
        ('[sweep]\nlist = [{ "fit.n_updates" = 0 }]', "fit.n_updates must be greater than or equal to 1"),
    ],
)
def test_bad_settings_are_said_before_anything_is_made(tmp_path, dynaprobe, settings, sentence):
    file = tmp_path / "my.toml"
    file.write_text(settings)
    code, _, err = dynaprobe("sweep", file, "--out", tmp_path / "store")
    assert code == 2
    assert sentence in err
    assert str(file) in err.replace("\n", "")
    assert not (tmp_path / "store").exists()


def test_an_interrupted_sweep_says_what_there_is_and_how_to_go_on(tmp_path, dynaprobe, monkeypatch):
    file = tmp_path / "my.toml"
    file.write_text(SETTINGS)

    def interrupted(jobs, store, *_, **__):
        store.make_folder("networks").joinpath("a.nc").write_bytes(b"")
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "run_sweep", interrupted)
    code, out, err = dynaprobe("sweep", file, "--out", tmp_path / "store")
    assert code == 130
    assert "store holds 1 networks; others in work go on from their checkpoints" in out
    assert err.strip() == "Interrupted. What was finished is kept; the same command goes on."


def test_curves_with_gaps_are_said_at_the_end_and_are_no_failure(tmp_path, dynaprobe, monkeypatch):
    file = tmp_path / "my.toml"
    file.write_text(SETTINGS)
    report = sweeping.SweepReport(4, (), ("a", "b", "c", "d"), (), {}, {"wandb": "CommError: no route to host"})
    monkeypatch.setattr(sweeping, "run_sweep", lambda *_, **__: report)
    code, out, _ = dynaprobe("sweep", file, "--out", tmp_path / "store")
    assert code == 0
    assert "4 networks trained" in out
    assert "Curves for wandb have gaps: CommError: no route to host. The results are complete" in out


def test_a_folder_of_something_else_is_not_touched(tmp_path, dynaprobe):
    file = tmp_path / "my.toml"
    file.write_text(SETTINGS)
    code, _, err = dynaprobe("sweep", file, "--out", tmp_path)
    assert code == 2
    assert "--out must be a new folder, an empty one or the store of a sweep" in err
    assert list(tmp_path.iterdir()) == [file]


def test_trackers_that_are_unknown_are_said(tmp_path, dynaprobe):
    file = tmp_path / "my.toml"
    file.write_text(SETTINGS)
    code, _, err = dynaprobe("sweep", file, "--out", tmp_path / "store", "--track", "paper")
    assert code == 2
    assert "--track must be one of tensorboard, wandb, but got paper" in err
