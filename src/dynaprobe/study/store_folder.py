"""A folder of results, each in a netCDF file of its own: what a run and a sweep have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaprobe.core.errors import DataError
from dynaprobe.study.store_files import check_whole, read_tree, write_atomically, write_tree
from dynaprobe.study.store_seal import NotJudgedError, read_facts

if TYPE_CHECKING:
    import xarray as xr


class ResultFolder:
    """Results by name below a folder; a name may lead through folders, as in ``networks/ID``.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def is_taken(self, own: Path) -> bool:
        """Whether the place is a file, or a folder that holds something but lacks `own`, the file that marks it.

        A temporary file does not count: it is all that a process leaves which was killed at its first write, and
        another that opens the same store may be writing one at this moment.
        """
        if not self.folder.is_dir():
            return self.folder.exists()
        holds = any(not (entry.name.startswith(".") and ".tmp" in entry.name) for entry in self.folder.iterdir())
        # Looked for last: another process may have finished writing it meanwhile.
        return holds and not own.is_file()

    def path(self, *parts: str) -> Path:
        """A path inside the run's folder."""
        return self.folder.joinpath(*parts)

    def make_folder(self, name: str) -> Path:
        """A folder inside the run's, made if it is not there."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, name: str, groups: Mapping[str, xr.Dataset], facts: Mapping[str, Any] | None = None) -> Path:
        """Write datasets to ``NAME.nc``, e.g. ``save("results/pca", {"recording": ...})``.

        Args:
            name: where, below the folder.
            groups: datasets by name.
            facts: plain values for tables of results; see `dynaprobe.study.store_seal`.
        """
        return write_tree(self.folder / f"{name}.nc", groups, facts)

    def load(self, name: str, only: Collection[str] | None = None) -> dict[str, xr.Dataset]:
        """Read what `save` wrote: all groups, or `only` some, those of them that are there."""
        return read_tree(self.folder / f"{name}.nc", only)

    def is_whole(self, name: str) -> bool:
        """Whether ``NAME.nc`` is there and agrees with its checksum.

        Raises:
            NotJudgedError: when the file cannot be read at present, or not by this version.
        """
        path = self.folder / f"{name}.nc"
        if not path.is_file():
            return False
        try:
            check_whole(path)
        except NotJudgedError:
            raise
        except DataError:
            return False
        return True

    def has(self, name: str) -> bool:
        """Whether ``NAME.nc`` is there and whole; a damaged file counts as absent and is set aside.

        Raises:
            NotJudgedError: as `is_whole`; the file stays where it is.
        """
        whole = self.is_whole(name)
        path = self.folder / f"{name}.nc"
        if not whole and path.is_file():
            path.replace(path.with_suffix(".damaged"))
        return whole

    def all_facts(self, folder: str) -> dict[str, dict[str, Any]]:
        """The facts in the seals of all files of a folder, by name; files without a readable seal are left out."""
        known: dict[str, dict[str, Any]] = {}
        for file in sorted(self.path(folder).glob("[!.]*.nc")):
            with contextlib.suppress(DataError):
                known[f"{folder}/{file.stem}"] = read_facts(file) or {}
        return known

    def adopt(self, file: Path, name: str) -> Path:
        """Copy a file from elsewhere to ``NAME.nc``, whole or not at all."""
        content = file.read_bytes()
        return write_atomically(self.folder / f"{name}.nc", lambda target: target.write_bytes(content))

    def remove(self, name: str) -> None:
        """Remove ``NAME.nc`` if it is there."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{name}.nc").unlink()
