"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.core.trials import Trials
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.store import RunStore, read_json
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.table import TASKS


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def verdict_table(store: RunStore) -> Table:
    """The claims of a finished run and what it says of them."""
    table = _table("Claims", "claim", "decision", "numbers")
    table.show_lines = True
    for verdict in read_json(store.path("claims.json")):
        claim = verdict["claim"]
        table.add_row(f"{claim['id']}. {claim['statement']}", verdict["decision"], verdict["sentence"])
    return table


def task_table() -> Table:
    """All tasks with their conditions and citations."""
    table = _table("Tasks", "name", "what is asked", "conditions", "citation")
    for name, entry in TASKS.items():
        conditions = entry.task.model_validate({}).conditions
        table.add_row(name, entry.summary, f"{len(conditions)} ({', '.join(conditions.columns)})", entry.citation)
    return table


def condition_table(task: AbstractTask) -> Table:
    """The conditions of one task."""
    table = _table("Conditions", "condition", *task.conditions.columns)
    for k, row in enumerate(task.conditions.rows):
        table.add_row(str(k), *(f"{value:g}" if isinstance(value, float) else str(value) for value in row))
    return table


def epoch_table(task: AbstractTask, trials: Trials) -> Table:
    """The epochs of one task in a trial as used for analyses."""
    table = _table("Epochs of an analysis trial", "epoch", "from", "to (outside)", "ms")
    for epoch in task.timeline.epochs:
        start, stop = (float(trials.events_ms[event][0]) for event in (epoch.start, epoch.stop))
        table.add_row(epoch.name, epoch.start, epoch.stop, f"{start:g} - {stop:g}")
    return table


def network_table(networks: Sequence[TrainedNetwork]) -> Table:
    """Which networks learned their task."""
    table = _table("Networks", "id", "status", "why")
    for network in networks:
        table.add_row(network.id, network.status, network.reason)
    return table


def score_table(store: RunStore) -> Table:
    """How like the recording every network of a run is, at both levels: 0 is the floor, 1 the ceiling."""
    columns = {
        "single_unit": "single units",
        "population": "population",
        "alignment_index": "alignment",
        "jpca_r2_skew": "jPCA R2",
        "jpca_hz": "Hz",
        "n_pcs_90": "PCs for 90 %",
    }
    table = _table("Networks and recording", "id", *columns.values())
    summary = store.load("results/summary")
    rows = [("recording", summary["recording"])]
    rows += [(str(one["id"].item()), one) for _, one in summary["networks"].groupby("network", squeeze=False)]
    for name, row in rows:
        table.add_row(name, *(_number(float(np.squeeze(row[column].values))) for column in columns))
    return table


def fixed_point_table(points: FixedPoints) -> Table:
    """Fixed and slow points by input, with stability and the slowest mode."""
    table = _table(
        "Fixed and slow points", "input", "kind", "stability", "unstable modes", "starts", "slowest mode"
    )
    data = points.data
    for k in range(data.sizes["point"]):
        point = data.isel(point=k)
        rate, turn = float(point["eigenvalue_real"][0]), float(point["eigenvalue_imag"][0])
        table.add_row(
            str(point["input_label"].item()),
            str(point["point_kind"].item()).replace("_", " "),
            str(point["stability"].item()),
            str(int(point["n_unstable"])),
            str(int(point["n_starts"])),
            _mode(rate, turn),
        )
    return table


def _mode(rate_per_ms: float, turn_per_ms: float) -> str:
    """Time constant and frequency of a mode; a mode slower than a quarter of an hour does not decay."""
    frequency = f"{abs(turn_per_ms) * 1000 / (2 * np.pi):.2f} Hz"
    if abs(rate_per_ms) < 1e-6:
        return f"does not decay, {frequency}"
    return f"{'grows' if rate_per_ms > 0 else 'decays'} in {abs(1 / rate_per_ms):.0f} ms, {frequency}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
