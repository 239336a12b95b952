"""Direction of the reach from the position of the target, where a file has no column with the direction itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.columns import DIRECTION_COLUMNS, ColumnMapping, TrialColumn
from dynaprobe.recordings.tables import SessionTables

DERIVED = "direction_deg"
# x and y of the target of every trial, or of every target on the screen. The target hit comes first.
POSITION_COLUMNS = ("hit_target_position", "target_pos", "target_position", "target_positions")
# Which of several targets was reached.
ACTIVE_COLUMN = "active_target"
# Reaches to one target can differ by what stands in the way: these tell them apart, as in the maze task.
MAZE_COLUMNS = ("trial_type", "trial_version")


def with_direction(tables: SessionTables, mapping: ColumnMapping) -> tuple[SessionTables, ColumnMapping, str]:
    """Add ``direction_deg`` to a trial table that says where the target is and not in which direction.

        direction = atan2(y, x) 180 / pi

    with (x, y) the target of the trial: the only one, or the one that ``active_target`` counts, from 0 unless that
    cannot be. Unless the mapping names the conditions, the columns of `MAZE_COLUMNS` become conditions beside it.

    Returns:
        Tables, mapping, and a sentence for the account, empty where nothing was added.

    Raises:
        DataError: positions that are no pairs, or several targets and no column that says which was reached.
    """
    columns = tables.trial_columns
    named = mapping.direction is not None and _is_array(columns.get(mapping.direction))
    known = mapping.direction is not None or any(name in columns for name in DIRECTION_COLUMNS)
    candidates = [mapping.direction] if named else [name for name in POSITION_COLUMNS if name in columns]
    if (known and not named) or not candidates:
        return tables, mapping, ""
    name = str(candidates[0])
    xy, counted = _reached(tables, name)
    degrees = np.rad2deg(np.arctan2(xy[:, 1], xy[:, 0]))
    # The centre has no direction.
    degrees[(xy == 0).all(axis=1)] = np.nan
    mazes = tuple(m for m in MAZE_COLUMNS if not _is_array(columns.get(m)) and m in columns)
    # A direction that nobody named is a condition only where the conditions are left open or name it.
    changed = {"direction": DERIVED if named else None, "conditions": mapping.conditions or (DERIVED, *mazes)}
    said = f"{DERIVED} is the angle of {name}{counted}, as seen from the origin of its coordinates"
    tables = replace(tables, trial_columns={**columns, DERIVED: degrees})
    return tables, mapping.model_copy(update=changed), said


def _is_array(column: TrialColumn | None) -> bool:
    return column is not None and not (isinstance(column, np.ndarray) and column.ndim == 1)


def _reached(tables: SessionTables, name: str) -> tuple[np.ndarray, str]:
    """The target of every trial, shape ``(trial, 2)``, and by which column it was chosen."""
    targets = [_pairs(tables, name, entry) for entry in tables.trial_columns[name]]
    n_targets = np.asarray([len(pairs) for pairs in targets])
    xy = np.full((len(targets), 2), np.nan)
    active = tables.trial_columns.get(ACTIVE_COLUMN)
    if active is None or _is_array(active):
        if (n_targets > 1).any():
            raise DataError(
                name,
                rule=f"hold one target per trial, or be counted by a column {ACTIVE_COLUMN}",
                received=f"several targets in {int((n_targets > 1).sum())} of {len(targets)} trials",
                remedy="Name a column with the direction: --map direction=ITS_COLUMN",
                where=tables.where,
            )
        chosen, said = np.zeros(len(targets), dtype=np.int64), ""
    else:
        index = np.asarray(active, dtype=np.float64)
        # Counted from 1, the last target has an index that does not exist when counted from 0.
        first = int(bool((index[np.isfinite(index)] >= n_targets[np.isfinite(index)]).any()))
        chosen = np.where(np.isfinite(index), index - first, -1).astype(np.int64)
        said = f", the target that {ACTIVE_COLUMN} counts from {first}"
    for row, pairs in enumerate(targets):
        if 0 <= chosen[row] < len(pairs):
            xy[row] = pairs[chosen[row]]
    return xy, said


def _pairs(tables: SessionTables, name: str, entry: object) -> np.ndarray:
    values = np.asarray(entry, dtype=np.float64)
    pairs = values[None] if values.ndim == 1 and values.size else values
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] not in (2, 3)):
        raise DataError(
            name,
            rule="hold x and y of every target",
            received=f"an entry of shape {values.shape}",
            remedy="Name a column with the direction: --map direction=ITS_COLUMN",
            where=tables.where,
        )
    return pairs[:, :2] if pairs.size else np.empty((0, 2))
