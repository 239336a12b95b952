"""One made-up run and its report, shared by all tests of the report."""

from __future__ import annotations

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
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    shape = RunShape(penalties=(0.01,), n_seeds=2, n_failed=1, with_probes=True)
    store = make_run(tmp_path_factory.mktemp("report") / "run", shape)
    path = write_report(store)
    return Report(store, path, path.read_text(encoding="utf-8"), gather(store))
