"""The table of tasks. A new task is one file and one row here; its contract tests come with the row."""

from __future__ import annotations

from dataclasses import dataclass

from dynaprobe.core.errors import SettingsError
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.reach import DelayedReach


@dataclass(frozen=True)
class TaskEntry:
    """One row of the table.

    Attributes:
        task: the class.
        summary: what is asked, in one sentence.
        citation: where the task comes from.
    """

    task: type[AbstractTask]
    summary: str
    citation: str


TASKS: dict[str, TaskEntry] = {
    "delayed_reach": TaskEntry(
        DelayedReach,
        "See a target, hold until the go cue, then reach straight to it and stay.",
        "Kao (2019) J Neurophysiol 122:2504, doi:10.1152/jn.00467.2018",
    ),
}


def task_entry(name: str) -> TaskEntry:
    """The row called `name`.

    Raises:
        SettingsError: when there is none.
    """
    if name not in TASKS:
        raise SettingsError(
            "task", rule=f"be one of {', '.join(TASKS)}", received=name, remedy="See `dynaprobe tasks`"
        )
    return TASKS[name]
