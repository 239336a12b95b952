"""Files written whole or not at all, and read back with their checksum compared.

NetCDF files end with a seal (`dynaprobe.study.store_seal`); any reader of netCDF opens them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dynaprobe.core.errors import DataError
from dynaprobe.study.store_seal import NotJudgedError, seal, unseal

if TYPE_CHECKING:  # half a second, which a table of runs does not need
    import pandas as pd
    import xarray as xr

ENGINE: Literal["h5netcdf"] = "h5netcdf"


class WriteError(DataError):
    """A result cannot be written: what was finished before is kept, and going on makes no sense."""


def write_atomically(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file in the same folder, then move it into place.

    A reader sees the old file or the new one, never half of one; a killed run leaves at most a hidden
    temporary file, which `RunStore.start` clears away when the run is resumed.

    Raises:
        WriteError: when the folder cannot be written to or the disk is full.
    """
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _settle(path.parent.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".tmp{path.suffix}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # mkstemp makes private files; results are shared like any other file.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _settle(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            str(path.name),
            rule="be written",
            received=error.strerror or str(error),
            remedy=f"{_write_remedy(error)}; what was finished before is kept",
            where=path.parent,
        ) from error
    return path


def _write_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space or choose another --out"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose an --out in which you may write"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "Choose an --out that does not lead through a file"
    return "Check the disk, or choose another --out"


def _settle(folder: Path) -> None:
    """Make a new name in a folder survive a loss of power, where the file system can be asked to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, values: Mapping[str, Any] | list[Any]) -> Path:
    """Write plain values as JSON, atomically; what is not finite becomes null, as JSON has no word for it."""
    text = json.dumps(_finite(values), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"
    return write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def _finite(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, atomically; every number with the digits that bring it back exactly."""
    text = table.to_csv(index=False, lineterminator="\n")
    return write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: when the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            path.name,
            rule="be a readable JSON file",
            received=str(error),
            remedy="Restore the file, or start a new run with another --out",
            where=path.parent,
        ) from None


def write_tree(path: Path, groups: Mapping[str, xr.Dataset], facts: Mapping[str, Any] | None = None) -> Path:
    """Write datasets as groups of one netCDF file with a seal, atomically.

    Args:
        path: the file.
        groups: datasets by name.
        facts: plain values for tables, which `dynaprobe.study.store_seal.read_facts` reads without the rest.
    """
    import xarray as xr  # noqa: PLC0415

    tree = xr.DataTree.from_dict({name: data.reset_coords() for name, data in groups.items()})
    for name, data in groups.items():
        # netCDF has no coordinates of its own; the names are kept so that reading restores them.
        tree[name].attrs["coordinate_names"] = json.dumps([str(c) for c in data.coords if c not in data.dims])
    # Through memory: HDF5 that runs into a full disk takes the whole process with it.
    with _own_locks():
        content = seal(bytes(tree.to_netcdf(engine=ENGINE)), _finite(facts or {}))
    return write_atomically(path, lambda target: target.write_bytes(content))


def _own_locks() -> contextlib.AbstractContextManager[object]:
    """Keep xarray from asking a cluster for a lock on bytes in memory, as it does wherever Dask has a client."""
    dask = sys.modules.get("dask")
    return contextlib.nullcontext() if dask is None else dask.config.set(scheduler="threads")


def read_tree(path: Path, only: Collection[str] | None = None) -> dict[str, xr.Dataset]:
    """Read what `write_tree` wrote, or any netCDF file.

    Args:
        path: the file.
        only: the groups wanted, those of them that are there; None reads all, which takes seconds where there are
            many.

    Raises:
        DataError: when the file is missing, truncated, not netCDF, or not what its checksum was made of.
    """
    import xarray as xr  # noqa: PLC0415

    content, _ = unseal(_bytes(path), path)
    try:
        if only is None:
            with _own_locks(), xr.open_datatree(io.BytesIO(content), engine=ENGINE) as tree:
                branches = {path.strip("/"): branch for path, branch in tree.subtree_with_keys if path != "."}
                loaded = {path: branch.to_dataset().load() for path, branch in branches.items()}
        else:
            loaded = _groups(content, only)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _not_whole(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    for name, data in loaded.items():
        loaded[name] = data.set_coords(json.loads(data.attrs.pop("coordinate_names", "[]")))
    return loaded


def _groups(content: bytes, only: Collection[str]) -> dict[str, xr.Dataset]:
    """Some groups of a file; xarray tells which there are by opening them all."""
    import h5py  # noqa: PLC0415
    import xarray as xr  # noqa: PLC0415

    with h5py.File(io.BytesIO(content), "r") as file:
        there = [name for name in only if name in file]
    found = {}
    for name in there:
        with _own_locks(), xr.open_dataset(io.BytesIO(content), engine=ENGINE, group=name) as data:
            found[name] = data.load()
    return found


def check_whole(path: Path) -> None:
    """Compare a file with its checksum; one without a checksum is whole if it can be read.

    Raises:
        NotJudgedError: when it cannot be read at present, or not by this version.
        DataError: when the file is missing or damaged.
    """
    _, facts = unseal(_bytes(path), path)
    if facts is None:
        read_tree(path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            path.name,
            rule="be a file",
            received="a path where nothing is",
            remedy="Check the path",
            where=path.parent,
        ) from None
    except OSError as error:
        # Of rights, or of a network: the content may be sound.
        raise NotJudgedError(
            path.name,
            rule="be readable",
            received=error.strerror or str(error),
            remedy="Check who may read it, and the disk; it was not touched",
            where=path.parent,
        ) from None


def _not_whole(path: Path, received: str) -> DataError:
    return DataError(
        path.name,
        rule="be a whole netCDF file",
        received=received,
        remedy="Remove the file and run the same command again; with --resume, if it is a study's",
        where=path.parent,
    )
