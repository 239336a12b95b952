"""The one table from columns of files to events and task variables of the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import Settings
from dynaprobe.recordings.arrays import ArrayMapping
from dynaprobe.recordings.onset import BehaviourMapping

# Canonical event -> the columns it may be called, besides its own name with and without "_time".
EVENT_COLUMNS: dict[str, tuple[str, ...]] = {
    "target_on": (
        "target_onset_time",
        "target_onset",
        "target_presentation_time",
        "cue_on_time",
        "instruction_time",
        "idx_target_on",
        "idx_tgtOnTime",
    ),
    "go_cue": (
        "go_time",
        "go_cue_time_array",
        "go_signal_time",
        "go_cue_onset_time",
        "idx_go_cue",
        "idx_goCueTime",
    ),
    "move_onset": (
        "movement_onset_time",
        "movement_onset",
        "move_begins_time",
        "move_on_time",
        "idx_movement_on",
    ),
    "move_end": ("movement_offset_time", "move_ends_time", "move_offset_time"),
    "target_change": ("target_switch_time", "target_jump_time"),
}

# Column -> how its values say the direction of the reach; "auto" is settled by the values, see `direction_rule`.
DIRECTION_COLUMNS: dict[str, str] = {
    "direction_deg": "deg",
    "target_direction_deg": "deg",
    "target_angle_deg": "deg",
    "reach_direction_deg": "deg",
    "direction_rad": "rad",
    "target_direction_rad": "rad",
    "target_angle_rad": "rad",
    "target_direction": "auto",
    "target_dir": "auto",
    "target_angle": "auto",
    "tgtDir": "auto",
    "tgt_dir": "auto",
    "reach_direction": "auto",
    "reach_angle": "auto",
    "target_index": "auto",
    "target_id": "auto",
}

# Where a file has no direction, these label its conditions.
LABEL_COLUMNS = ("condition", "condition_id", "trial_type", "trial_version")

# An index of directions never runs this far; angles in whole degrees do.
MAX_DIRECTION_INDEX = 36

# A condition on the value of a column: [units.]COLUMN==VALUE.
WHERE_PATTERN = re.compile(r"^(units\.)?([\w.\- ]+?)\s*(==|!=|<=|>=|<|>)\s*(\S.*)$")

TrialColumn = np.ndarray | Sequence[np.ndarray]


def _as_pairs(value: Any) -> Any:
    """Accept a table of TOML, or strings such as ``go_cue=MyGo`` from the command line."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, list | tuple):
        return tuple(tuple(v.split("=", 1)) if isinstance(v, str) else v for v in value)
    return value


def _checked_condition(text: str) -> str:
    if not WHERE_PATTERN.match(text.strip()):
        raise ValueError(f"reads COLUMN==VALUE, with ==, !=, <, <=, > or >=, unlike {text!r}")
    return text.strip()


class ColumnMapping(Settings):
    """Which column of the trial table is what, where the table in this file does not know or should not decide.

    In TOML: ``events = { go_cue = "MyGo" }``; on the command line: ``go_cue=MyGo``.

    Attributes:
        events: pairs (event, column); they come before the table.
        conditions: the columns whose combinations are the conditions; empty takes the direction of the reach or,
            in files without it, the columns of `LABEL_COLUMNS`.
        direction: the column with the direction of the reach, which becomes ``direction_deg``.
        direction_unit: ``index`` counts evenly spaced directions from 1, ``index0`` from 0; ``deg``; ``rad``;
            ``auto`` lets the column's name and then its values decide, and says so in the account.
        n_directions: how many directions an index counts; None takes the largest index in the recording.
        where: which trials and units are read: ``success==1``, ``split!=test``, ``epoch==BL|AD`` for alternatives,
            ``units.heldout==0`` for units; all conditions have to hold.
        arrays: what the arrays of files without tables mean.
        behaviour: which continuous series are read, and how movement onset is found where a file has none.
    """

    events: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_as_pairs)] = ()
    conditions: tuple[str, ...] = ()
    direction: str | None = None
    direction_unit: Literal["auto", "index", "index0", "deg", "rad"] = "auto"
    n_directions: Annotated[int, Field(ge=1)] | None = None
    where: tuple[Annotated[str, AfterValidator(_checked_condition)], ...] = ()
    arrays: ArrayMapping = ArrayMapping()
    behaviour: BehaviourMapping = BehaviourMapping()

    def over(self, declared: ColumnMapping) -> ColumnMapping:
        """This mapping, with what it leaves open taken from what a file declares about itself."""
        asked = dict(self.events)
        kept = tuple((event, column) for event, column in declared.events if event not in asked)
        return self.model_copy(
            update={"events": self.events + kept, "conditions": self.conditions or declared.conditions}
        )


DEFAULT_MAPPING = ColumnMapping()


@dataclass(frozen=True)
class EventColumn:
    """Where an event stands in a file.

    Attributes:
        event: canonical name.
        column: name in the file.
        certain: whether the table or the user says so; otherwise the column merely ends in ``_time`` or begins
            with ``idx_`` and is an event only if its times lie inside the trials.
    """

    event: str
    column: str
    certain: bool


def event_columns(columns: Iterable[str], mapping: ColumnMapping, *, where: Path) -> tuple[EventColumn, ...]:
    """Find the events among the columns of a trial table.

    Raises:
        DataError: a column named by the mapping is missing.
    """
    columns = [name for name in columns if name not in ("start_time", "stop_time")]
    found: dict[str, EventColumn] = {}
    for event, column in mapping.events:
        if column not in columns:
            raise missing_column(f"the column of {event}", column, columns, where=where)
        found[event] = EventColumn(event, column, certain=True)
    taken = {entry.column for entry in found.values()}
    for event, others in EVENT_COLUMNS.items():
        present = [name for name in (f"{event}_time", event, *others) if name in columns and name not in taken]
        if present and event not in found:
            found[event] = EventColumn(event, present[0], certain=True)
    taken |= {entry.column for entry in found.values()} | {n for ns in EVENT_COLUMNS.values() for n in ns}
    for column in columns:
        event = column.removeprefix("idx_").removesuffix("_time")
        timed = column.endswith("_time") or column.startswith("idx_")
        if timed and column not in taken and event not in found:
            found[event] = EventColumn(event, column, certain=False)
    return tuple(found.values())


def condition_columns(
    columns: Iterable[str], mapping: ColumnMapping, *, where: Path
) -> tuple[str | None, tuple[str, ...]]:
    """The column with the direction of the reach (or None), and the further condition columns.

    Raises:
        DataError: a column named by the mapping is missing, or there is nothing to tell conditions by.
    """
    columns = list(columns)
    for name in (*mapping.conditions, *((mapping.direction,) if mapping.direction else ())):
        if name not in columns:
            raise missing_column("a condition column", name, columns, where=where)
    known = [name for name in DIRECTION_COLUMNS if name in (mapping.conditions or columns)]
    direction = mapping.direction or (known[0] if known else None)
    if mapping.conditions:
        return direction, tuple(name for name in mapping.conditions if name != direction)
    labels = () if direction else tuple(name for name in LABEL_COLUMNS if name in columns)
    if direction is None and not labels:
        wanted = "target_direction, direction_deg or another name of the table"
        raise missing_column("a condition column", wanted, columns, where=where)
    return direction, labels


def missing_column(what: str, wanted: str, columns: Sequence[str], *, where: Path) -> DataError:
    """The complaint about a column that is not there: which there are, and how to map them."""
    return DataError(
        f"{what} ({wanted})",
        rule="be in the trial table",
        received=f"a table with the columns {', '.join(columns) or 'none'}",
        remedy="Say which column it is: --map go_cue=ITS_COLUMN or --map conditions=ITS_COLUMN, or the same under "
        "[mapping] of a settings file",
        where=where,
    )


def direction_rule(column: str, values: np.ndarray, mapping: ColumnMapping, *, where: Path) -> str:
    """How the values of a direction column are to be read: ``index``, ``index0``, ``deg`` or ``rad``.

    The mapping decides, then the column's name, then the values: whole numbers from 1 to `MAX_DIRECTION_INDEX` are
    an index; 0, 1, ..., n - 1 without a gap are an index from 0; larger whole numbers are degrees; fractions are
    radians up to 2 pi and degrees beyond.

    Raises:
        DataError: when the values could be read in several ways.
    """
    unit = mapping.direction_unit if mapping.direction_unit != "auto" else DIRECTION_COLUMNS.get(column, "auto")
    if unit != "auto":
        return unit
    seen = np.unique(values[np.isfinite(values)])
    largest = float(np.abs(seen).max()) if seen.size else 0.0
    if (seen != np.round(seen)).any():
        return "rad" if largest <= 2 * np.pi + 1e-6 else "deg"
    if largest > MAX_DIRECTION_INDEX:
        return "deg"
    if seen.size and seen.min() >= 1:
        return "index"
    if seen.size > 1 and np.array_equal(seen, np.arange(seen.size)):
        return "index0"
    raise DataError(
        column,
        rule="say plainly whether it holds an index, degrees or radians",
        received=f"the values {seen.tolist()}",
        remedy='Set direction_unit to "index", "index0", "deg" or "rad" in the column mapping',
        where=where,
    )


def direction_deg(values: np.ndarray, rule: str, n_directions: int, *, where: Path) -> np.ndarray:
    """Directions in degrees from 0 to 360: index k is ``(k - 1) 360 / n``, counted from 1.

    Args:
        values: one per trial, NaN where a trial has none.
        rule: as `direction_rule` says.
        n_directions: n, used for an index only.
        where: the file, for messages.

    Raises:
        DataError: an index beyond `n_directions`, or one that is not a whole number of the range.
    """
    if rule in ("index", "index0"):
        k = values - (rule == "index")
        finite = k[np.isfinite(k)]
        if (finite < 0).any() or (finite >= n_directions).any() or (finite != np.round(finite)).any():
            first = 1 if rule == "index" else 0
            raise DataError(
                "direction index",
                rule=f"be a whole number from {first} to {n_directions - 1 + first}",
                received=np.unique(values[np.isfinite(values)]).tolist(),
                remedy="Correct n_directions or direction_unit in the column mapping",
                where=where,
            )
        degrees = k * 360.0 / n_directions
    else:
        degrees = np.rad2deg(values) if rule == "rad" else values
    # Six decimals make one condition of angles that differ by round-off, before and after the wrap at 360.
    return np.asarray(np.round(np.mod(np.round(degrees, 6), 360.0), 6))


def last_entries(column: TrialColumn) -> tuple[np.ndarray, bool]:
    """Times of a column, and whether it was array-valued: then each trial's last entry that is not NaN counts."""
    if isinstance(column, np.ndarray) and column.ndim == 1:
        return column.astype(np.float64), False
    last = np.full(len(column), np.nan)
    for row, entries in enumerate(column):
        values = np.asarray(entries, dtype=np.float64).ravel()
        values = values[np.isfinite(values)]
        if values.size:
            last[row] = values[-1]
    return last, True
