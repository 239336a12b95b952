"""The table of a store: right while it grows, quick for thousands, made again when it is lost."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pandas as pd
import pytest

from dynaprobe.core.errors import DataError
from dynaprobe.study import store_index
from dynaprobe.study.filters import matching
from dynaprobe.study.store_index import rows_of, table_of, write_table
from dynaprobe.study.store_seal import seal


def put(folder, k: int, **more) -> None:
    facts = {
        "id": f"job-{k:05d}",
        "status": "converged",
        "seed": k,
        "scores": {"score": k / 10},
        "settings": {
            "network": {"activation": "tanh" if k % 2 else "relu"},
            "fit": {"penalty_rate": float(k % 3)},
        },
        **more,
    }
    (folder / "networks").mkdir(exist_ok=True)
    (folder / "networks" / f"{facts['id']}.nc").write_bytes(seal(b"content", facts))


def test_rows_are_flat_and_follow_the_files(tmp_path, monkeypatch):
    for k in range(3):
        put(tmp_path, k)
    first = table_of(tmp_path)
    assert list(first["id"]) == ["job-00000", "job-00001", "job-00002"]
    assert list(first.columns[:3]) == ["id", "status", "seed"]
    assert list(first["network.activation"]) == ["relu", "tanh", "relu"]
    put(tmp_path, 7)
    (tmp_path / "networks" / "job-00001.nc").unlink()
    opened = []
    read = store_index.read_facts
    monkeypatch.setattr(store_index, "read_facts", lambda path: opened.append(path.stem) or read(path))
    assert list(table_of(tmp_path)["id"]) == ["job-00000", "job-00002", "job-00007"]
    assert opened == ["job-00007"]  # the others come from the index


@pytest.mark.parametrize("content", ["", "{", '{"index": 0}\n{"a": 1}\n', '{"index": 1}\n{"job', "\x00\xff"])
def test_a_lost_or_damaged_index_is_made_again(tmp_path, content):
    put(tmp_path, 1)
    expected = rows_of(tmp_path)
    (tmp_path / "index.jsonl").write_text(content)
    assert rows_of(tmp_path) == expected
    assert json.loads((tmp_path / "index.jsonl").read_text().splitlines()[0]) == {"index": 1}


def test_a_result_computed_again_is_read_again(tmp_path):
    put(tmp_path, 1)
    rows_of(tmp_path)
    put(tmp_path, 1, status="diverged")
    assert rows_of(tmp_path)[0]["status"] == "diverged"


def test_a_damaged_result_is_a_row_that_says_so(tmp_path):
    put(tmp_path, 1)
    put(tmp_path, 2)
    file = tmp_path / "networks" / "job-00002.nc"
    file.write_bytes(file.read_bytes()[:50])
    table = table_of(tmp_path)
    assert list(table["status"]) == ["converged", "damaged"]
    assert "job-00002.nc must be a whole netCDF file" in table["reason"].iloc[1]
    assert list(store_index.damaged(tmp_path)) == ["job-00002.nc"]


def test_what_could_not_be_read_is_looked_at_again(tmp_path, monkeypatch):
    put(tmp_path, 1)

    def refuses(path):
        raise DataError(path.name, rule="be a readable result", received="Stale file handle", remedy="Wait")

    with monkeypatch.context() as patch:
        patch.setattr(store_index, "read_facts", refuses)
        assert rows_of(tmp_path)[0]["status"] == "damaged"
    assert rows_of(tmp_path)[0]["status"] == "converged"


def test_a_file_that_is_set_aside_while_the_folder_is_read_is_no_row(tmp_path, monkeypatch):
    put(tmp_path, 1)
    put(tmp_path, 2)
    listed = list(os.scandir(tmp_path / "networks"))
    (tmp_path / "networks" / "job-00002.nc").unlink()
    monkeypatch.setattr(store_index.os, "scandir", lambda _: listed)
    assert [row["id"] for row in rows_of(tmp_path)] == ["job-00001"]


def test_temporary_and_set_aside_files_are_no_results(tmp_path):
    put(tmp_path, 1)
    for name in (".job-1.tmp.nc", "job-3.damaged"):
        (tmp_path / "networks" / name).write_text("half")
    assert len(rows_of(tmp_path)) == 1


def test_an_empty_store_has_an_empty_table(tmp_path):
    (tmp_path / "networks").mkdir()
    assert list(table_of(tmp_path).columns) == ["id", "status", "seed"]
    assert matching(table_of(tmp_path), "status == 'converged'").empty


@pytest.mark.parametrize(("name", "got"), [("", "a folder without networks"), ("no", "a path where no folder is")])
def test_a_folder_without_results_is_a_sentence(tmp_path, name, got):
    with pytest.raises(DataError, match=f"must hold results, but got {got}"):
        rows_of(tmp_path / name)


def test_ten_thousand_results_list_and_filter_quickly(tmp_path):
    """The bar is two seconds from the files alone, and this machine may be busy: processor time is what counts."""
    for k in range(10_000):
        put(tmp_path, k)
    for _ in range(2):  # without the index, then with it
        begin = time.process_time()
        found = matching(table_of(tmp_path), "activation == 'tanh' and penalty_rate > 0")
        assert time.process_time() - begin < 2.0
        assert len(found) == sum(k % 2 == 1 and k % 3 > 0 for k in range(10_000))


def test_csv_and_parquet_hold_the_table(tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame(
        {"id": ["a", "b"], "score": [0.5, np.nan], "mixed": pd.Series([1, "x"], dtype=object), "none": [None, 3]}
    )
    back = pd.read_csv(write_table(table, tmp_path / "t.csv"))
    assert list(back["score"].isna()) == [False, True]
    parquet = pd.read_parquet(write_table(table, tmp_path / "t.parquet"))
    assert list(parquet["mixed"]) == ["1", "x"]
    assert list(parquet.columns) == list(table.columns)
