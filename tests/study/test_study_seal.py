"""The seal of a result: whole or noticed, facts without the file, and netCDF for everyone else."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaprobe.core.errors import DataError
from dynaprobe.study.store_files import check_whole, read_tree, write_tree
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.study.store_seal import NotJudgedError, read_facts, seal, unseal

FACTS = {"id": "a", "score": 0.5, "nested": {"list": [1, 2], "text": "θ"}, "none": None}


@pytest.fixture
def path(tmp_path):
    data = xr.Dataset({"x": ("n", np.arange(500.0))})
    return write_tree(tmp_path / "x.nc", {"group": data}, FACTS)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(content=st.binary(max_size=200), facts=st.dictionaries(st.text(max_size=5), plain, max_size=4))
@settings(max_examples=60, deadline=None)
def test_content_and_facts_come_back(tmp_path_factory, content, facts):
    path = tmp_path_factory.getbasetemp() / "any.nc"
    path.write_bytes(seal(content, facts))
    assert unseal(path.read_bytes(), path) == (content, facts)
    assert read_facts(path) == facts


def test_facts_longer_than_one_read_come_back(tmp_path):
    path = tmp_path / "x.nc"
    facts = {"settings": "x" * 100_000}
    path.write_bytes(seal(b"content", facts))
    assert read_facts(path) == facts


def test_other_programs_read_a_sealed_file(path):
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["group/x"], np.arange(500.0))
    with xr.open_dataset(path, group="group", engine="h5netcdf") as opened:
        assert opened["x"].sizes == {"n": 500}


def test_every_change_of_a_byte_is_noticed(path):
    """HDF5 alone reads most of these without a word."""
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    places = [0, 9, len(content) - 1, len(content) - 40, *rng.integers(0, len(content), 60)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:
            unseal(path.read_bytes(), path)[1]["id"]  # type: ignore[index]
        except (DataError, TypeError):
            continue  # noticed, or no seal at all, which is no silent change either
        pytest.fail(f"byte {place} of {len(content)} was changed without notice")
    path.write_bytes(content)
    check_whole(path)


@pytest.mark.parametrize("kept", [0, 1, 100, 3000, -200, -100, -1])
def test_a_cut_file_has_no_facts_and_is_not_taken_for_whole(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    assert read_facts(path) is None
    if kept > -200:
        return  # the netCDF part may be all there: then nothing is lost but the facts
    assert not ResultFolder(path.parent).is_whole("x")


def test_a_changed_file_is_a_sentence(path):
    content = bytearray(path.read_bytes())
    content[5000] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.nc must hold what was written to it.*run the same command again"):
        read_tree(path)


def test_a_later_seal_is_refused_and_not_misread(path):
    path.write_bytes(path.read_bytes().replace(b"dynaprobe-seal 0001", b"dynaprobe-seal 0002"))
    for read in (read_tree, read_facts, check_whole):
        with pytest.raises(DataError, match=r"seal must be of version 1, but got version 2.*or a later one"):
            read(path)


def test_what_cannot_be_judged_is_not_set_aside(path, monkeypatch):
    """Rights and networks come back; a file of a later version is somebody's result."""
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"dynaprobe-seal 0001", b"dynaprobe-seal 0002"))
    with pytest.raises(NotJudgedError, match="seal must be of version 1"):
        ResultFolder(path.parent).has("x")
    path.write_bytes(whole)

    def refuses(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuses)
        with pytest.raises(NotJudgedError, match=r"x\.nc must be readable, but got Permission denied\. Check who"):
            ResultFolder(path.parent).has("x")
    assert path.read_bytes() == whole
    assert not path.with_suffix(".damaged").exists()


def test_a_file_without_a_seal_is_read_as_before(path):
    content, _ = unseal(path.read_bytes(), path)
    path.write_bytes(content)
    assert read_tree(path)["group"]["x"].sizes == {"n": 500}
    assert ResultFolder(path.parent).has("x")
    path.write_bytes(content[:-2000])
    assert not ResultFolder(path.parent).has("x")
    assert path.with_suffix(".damaged").exists()


def test_equal_results_are_equal_files(tmp_path):
    data = xr.Dataset({"x": ("n", np.arange(5.0))}, attrs={"a": 1})
    one, other = (write_tree(tmp_path / f"{k}.nc", {"g": data}, FACTS).read_bytes() for k in range(2))
    assert one == other
