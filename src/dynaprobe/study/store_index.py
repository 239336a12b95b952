"""A table of all results of a store: settings, scores and status, one row per job.

The rows come from the seals of the files. They are kept in ``index.jsonl`` beside the file's size and time, so
that only new files are opened the next time; the index is a copy, made again from the files when it is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.study.store_files import WriteError, check_whole, read_tree, write_atomically
from dynaprobe.study.store_seal import read_facts

if TYPE_CHECKING:
    import pandas as pd

# Another number: the index is of another version and is made again.
INDEX_VERSION = 1
_FIRST = ("id", "status", "seed")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The facts of every result below ``folder/networks``, one flat mapping per job, in the order of names.

    Args:
        folder: a store of sweeps, or the run of a study.

    Raises:
        DataError: when there are no results to be found there.
    """
    columns, rows = _refreshed(folder)
    return [dict(zip(columns, row, strict=False)) for row in rows]


def table_of(folder: Path) -> pd.DataFrame:
    """The rows of `rows_of` as a table: id, status and seed, then scores, then settings by dotted name."""
    import pandas as pd  # noqa: PLC0415

    columns, rows = _refreshed(folder)
    # A row read before some column was known is shorter.
    full = [row + [None] * (len(columns) - len(row)) for row in rows]
    table = pd.DataFrame(full, columns=columns)
    return table[[*_FIRST, *(name for name in columns if name not in _FIRST)]]


def _refreshed(folder: Path) -> tuple[list[str], list[list[Any]]]:
    """Names of the columns, and a row of values per file; the index is brought up to date."""
    networks = folder / "networks"
    if not networks.is_dir():
        raise DataError(
            str(folder),
            rule="hold results",
            received="a folder without networks" if folder.is_dir() else "a path where no folder is",
            remedy="Give the folder that dynaprobe sweep, train or study was told with --out",
        )
    index = folder / "index.jsonl"
    columns, known = _read(index)
    places = {name: place for place, name in enumerate(columns)}
    now: dict[str, list[Any]] = {}
    for entry in os.scandir(networks):
        if not entry.name.endswith(".nc") or entry.name.startswith("."):
            continue
        try:
            facts = entry.stat()
        except FileNotFoundError:  # set aside by a sweep at work since the folder was listed
            continue
        stamp = [facts.st_size, facts.st_mtime_ns]
        before = known.get(entry.name)
        # What could not be read may be readable now, by others than those who may write to the index.
        if before is not None and before[0] == stamp and before[1][places["status"]] != "damaged":
            now[entry.name] = before
            continue
        row = _row(Path(entry.path))
        for name in row:
            places.setdefault(name, len(places))
        values: list[Any] = [None] * len(places)
        for name, value in row.items():
            values[places[name]] = value
        now[entry.name] = [stamp, values]
    if now != known:
        # In a store of others, which can only be read, there is no index.
        with contextlib.suppress(WriteError):
            write_atomically(index, lambda target: target.write_text(_text(list(places), now), encoding="utf-8"))
    return list(places), [now[name][1] for name in sorted(now)]


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as CSV, or as Parquet where the name ends with ``.parquet``; whole or not at all.

    Raises:
        WriteError: when it cannot be written.
        SettingsError: when nothing that writes Parquet is installed.
    """
    if path.suffix != ".parquet":
        return write_atomically(path, lambda target: table.to_csv(target, index=False))
    try:
        import pyarrow  # noqa: F401, PLC0415
    except ImportError:
        raise SettingsError(
            "--parquet",
            rule="have pyarrow installed",
            received="a Python without it",
            remedy="Run pip install 'dynaprobe[parquet]', or write CSV",
        ) from None
    # One type per column: what is a number in one row and a text in another becomes text.
    plain = table.copy()
    for name in table:
        if table[name].dropna().map(type).nunique() > 1:
            plain[name] = table[name].map(_as_text)
    return write_atomically(path, lambda target: plain.to_parquet(target, index=False))


def damaged(folder: Path) -> dict[str, str]:
    """What is wrong with results that do not agree with their checksum, by file name; reads every file."""
    found: dict[str, str] = {}
    for file in sorted((folder / "networks").glob("[!.]*.nc")):
        try:
            check_whole(file)
        except DataError as error:
            found[file.name] = str(error)
    return found


def _as_text(value: Any) -> str | None:
    return None if value is None or value != value else str(value)  # noqa: PLR0124 - which NaN is not


def _row(path: Path) -> dict[str, Any]:
    try:
        # Written before there were seals, or by someone else: the file itself tells less, and more slowly.
        facts = read_facts(path) or json.loads(read_tree(path)["network"].attrs["about"])
    except (DataError, KeyError, ValueError) as error:
        return {"id": path.stem, "status": "damaged", "reason": str(error)}
    settings = facts.get("settings") or {"task": facts.get("task", {})}
    parts = ("id", "status", "reason", "seed", "run_seed", "finished", "engine", "numbers_version")
    first = {name: facts[name] for name in parts if name in facts}
    first.setdefault("seed", facts.get("labels", {}).get("seed"))
    return {**first, **facts.get("scores", {}), **_flat(settings), **_flat(facts.get("versions", {}), "version.")}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _read(index: Path) -> tuple[list[str], dict[str, Any]]:
    """Columns and rows of an index; none, where it is missing, damaged or of another version."""
    try:
        first, _, rest = index.read_text(encoding="utf-8").partition("\n")
        if json.loads(first) == {"index": INDEX_VERSION}:
            known = json.loads(rest)
            columns, rows = known["columns"], known["rows"]
            if columns[: len(_FIRST)] == list(_FIRST) and isinstance(rows, dict):
                return columns, rows
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return list(_FIRST), {}


def _text(columns: Sequence[str], rows: Mapping[str, Any]) -> str:
    content = {"columns": columns, "rows": rows}
    return json.dumps({"index": INDEX_VERSION}) + "\n" + json.dumps(content, ensure_ascii=False) + "\n"
