"""The command `probe` as a user types it."""

from __future__ import annotations

import json
import sys

import pytest
import xarray as xr

from dynaprobe.cli import app
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.store import read_tree, write_tree
from dynaprobe.tasks.reach import DelayedReach

QUICK = ("noise_sd=[0,0.5]", "n_noise_trials=2", "switch_ms=[-100,50]")


@pytest.fixture
def network(tmp_path):
    task = DelayedReach(n_targets=4, dt_ms=20.0)
    made = CTRNN.make(NetworkSettings(n_units=8, dt_ms=20.0), n_inputs=3, n_outputs=4, seed=0)
    one = TrainedNetwork("s0-hand", made, "delayed_reach", task, "untrained", "", {}, {"score": 0.1}, xr.Dataset())
    write_tree(tmp_path / "run" / "networks" / "s0-hand.nc", one.to_groups())
    return tmp_path / "run"


def call(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["dynaprobe", "probe", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def add_other_task(folder) -> None:
    """A second network beside the first, of a task that no table knows."""
    groups = read_tree(folder / "networks" / "s0-hand.nc")
    about = json.loads(groups["network"].attrs["about"]) | {"id": "s0-other", "task_name": "balance_a_pole"}
    groups["network"] = groups["network"].assign_attrs(about=json.dumps(about))
    write_tree(folder / "networks" / "s0-other.nc", groups)


def test_a_run_is_probed_with_table_results_and_figures(tmp_path, network, monkeypatch, capsys):
    add_other_task(network)
    changes = [word for change in QUICK for word in ("--set", change)]
    code, out, err = call(monkeypatch, capsys, network, "--noise", "--switch", "--out", tmp_path / "out", *changes)
    assert code == 0, err
    assert "s0-hand" in out
    assert "unclear" in out  # an untrained network has no mechanism
    # One of another task stops nobody: it is named with the reason, and left out.
    assert "s0-other is left out: task must be one of delayed_reach, but got balance_a_pole" in out + err
    assert {file.name for file in (tmp_path / "out" / "probes").iterdir()} == {"s0-hand.nc"}
    stored = read_tree(tmp_path / "out" / "probes" / "s0-hand.nc")
    mechanism = {"input_removal", "state_swap", "state_swap_visible", "mechanism"}
    assert set(stored) == mechanism | {"input_noise", "target_switch", "account"}
    assert stored["input_noise"]["sd"].values.tolist() == [0.0, 0.5]
    drawn = {file.name for file in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {f"{name}.{end}" for name in ("noise", "switch", "switch_path") for end in ("svg", "pdf")}


def test_the_same_again_keeps_what_is_there_and_another_question_does_not(tmp_path, network, monkeypatch, capsys):
    file = tmp_path / "out" / "probes" / "s0-hand.nc"
    times = []
    for arguments in (("--mechanism",), ("--mechanism",), ("--mechanism", "--seed", 1)):
        assert call(monkeypatch, capsys, network, "--out", tmp_path / "out", *arguments)[0] == 0
        times.append(file.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]


def test_another_probe_is_added_to_what_is_there(tmp_path, network, monkeypatch, capsys):
    """Who asks for noise first and for switches later has both."""
    file = tmp_path / "out" / "probes" / "s0-hand.nc"
    changes = [word for change in QUICK for word in ("--set", change)]
    for probe in ("--noise", "--switch"):
        assert call(monkeypatch, capsys, network, "--out", tmp_path / "out", probe, *changes)[0] == 0
    together = read_tree(file)
    assert {"mechanism", "input_noise", "target_switch"} <= set(together)
    before = file.stat().st_mtime_ns
    assert call(monkeypatch, capsys, network, "--out", tmp_path / "out", "--noise", *changes)[0] == 0
    assert file.stat().st_mtime_ns == before
    call(monkeypatch, capsys, network, "--out", tmp_path / "out", "--switch", *changes, "--seed", 1)
    assert "input_noise" not in read_tree(file)  # of another seed


def test_what_cannot_be_probed_is_said_in_a_sentence(tmp_path, network, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, tmp_path / "nowhere", "--out", tmp_path / "out")
    assert code == 2
    assert "network must be a network file or the folder of a run" in err
    code, _, err = call(
        monkeypatch, capsys, network, "--noise", "--out", tmp_path / "out", "--set", "noise_sd=[1]"
    )
    assert code == 2
    assert "sd must grow from 0, but got [1.0]" in err
