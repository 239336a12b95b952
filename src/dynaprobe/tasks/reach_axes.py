"""Axes along which the delayed reach is varied in a sweep: when the target is seen, and how long the delay is.

What a network must remember, and for how long, decides by which mechanism it can reach at all. Each value is a
change of the defaults of `dynaprobe.tasks.reach.DelayedReach`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynaprobe.core.errors import SettingsError
from dynaprobe.tasks.reach import DelayedReach

# From input at every moment to memory throughout; the last two force a mechanism.
VISIBILITY: dict[str, dict[str, Any]] = {
    "throughout": {"target_visible": "throughout"},
    "off_around_go": {"target_visible": "off_around_go"},
    "flash": {"target_visible": "flash"},
    "until_go": {"target_visible": "until_go"},
    "from_go": {"target_visible": "from_go"},
}
DELAY_LAWS: dict[str, dict[str, Any]] = {
    "mixed": {"no_delay_fraction": 0.2, "delay_range_ms": (150.0, 1000.0)},
    "delayed": {"no_delay_fraction": 0.0, "delay_range_ms": (150.0, 1000.0)},
    "short": {"no_delay_fraction": 0.0, "delay_range_ms": (150.0, 400.0)},
    "long": {"no_delay_fraction": 0.0, "delay_range_ms": (500.0, 1500.0)},
}
SWEEP_STEP_DEG = 5.0
RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


def new_places(task: DelayedReach) -> dict[str, DelayedReach]:
    """Tasks with targets where a network trained on `task` was never asked to go.

    ``between``: directions halfway between neighbours of those of the task; ``sweep``: directions every
    `SWEEP_STEP_DEG`; ``radii``: the task's directions at `RADII`, in units of its largest radius.
    """
    directions_deg = sorted({float(row[0]) % 360 for row in task.conditions.rows})
    following = [*directions_deg[1:], directions_deg[0] + 360]
    between = tuple((one + other) / 2 % 360 for one, other in zip(directions_deg, following, strict=True))
    sweep = tuple(SWEEP_STEP_DEG * k for k in range(round(360 / SWEEP_STEP_DEG)))
    return {
        "between": task.with_changes({"directions_deg": between}),
        "sweep": task.with_changes({"directions_deg": sweep}),
        "radii": task.with_changes({"radii": tuple(max(task.radii) * radius for radius in RADII)}),
    }


def reach_variant(task: DelayedReach, *, visibility: str = "throughout", delay_law: str = "mixed") -> DelayedReach:
    """The task with a row of `VISIBILITY` and a row of `DELAY_LAWS`.

    Raises:
        SettingsError: an unknown row, or a target that goes off at the go cue in trials without delay, where it
            would never be seen.
    """
    changes = _row("visibility", visibility, VISIBILITY) | _row("delay_law", delay_law, DELAY_LAWS)
    return task.with_changes(changes, where=f"visibility {visibility}, delay law {delay_law}")


def _row(name: str, wanted: str, table: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if wanted not in table:
        raise SettingsError(
            name, rule=f"be one of {', '.join(table)}", received=wanted, remedy="Choose one of these"
        )
    return dict(table[wanted])
