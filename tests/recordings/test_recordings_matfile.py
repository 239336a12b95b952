"""MATLAB files of both kinds come out as the same plain values; archives are never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mat_samples import WRITERS, write_mat5, write_mat73

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.arrays import contents, read_arrays
from dynaprobe.recordings.load import kind_of, load_psth
from dynaprobe.recordings.matfile import Unreadable, read_mat

VALUES: dict[str, Any] = {
    "tensor": np.arange(24.0).reshape(2, 3, 4),
    "row": np.array([[1.0, 2.0, 3.0]]),
    "flag": np.array([[True, False]]),
    "name": "monkey",
    "one": [{"a": np.array([[1.0]]), "b": "x"}],
    "many": [{"A": np.full((2, 3), float(k)), "label": f"c{k}", "inner": ["u", np.eye(2)]} for k in range(3)],
    "labels": ["left", "right"],
}


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert set(a) == set(b)
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    elif isinstance(a, np.ndarray):
        assert (a.dtype.kind == "b") == (b.dtype.kind == "b") or a.dtype.kind == "u"
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("version", WRITERS)
def test_every_kind_of_value_comes_back(tmp_path: Path, version: str) -> None:
    found = read_mat(WRITERS[version](tmp_path / "a.mat", VALUES))
    # Version 5 stores truth values as bytes that SciPy does not tell apart from numbers.
    found["flag"] = np.asarray(found["flag"], dtype=bool)
    assert_same(found, VALUES)


def test_empty_values_of_version_73(tmp_path: Path) -> None:
    found = read_mat(write_mat73(tmp_path / "a.mat", {"none": np.zeros((0, 3)), "text": ""}))
    assert found["none"].shape == (0, 3)
    assert found["text"] == ""


def test_objects_of_matlab_are_named_and_not_guessed(tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", {"x": np.eye(2)})
    with h5py.File(path, "r+") as file:
        file["t"] = np.zeros(6, dtype=np.uint32)
        file["t"].attrs["MATLAB_class"] = np.bytes_("table")
        file["t"].attrs["MATLAB_object_decode"] = np.int32(3)
    found = read_mat(path)
    assert found["t"] == Unreadable("table")
    assert "t (a MATLAB table, which only MATLAB can read)" in contents(found)


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, version: str, kept: float) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 30, 5))
    path = WRITERS[version](tmp_path / "a.mat", {"x": noise})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.mat: the file must be a complete MATLAB file, but got .*cut short"):
        read_mat(path)


def test_archives_of_plain_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rates=np.ones((4, 2, 3)), times=np.arange(4.0) * 10, label=np.array(["a"]))
    assert set(read_arrays(tmp_path / "a.npz")) == {"rates", "times", "label"}
    assert load_psth(tmp_path / "a.npz").sizes == {"condition": 3, "time": 4, "unit": 2}


class Bomb:
    """What it does when unpickled must never happen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was opened",))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rates=np.ones((4, 2, 3)), bad=np.array([Bomb()], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz: bad must be an array of numbers or text, but got an array of P"):
        load_psth(tmp_path / "a.npz")
    for name in ("a.pkl", "a.npy"):
        (tmp_path / name).write_bytes(b"\x80\x04.")
        with pytest.raises(DataError, match=r"may hold pickled Python objects.* numpy\.savez"):
            kind_of(tmp_path / name)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rates=np.ones((4, 2, 3)))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.npz: the file must be a complete \.npz archive"):
        read_arrays(tmp_path / "a.npz")


def test_a_file_without_rates_says_what_it_holds(tmp_path: Path) -> None:
    path = write_mat5(tmp_path / "a.mat", {"x": np.eye(2), "s": [{"a": 1.0, "b": 2.0}], "c": ["u"], "t": "w"})
    said = (
        r"got a file with x \(2 x 2\), s \(struct of 1 with the fields a, b\), c \(cell array of 1\), t \(text\)"
    )
    with pytest.raises(DataError, match=said):
        kind_of(path)
