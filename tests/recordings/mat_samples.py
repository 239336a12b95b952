"""MATLAB files of both kinds of one content: version 5 by SciPy, version 7.3 as MATLAB lays out its HDF5."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat


def write_mat5(path: Path, values: dict[str, Any]) -> Path:
    """Struct arrays are lists of dicts, as in what `read_mat` returns; cell arrays are other lists."""
    savemat(path, {name: _scipy(value) for name, value in values.items()})
    return path


def _scipy(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = np.empty((1, len(value)), dtype=[(name, object) for name in value[0]])
        for k, row in enumerate(value):
            rows[0, k] = tuple(_scipy(item) for item in row.values())
        return rows
    if isinstance(value, list):
        column = np.empty((1, len(value)), dtype=object)
        column[0] = [_scipy(item) for item in value]
        return column
    return value


def write_mat73(path: Path, values: dict[str, Any]) -> Path:
    """HDF5 behind a block of 512 bytes, arrays transposed, structs as groups, their arrays as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, value in values.items():
            _hdf5(file, name, value, refs)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def _hdf5(group: h5py.Group, name: str, value: Any, refs: h5py.Group) -> None:
    if isinstance(value, str):
        text = np.asarray([ord(c) for c in value], dtype=np.uint16)[:, None]
        group[name] = text if value else np.zeros(2, dtype=np.uint64)
        group[name].attrs["MATLAB_class"] = np.bytes_("char")
        if not value:
            group[name].attrs["MATLAB_empty"] = np.uint8(1)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        struct = group.create_group(name)
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in value[0]:
            if len(value) == 1:
                _hdf5(struct, field, value[0][field], refs)
            else:
                struct[field] = _references([row[field] for row in value], refs)
    elif isinstance(value, list):
        group[name] = _references(value, refs)
        group[name].attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        array = np.atleast_2d(np.asarray(value))
        if array.size == 0:
            group[name] = np.asarray(array.shape, dtype=np.uint64)
            group[name].attrs["MATLAB_empty"] = np.uint8(1)
        else:
            group[name] = (array.astype(np.uint8) if array.dtype == bool else array).T
        group[name].attrs["MATLAB_class"] = np.bytes_("logical" if array.dtype == bool else "double")


def _references(items: list[Any], refs: h5py.Group) -> np.ndarray:
    column = np.empty((len(items), 1), dtype=h5py.ref_dtype)
    for k, item in enumerate(items):
        name = f"r{next(NUMBERS)}"
        _hdf5(refs, name, item, refs)
        column[k, 0] = refs[name].ref
    return column


NUMBERS = count()
WRITERS = {"v5": write_mat5, "v7.3": write_mat73}
