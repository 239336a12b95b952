"""Training a sweep: interruptions and neighbours change no number; files are all one needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study.jobs import JobSettings, train
from dynaprobe.study.networks import load_network, tree_from_dataset, tree_to_dataset
from dynaprobe.study.progress import Silent
from dynaprobe.study.store import RunStore, read_tree, write_tree
from dynaprobe.study.sweep import grid
from dynaprobe.tasks.reach import DelayedReach

TINY = {
    "task": {"dt_ms": 20.0, "delay_range_ms": (100.0, 200.0), "catch_fraction": 0.0, "n_targets": 4},
    "network": {"n_units": 6, "dt_ms": 20.0},
    "fit": {
        "n_updates": 12,
        "batch_size": 4,
        "n_validation_trials": 8,
        "validate_every": 4,
        "checkpoint_every": 4,
    },
}
AXES = {"fit.penalty_rate": [0.0, 0.1]}


class StoppedError(Exception):
    pass


class StopsAt(Silent):
    """Raises once so many updates are done, as Ctrl-C would."""

    def __init__(self, update: int) -> None:
        self.update = update

    @contextmanager
    def step(self, title: str, total: float) -> Iterator[StopsAt.Step]:
        yield StopsAt.Step(self.update)

    class Step:
        def __init__(self, last: int) -> None:
            self.last = last

        def update(self, done: float, note: str = "") -> None:
            if done >= self.last:
                raise StoppedError


def new_store(folder: Path) -> RunStore:
    store = RunStore(folder)
    store.start({}, study="test", seed=0, resume=store.exists())
    return store


def jobs(n_seeds: int = 2):
    return grid(parse(JobSettings, TINY), AXES, seeds=list(range(n_seeds)))


def assert_same_networks(first: Path, second: Path, names: list[str]) -> None:
    for name in names:
        one, other = read_tree(first / f"{name}.nc"), read_tree(second / f"{name}.nc")
        for group in ("network", "history"):
            xr.testing.assert_identical(one[group].drop_attrs(), other[group].drop_attrs())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    train(jobs(), new_store(folder))
    return folder / "networks"


def test_an_interrupted_sweep_ends_with_the_same_numbers(tmp_path, undisturbed):
    with pytest.raises(StoppedError):
        train(jobs(), new_store(tmp_path / "run"), progress=StopsAt(9))
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    networks = train(jobs(), new_store(tmp_path / "run"))
    assert_same_networks(undisturbed, tmp_path / "run" / "networks", [network.id for network in networks])
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_network_does_not_depend_on_its_neighbours(tmp_path, undisturbed):
    alone = jobs()[3:]
    train(alone, new_store(tmp_path / "run"))
    assert_same_networks(undisturbed, tmp_path / "run" / "networks", [alone[0].id])


def test_finished_networks_are_read_back_and_a_lost_one_is_trained_again(tmp_path, undisturbed):
    store = new_store(tmp_path / "run")
    train(jobs(), store)
    names = [job.id for job in jobs()]
    before = {name: store.path("networks", f"{name}.nc").stat().st_mtime_ns for name in names}
    train(jobs(), store)
    assert before == {name: store.path("networks", f"{name}.nc").stat().st_mtime_ns for name in names}
    store.path("networks", f"{names[1]}.nc").write_bytes(b"half a file")
    train(jobs(), store)
    assert_same_networks(undisturbed, store.path("networks"), names)


def test_a_damaged_checkpoint_is_not_used(tmp_path, undisturbed):
    store = new_store(tmp_path / "run")
    with pytest.raises(StoppedError):
        train(jobs(), store, progress=StopsAt(9))
    checkpoint = next((tmp_path / "run" / "checkpoints").iterdir())
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    networks = train(jobs(), store)
    assert_same_networks(undisturbed, tmp_path / "run" / "networks", [network.id for network in networks])


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_numbers(tmp_path):
    """kill -9 as soon as the first checkpoint is there, by the command line, against a run left alone."""
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "n_seeds = 2\n[task]\ndt_ms = 20.0\ndelay_range_ms = [100.0, 200.0]\nn_targets = 4\n"
        "[network]\nn_units = 6\ndt_ms = 20.0\n"
        "[fit]\nn_updates = 800\nbatch_size = 4\nn_validation_trials = 8\ncheckpoint_every = 200\n"
    )

    def command(out: str, *more: str) -> list[str]:
        program = [sys.executable, "-m", "dynaprobe.cli.app", "train", "--settings", str(settings)]
        return [*program, "--out", str(tmp_path / out), *more]

    # The three processes share their compiled programs, in a cache of their own.
    env = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "true", "DYNAPROBE_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, env=env)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("checkpoints/[!.]*.nc")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    resumed = subprocess.run(command("killed", "--resume"), check=True, capture_output=True, text=True, env=env)
    assert "Going on from update" in resumed.stdout
    subprocess.run(command("alone"), check=True, capture_output=True, env=env)
    names = sorted(file.stem for file in (tmp_path / "alone" / "networks").iterdir())
    assert len(names) == 2
    assert_same_networks(tmp_path / "alone" / "networks", tmp_path / "killed" / "networks", names)


def test_a_network_file_gives_back_network_and_task(undisturbed):
    job = jobs()[2]
    loaded = load_network(undisturbed / f"{job.id}.nc")
    assert loaded.task == job.settings.task
    assert isinstance(loaded.task, DelayedReach)
    assert loaded.labels == {"penalty_rate": 0.1, "seed": 0}
    assert loaded.status in ("converged", "below_threshold")
    assert set(loaded.scores) == {"r2_velocity", "r2_position", "score"}
    inputs = loaded.task.condition_trials().inputs
    assert np.isfinite(np.asarray(loaded.network.rollout(inputs).outputs)).all()
    assert loaded.history.sizes["update"] == 12


def test_another_file_is_no_network(tmp_path):
    path = write_tree(tmp_path / "x.nc", {"psth": xr.Dataset({"a": 1.0})})
    with pytest.raises(DataError, match=r"x\.nc must hold a network, but got the groups psth"):
        load_network(path)


def test_a_tree_of_arrays_comes_back_bit_for_bit():
    tree = {
        "a": jax.numpy.arange(3.0),
        "b": (jax.numpy.float32(2.5), jax.numpy.array([True, False])),
        "c": "static",
    }
    back = tree_from_dataset(tree_to_dataset(tree), tree)
    assert back["c"] == "static"
    for one, other in zip(jax.tree.leaves(tree)[:3], jax.tree.leaves(back)[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match="checkpoint must hold the 1 arrays of this fit, but got 3 arrays"):
        tree_from_dataset(tree_to_dataset(tree), {"a": jax.numpy.arange(3.0)})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"task_name": "juggling"}, "task must be one of delayed_reach, but got juggling"),
        (
            {"task": {"n_target": 4}},
            "task: setting must have a known name, but got n_target. Did you mean n_targets",
        ),
        ({"network": {"activation": "tahn"}}, "network.activation must"),
        ({"fit": {"n_updates": 0}}, "fit.n_updates must be greater than or equal to 1, but got 0"),
    ],
)
def test_bad_settings_are_said_before_work_starts(values, sentence):
    with pytest.raises(SettingsError, match=sentence):
        parse(JobSettings, values)
