"""Networks of several runs are told apart by name, and a name stands for one network."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import parse
from dynaprobe.study.plain import TrainSettings, comparison_of, train_ensemble

TINY = {
    "task": {"dt_ms": 20.0, "delay_range_ms": (100.0, 200.0), "catch_fraction": 0.0, "n_targets": 4},
    "network": {"n_units": 6, "dt_ms": 20.0},
    "fit": {"n_updates": 2, "batch_size": 4, "n_validation_trials": 8},
}


def trained(out: Path, *, seed: int) -> Path:
    train_ensemble(parse(TrainSettings, {**TINY, "n_seeds": 2}), out, seed=seed)
    return out


def test_one_name_for_two_networks_is_refused(tmp_path):
    """Networks of seeds 0 and 1, and of seeds 1 and 2: both runs hold an s1, each of its own run seed."""
    runs = [trained(tmp_path / f"run{seed}", seed=seed) for seed in (0, 1)]
    with pytest.raises(
        DataError, match=r"run1.*network must have a name of its own, but got s1-\w+, which is another"
    ):
        comparison_of(runs)


def test_the_same_network_named_twice_counts_once(tmp_path):
    run = trained(tmp_path / "run", seed=0)
    comparison_of([run, *sorted((run / "networks").glob("*.nc"))])
