"""Tables for the terminal."""

from __future__ import annotations

from rich.table import Table

from dynaprobe.core.trials import Trials
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
