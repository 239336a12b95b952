"""One made-up run and its report, shared by all tests of the report."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

import pytest
from synthetic_runs import RunShape, make_run

from dynaprobe.report.gather import RunContents, gather
from dynaprobe.report.html import write_report
from dynaprobe.study.store import RunStore


@dataclass(frozen=True)
class Report:
    """A run with its page."""

    store: RunStore
    path: Path
    page: str
    run: RunContents


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Report:
    """Made once for all the processes of a run; no test changes it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "report_of_all"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store, path = RunStore(folder / "run"), folder / "run" / "report" / "index.html"
        if not path.is_file():
            shape = RunShape(penalties=(0.01,), n_seeds=2, n_failed=1, with_probes=True)
            assert write_report(make_run(store.folder, shape)) == path
    return Report(store, path, path.read_text(encoding="utf-8"), gather(store))
