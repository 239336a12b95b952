"""Networks of several runs are told apart by name, and a name stands for one network."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_parts import TINY

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import parse
from dynaprobe.study.candidates import Candidate, read_candidates
from dynaprobe.study.lineup import check_ids
from dynaprobe.study.store import read_tree, write_tree
from dynaprobe.study.train_alone import TrainSettings, train_ensemble


def trained(out: Path, *, seed: int) -> Path:
    train_ensemble(parse(TrainSettings, {**TINY, "n_seeds": 2}), out, seed=seed)
    return out


def checked(*paths: Path) -> list[Candidate]:
    candidates = read_candidates([str(path) for path in paths])
    check_ids(candidates)
    return candidates


def test_networks_of_runs_of_other_seeds_have_other_names(tmp_path):
    """Both runs hold a network of seed 1; they saw other trials and are compared side by side."""
    runs = [trained(tmp_path / f"run{seed}", seed=seed) for seed in (0, 1)]
    candidates = checked(*runs)
    assert len({name for one in candidates for name in one.files}) == 4
    assert [one.name for one in candidates] == ["run0", "run1"]


def test_one_name_for_two_networks_is_refused(tmp_path):
    """A network that was trained on under its old name."""
    first = trained(tmp_path / "run0", seed=0)
    file = sorted((first / "networks").glob("*.nc"))[0]
    groups = read_tree(file)
    groups["network"]["b"] = groups["network"]["b"] + 1
    write_tree(tmp_path / "run1" / "networks" / file.name, groups)
    with pytest.raises(
        DataError, match=r"run1.*network must have a name of its own, but got tanh_6-s0-\w+, which is another"
    ):
        checked(first, tmp_path / "run1")


def test_the_same_network_may_be_named_twice(tmp_path):
    run = trained(tmp_path / "run", seed=0)
    candidates = checked(run, *sorted((run / "networks").glob("*.nc")))
    assert [len(one.files) for one in candidates] == [2, 1, 1]
    # Twelve updates teach nothing: such networks are no candidates, and the reason is kept.
    assert not any(one.is_usable for one in candidates)
    assert "stays below" in next(iter(candidates[0].left_out.values()))
