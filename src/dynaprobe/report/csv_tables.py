"""The tables behind a report as CSV, for spreadsheets and for a paper's supplement."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.study.store import RunStore, write_atomically

# Table by file and group. Where two hold the same name, the later one holds more.
TABLES = {
    "networks": (("results/summary", "networks"), ("results/mechanisms", "networks")),
    "controls": (("results/summary", "controls"),),
    "cells": (("results/summary", "cells"),),
    "recording": (("results/summary", "recording"),),
    "mechanism_by_forced": (("results/mechanisms", "confusion"),),
    "by_mechanism": (("results/mechanisms", "by_mechanism"),),
    "associations": (("results/mechanisms", "associations"),),
}
# What a row is comes before its numbers.
_FIRST = (
    "id", "cell", "activation", "penalty_rate", "visibility", "delay_law", "seed", "status", "score", "mechanism",
    "name", "strata", "measure",
)  # fmt: skip


def write_tables(store: RunStore) -> list[Path]:
    """Write ``report/tables/NAME.csv`` of a run, those tables that it has.

    ``networks``: one row per network with everything measured of it; ``controls``: those of them that take part
    in no claim; ``cells``: similarity by setting;
    ``recording``: the recording's own numbers; ``mechanism_by_forced``, ``by_mechanism``, ``associations``: what
    the claims on mechanisms rest on.

    Args:
        store: a run, finished or not.

    Returns:
        The files written.
    """
    written = []
    for name, places in TABLES.items():
        parts = [found for file, group in places if (found := _group(store, file, group)) is not None]
        if not parts:
            continue
        table = _beside([_frame(part) for part in parts])
        path = store.path("report", "tables", f"{name}.csv")
        written.append(write_atomically(path, partial(_write, table=table)))
    return written


def _write(target: Path, table: pd.DataFrame) -> None:
    first = [name for name in _FIRST if name in table]
    ordered = table[[*first, *(name for name in table if name not in first)]]
    # Six digits are more than any of these numbers is good for, and spare readers the rest.
    ordered.to_csv(target, index=False, float_format="%.6g")


def _group(store: RunStore, file: str, group: str) -> xr.Dataset | None:
    if not store.path(f"{file}.nc").is_file():
        return None
    try:
        return store.load(file).get(group)
    except DataError:
        return None


def _frame(part: xr.Dataset) -> pd.DataFrame:
    if not part.sizes:
        return pd.DataFrame([{name: value.item() for name, value in part.data_vars.items()}])
    frame = part.to_dataframe().reset_index()
    # Positions say nothing where rows have names.
    return frame.drop(columns=[name for name in ("network", "row") if name in frame and name not in part.coords])


def _beside(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables of networks side by side by id; a network that is in one of them only keeps its row."""
    table = parts[-1]
    for part in parts[:-1]:
        new = ["id", *(name for name in part if name not in table)]
        table = table.merge(part[new], on="id", how="outer", sort=False)
    return table
