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
# Places a network was not trained on, for a task of eight directions at radius 1.
NEW_LOCATIONS: dict[str, dict[str, Any]] = {
    "between": {"directions_deg": tuple(22.5 + 45.0 * k for k in range(8))},
    "sweep": {"directions_deg": tuple(5.0 * k for k in range(72))},
    "radii": {"radii": (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)},
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
