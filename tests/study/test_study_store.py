"""The store: whole files or none, the same run or a refusal, damage set aside."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.study.store import RunStore, read_json, read_tree, write_atomically, write_json, write_tree


@pytest.fixture
def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "x": (("condition", "unit"), rng.normal(size=(3, 2))),
            "kind": ("condition", ["a", "b", "c"]),
            "flag": ("unit", [True, False]),
            "missing": ("unit", [np.nan, 1.0]),
            "score": 1.5,
        },
        coords={"condition": ["c1", "c2", "c3"], "n_trials": ("condition", [1, 2, 3])},
        attrs={"settings": "{}"},
    )


@pytest.fixture
def store(tmp_path) -> RunStore:
    store = RunStore(tmp_path / "run")
    store.start({"a": (1, 2), "nested": {"b": 0.5}}, study="kao2019", seed=3, resume=False)
    return store


def test_a_tree_comes_back_as_it_went(tmp_path, dataset):
    path = write_tree(tmp_path / "deep" / "file.nc", {"one": dataset, "two": dataset.isel(condition=[0])})
    back = read_tree(path)
    assert list(back) == ["one", "two"]
    xr.testing.assert_identical(back["one"], dataset)
    xr.testing.assert_identical(back["two"], dataset.isel(condition=[0]))


def test_json_comes_back_as_it_went(tmp_path):
    values = {"text": "θ", "number": 0.1, "list": [1, None, True]}
    assert read_json(write_json(tmp_path / "x.json", values)) == values


def test_what_is_not_finite_is_null_in_json(tmp_path):
    path = write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("-inf"), (1.5,)]})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"a": None, "b": [None, [1.5]]}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def half(target):
        target.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"x\.txt must be written, but got No space left on device"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EROFS, "Choose an --out in which you may write"),
        (errno.ENOTDIR, "does not lead through a file"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_what_cannot_be_written_has_a_remedy_that_fits(tmp_path, number, remedy):
    def fails(_):
        raise OSError(number, os.strerror(number))

    with pytest.raises(DataError, match=f"{re.escape(os.strerror(number))}.*{remedy}"):
        write_atomically(tmp_path / "x", fails)


def test_a_killed_writer_leaves_whole_files_only(tmp_path):
    """A process that does nothing but rewrite one file is killed at random moments; the file is always whole."""
    code = (
        "import sys, numpy as np, xarray as xr; from pathlib import Path\n"
        "from dynaprobe.study.store import write_tree\n"
        "k = 0\n"
        "while True:\n"
        "    write_tree(Path(sys.argv[1]), {'g': xr.Dataset({'x': ('n', np.full(50_000, float(k)))})}); k += 1\n"
    )
    path = tmp_path / "x.nc"
    for delay_s in (0.0, 0.05, 0.11):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 60
        before = path.stat().st_mtime_ns if path.exists() else -1
        while time.monotonic() < deadline and (not path.exists() or path.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        values = read_tree(path)["g"]["x"].values
        assert values.size == 50_000
        assert np.all(values == values[0])


def test_a_truncated_file_is_named_and_set_aside(store, dataset):
    path = store.save("results/pca", {"recording": dataset})
    assert store.has("results/pca")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"pca\.nc must be a whole netCDF file.*--resume"):
        store.load("results/pca")
    assert not store.has("results/pca")
    assert path.with_suffix(".damaged").exists()


def test_same_settings_resume_and_clear_leftovers(store):
    leftover = store.path("networks", ".x-abc.tmp.nc")
    leftover.parent.mkdir()
    leftover.write_text("half")
    store.start({"a": (1, 2), "nested": {"b": 0.5}}, study="kao2019", seed=3, resume=True)
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"settings": {"a": (1, 2), "nested": {"b": 0.7}}},
            "settings.nested.b must be as in the run that is resumed, but got 0.7 now and 0.5 there. "
            "Resume with the same options",
        ),
        ({"seed": 4}, "seed must be as in the run that is resumed, but got 4 now and 3 there"),
        ({"resume": False}, "--out must be a new folder unless --resume is given"),
    ],
)
def test_another_run_is_refused(store, change, sentence):
    options = {"settings": {"a": (1, 2), "nested": {"b": 0.5}}, "seed": 3, "resume": True, **change}
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        store.start(options["settings"], study="kao2019", seed=options["seed"], resume=options["resume"])


def test_a_folder_with_other_things_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match="nothing there was touched"):
        RunStore(tmp_path).start({}, study="kao2019", seed=0, resume=False)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_newer_format_is_refused_with_a_sentence(store):
    manifest = store.manifest()
    manifest["provenance"]["format_version"] = 99
    write_json(store.manifest_path, manifest)
    with pytest.raises(DataError, match="format_version must be 1, but got 99"):
        store.start({}, study="kao2019", seed=3, resume=True)


def test_no_run_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"run must hold run\.json"):
        RunStore(tmp_path / "nowhere").manifest()


def test_manifest_tells_what_a_run_depends_on(store):
    store.finish(networks=7)
    manifest = store.manifest()
    assert manifest["state"] == "complete"
    assert manifest["networks"] == 7
    assert {"dynaprobe", "jax", "numpy"} <= manifest["provenance"]["packages"].keys()


@pytest.mark.parametrize("name", ["networks/control", "probes/a", "results/mechanisms", "results/alone/b"])
@pytest.mark.parametrize("blow", ["gone", "cut"])
def test_a_complete_run_holds_all_it_held_at_its_end(store, name, blow):
    """Whatever kind of result is lost, the run is gone through again; damaged files are set aside for that."""
    for one in ("networks/a", "networks/control", "probes/a", "results/mechanisms", "results/alone/b"):
        store.save(one, {"x": xr.Dataset({"v": ("k", np.arange(3.0))})})
    write_json(store.path("claims.json"), [])
    assert not store.is_complete()
    store.finish()
    assert store.is_complete()
    # What a report or a second look writes is no part of the run.
    store.make_folder("report")
    store.path("report", "x.csv").write_text("1")
    store.path("results", "x.damaged").write_text("1")
    store.finish()
    store.path("report", "x.csv").unlink()
    assert store.is_complete()
    path = store.path(f"{name}.nc")
    content = path.read_bytes()
    path.write_bytes(content[:-100]) if blow == "cut" else path.unlink()
    assert not store.is_complete()
    assert not path.exists()
    path.write_bytes(content)
    assert store.is_complete()


@pytest.mark.parametrize("content", [None, '[{"claim"'])
def test_a_run_without_its_claims_is_not_complete(store, content):
    write_json(store.path("claims.json"), [])
    store.finish()
    store.path("claims.json").unlink()
    if content is not None:
        store.path("claims.json").write_text(content)
    assert not store.is_complete()


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    """The second is refused and touches nothing; a killed run leaves no lock."""
    code = (
        "import sys; from dynaprobe.study.store import RunStore\n"
        "store = RunStore(sys.argv[1])\n"
        "store.start({'a': 1}, study='kao2019', seed=3, resume=False)\n"
        "print('at work', flush=True); sys.stdin.read()"
    )
    store = RunStore(tmp_path / "run")
    command = [sys.executable, "-c", code, str(store.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "at work\n"
        temporary = store.path(".its.tmp.nc")
        temporary.write_text("half")
        with pytest.raises(SettingsError, match="--out must be a folder in which no other run is at work"):
            store.start({"a": 1}, study="kao2019", seed=3, resume=True)
        assert temporary.exists()
        first.kill()
    store.start({"a": 1}, study="kao2019", seed=3, resume=True)
    assert not temporary.exists()


def test_a_full_disk_does_not_reach_hdf5(tmp_path, dataset, monkeypatch):
    """HDF5 that fails to flush crashes the process when its objects are freed; it must only ever see memory."""

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(DataError, match=r"x\.nc must be written, but got No space left on device"):
        write_tree(tmp_path / "x.nc", {"g": dataset})
    assert not list(tmp_path.iterdir())


def test_a_path_without_a_file_is_not_called_damaged(tmp_path):
    with pytest.raises(DataError, match=r"x\.nc must be a file, but got a path where nothing is"):
        read_tree(tmp_path / "x.nc")


@pytest.mark.parametrize("content", ["[]", "{}", '{"study": "kao2019"}'])
def test_a_manifest_of_something_else(store, content):
    store.manifest_path.write_text(content)
    with pytest.raises(DataError, match=r"run\.json must be what a run writes about itself"):
        store.manifest()


def test_some_groups_are_read_as_in_the_whole(tmp_path):
    store = RunStore(tmp_path)
    one = xr.Dataset({"a": ("x", [1.0, 2.0])}, coords={"x": [3, 4], "scalar": 5.0}, attrs={"why": "because"})
    store.save("results/many", {"one": one, "two": xr.Dataset({"b": 1.0}), "three": xr.Dataset(attrs={"c": "d"})})
    some = store.load("results/many", only=["three", "one", "four"])
    assert list(some) == ["three", "one"]
    xr.testing.assert_identical(some["one"], one)
    assert some["three"].attrs == {"c": "d"}
    path = tmp_path / "results" / "many.nc"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"many\.nc"):
        store.load("results/many", only=["one"])
