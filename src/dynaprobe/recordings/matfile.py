"""MATLAB files of every version as plain Python values.

| MATLAB | here |
|---|---|
| numeric and logical arrays | NumPy arrays of the shape MATLAB shows |
| char | ``str`` |
| struct arrays | list of dicts, one per element, in MATLAB's order |
| cell arrays | list |
| table, string, datetime and other objects | `Unreadable`, which says what to save instead |

Version 7 and older are read by SciPy; version 7.3 is HDF5, whose arrays lie transposed, with groups for structs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatlabFunction, MatlabOpaque

from dynaprobe.core.errors import DataError


@dataclass(frozen=True)
class Unreadable:
    """A MATLAB object whose content no library outside MATLAB knows.

    Attributes:
        kind: its class in MATLAB.
    """

    kind: str


def read_mat(path: Path | str) -> dict[str, Any]:
    """All variables of a .mat file by name.

    Raises:
        DataError: the file is damaged or no MATLAB file.
    """
    path = Path(path)
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return {name: _from_hdf5(file[name], file) for name in file if not name.startswith("#")}
        # Names that MATLAB gives to objects it cannot name are "None" here.
        loaded = loadmat(path, struct_as_record=True, squeeze_me=False, chars_as_strings=True)
    except Exception as error:
        # SciPy and HDF5 raise whatever the damaged byte led them to.
        reason = " ".join(str(error).split())
        raise DataError(
            "the file",
            rule="be a complete MATLAB file",
            received=f"{type(error).__name__}: {reason[:200]}",
            remedy="Copy or save it again; it may be cut short or be of another format",
            where=path,
        ) from error
    return {name: _from_scipy(value) for name, value in loaded.items() if not name.startswith("__")}


def _from_scipy(value: Any) -> Any:
    if isinstance(value, MatlabOpaque | MatlabFunction):
        return Unreadable("an object")
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names is not None:
        rows = value.ravel(order="F")
        return [{name: _from_scipy(row[name]) for name in value.dtype.names} for row in rows]
    if value.dtype.kind == "U":
        return "\n".join(value.ravel().tolist())
    if value.dtype == object:
        return [_from_scipy(item) for item in value.ravel(order="F")]
    return value


def _from_hdf5(item: Any, file: h5py.File) -> Any:
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if "MATLAB_object_decode" in item.attrs:
        return Unreadable(kind or "an object")
    if isinstance(item, h5py.Group):
        return _struct_from_hdf5(item, file)
    if "MATLAB_empty" in item.attrs:
        # What is stored then is not the array but its shape.
        return {"char": "", "cell": [], "struct": []}.get(kind, np.empty(tuple(item[()].astype(int))))
    if kind == "cell" or _holds_references(item):
        return [_from_hdf5(file[reference], file) for reference in np.asarray(item[()]).ravel()]
    return _array_from_hdf5(item[()], kind)


def _array_from_hdf5(values: Any, kind: str) -> Any:
    if kind == "char":
        return "".join(map(chr, np.asarray(values).ravel(order="F"))).rstrip("\x00")
    if isinstance(values, bytes):
        return values.decode()
    array = np.asarray(values).T
    return array.astype(bool) if kind == "logical" else array


def _struct_from_hdf5(group: h5py.Group, file: h5py.File) -> list[dict[str, Any]]:
    """A struct: its fields, or, for an array of structs, references to the fields of every element."""
    many = [name for name in group if _holds_references(group[name]) and "MATLAB_class" not in group[name].attrs]
    if not many or len(many) < len(group):
        return [{name: _from_hdf5(group[name], file) for name in group}]
    columns = {name: [_from_hdf5(file[r], file) for r in group[name][()].ravel()] for name in group}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _holds_references(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is not None
