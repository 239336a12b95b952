"""Networks are known by what they are and not by what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.candidates import copies_between, read_candidates
from dynaprobe.study.lineup import check_ids
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.store import write_tree
from dynaprobe.tasks.reach import DelayedReach


def written(folder: Path, name: str, *, weights: int, seed: int = 0) -> Path:
    """A network file; `weights` decides what the network is, `seed` what its label says."""
    network = CTRNN.make(NetworkSettings(n_units=6), n_inputs=3, n_outputs=4, seed=weights)
    labels = {"activation": "tanh", "seed": seed}
    made = TrainedNetwork(
        name, network, "delayed_reach", DelayedReach(), "converged", "", labels, {}, xr.Dataset()
    )
    folder.mkdir(parents=True, exist_ok=True)
    return write_tree(folder / f"{name}.nc", made.to_groups())


def test_content_is_of_weights_and_not_of_names(tmp_path):
    files = [written(tmp_path, f"n{k}", weights=w, seed=k) for k, w in enumerate((1, 1, 2))]
    first, copy, other = (load_network(file).content for file in files)
    assert first == copy != other


def test_a_copy_within_a_candidate_is_left_out_and_said(tmp_path):
    for k, weights in enumerate((1, 2, 1)):
        written(tmp_path / "nets", f"n{k}", weights=weights, seed=k)
    (candidate,) = read_candidates([str(tmp_path / "nets")])
    assert [network.id for network in candidate.networks] == ["n0", "n1"]
    assert list(candidate.files) == ["n0", "n1"]
    assert candidate.about == "2 networks of nets. n2 is n0 under another name and is left out."


def test_a_network_in_two_candidates_is_said(tmp_path):
    written(tmp_path / "a", "n0", weights=1)
    written(tmp_path / "a", "n1", weights=2, seed=1)
    written(tmp_path / "b", "m5", weights=1, seed=5)
    candidates = read_candidates([str(tmp_path / "a"), str(tmp_path / "b")])
    assert copies_between(candidates) == ["a/n0 and b/m5 have the same weights: they are one network."]


def test_two_networks_of_one_name_are_refused_and_copies_are_not(tmp_path):
    for folder, weights, seed in (("a", 1, 0), ("b", 1, 3), ("c", 2, 0)):
        written(tmp_path / folder, "n0", weights=weights, seed=seed)
    a, b, c = (read_candidates([str(tmp_path / name)])[0] for name in "abc")
    check_ids([a, b])
    with pytest.raises(DataError, match="network must have a name of its own, but got n0, which is"):
        check_ids([a, c])
