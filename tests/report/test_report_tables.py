"""Tables of a run as CSV: all rows, joined by id, written whole; what a run lacks is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from dynaprobe.report.csv_tables import TABLES, write_tables
from dynaprobe.study.store import RunStore


def store_with(folder, **groups: dict[str, xr.Dataset]) -> RunStore:
    store = RunStore(folder)
    for name, parts in groups.items():
        store.save(f"results/{name}", parts)
    return store


def along(ids: list[str], **columns: object) -> xr.Dataset:
    coords = {"id": ("network", np.array(ids))}
    return xr.Dataset({name: ("network", np.asarray(values)) for name, values in columns.items()}, coords=coords)


def read(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "report" / "tables" / f"{name}.csv")


def test_networks_are_joined_by_id_whatever_their_order(tmp_path):
    summary = {"networks": along(["b", "a"], population=[0.25, 0.5], seed=[1, 0])}
    mechanisms = {"networks": along(["a", "b", "control"], mechanism=["mixed", "unclear", "input_driven"])}
    write_tables(store_with(tmp_path, summary=summary, mechanisms=mechanisms))
    table = read(tmp_path, "networks").set_index("id")
    assert table.columns.tolist()[:2] == ["seed", "mechanism"]
    assert table["population"].loc[["a", "b"]].tolist() == [0.5, 0.25]
    assert table["mechanism"].loc[["b", "control"]].tolist() == ["unclear", "input_driven"]
    assert np.isnan(table["population"].loc["control"])


def test_other_tables_keep_their_dimensions(tmp_path):
    counts = xr.Dataset(
        {"count": (("forced", "verdict"), np.array([[3, 1], [0, 4]]))},
        coords={"forced": ["x", "y"], "verdict": ["x", "y"]},
    )
    rows = xr.Dataset({"rho": ("row", [0.123456789, np.nan]), "name": ("row", ["noise", "switch"])})
    recording = xr.Dataset({"jpca_hz": 1.5})
    store = store_with(
        tmp_path, mechanisms={"confusion": counts, "associations": rows}, summary={"recording": recording}
    )
    names = {path.stem for path in write_tables(store)}
    assert names == {"mechanism_by_forced", "associations", "recording"}
    assert read(tmp_path, "mechanism_by_forced")["count"].tolist() == [3, 1, 0, 4]
    assert read(tmp_path, "associations").columns.tolist() == ["name", "rho"]
    assert read(tmp_path, "associations")["rho"][0] == 0.123457
    assert read(tmp_path, "recording")["jpca_hz"].tolist() == [1.5]


def test_a_run_without_results_or_with_a_damaged_file_has_no_tables(tmp_path):
    store = RunStore(tmp_path)
    assert write_tables(store) == []
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "summary.nc").write_bytes(b"no netCDF")
    assert write_tables(store) == []


def test_a_whole_run_has_the_tables_of_its_kind(report):
    written = {path.stem for path in write_tables(report.store)}
    assert {"networks", "cells", "recording"} <= written <= set(TABLES)
    assert (
        len(pd.read_csv(report.store.path("report", "tables", "networks.csv")))
        == report.run.networks.sizes["network"]
    )
