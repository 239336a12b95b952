"""Which trials and units of a file are read: by values of their columns, and counted."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.columns import WHERE_PATTERN
from dynaprobe.recordings.tables import SessionTables

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
# Columns that say how a trial went. Where the user chooses nothing, all trials are read and the account says so.
OUTCOME_COLUMNS = ("success", "task_success", "result", "discard_trial")


def select(tables: SessionTables, conditions: Sequence[str]) -> tuple[SessionTables, Counter[str]]:
    """The trials and units for which every condition holds, and how many were left out by which condition.

    A trial without a value (NaN) satisfies no condition. Several values are alternatives: ``split==train|val``.

    Raises:
        DataError: a column that is not there or has no single value per row, a value of another kind, or nothing
            left.
    """
    left_out = Counter[str]()
    for text in conditions:
        match = WHERE_PATTERN.match(text)
        assert match is not None  # checked when the settings were read
        of_units, name, sign, value = match.groups()
        columns = cast(Mapping[str, Any], tables.unit_columns if of_units else tables.trial_columns)
        what = "units" if of_units else "trials"
        if name not in columns:
            raise DataError(
                f"the column of a condition ({name})",
                rule="be in the table",
                received=f"a table with the columns {', '.join(columns) or 'none'}",
                remedy="Correct --map where=, e.g. where=success==1 or, for units, where=units.heldout==0",
                where=tables.where,
            )
        holds = _holds(columns[name], name, sign, value, tables.where)
        if not holds.any():
            raise DataError(
                what,
                rule=f"satisfy {text} at least once",
                received=f"{_values(columns[name])} in the column {name}",
                remedy="Correct the condition under --map where=",
                where=tables.where,
            )
        if not holds.all():
            left_out[f"{what} where {text} does not hold"] += int((~holds).sum())
            rows = np.flatnonzero(holds)
            tables = _units(tables, rows) if of_units else _trials(tables, rows)
    return tables, left_out


def remarks(tables: SessionTables, conditions: Sequence[str]) -> list[str]:
    """Sentences for the account about columns that mark trials or units and by which nobody chose."""
    chosen = {match[2] for text in conditions if (match := WHERE_PATTERN.match(text))}
    said = []
    for name in OUTCOME_COLUMNS:
        values = tables.trial_columns.get(name)
        if values is not None and name not in chosen and len(np.unique(np.asarray(values, dtype=str))) > 1:
            said.append(f"trials of every {name} are read ({_values(values)}); --map where={name}==VALUE chooses")
    held = tables.unit_columns.get("heldout")
    if held is not None and "heldout" not in chosen and np.asarray(held).any():
        n_held = int(np.asarray(held).astype(bool).sum())
        said.append(
            f"{n_held} of {len(held)} units are held out in the benchmark and are read like the others; "
            "--map where=units.heldout==0 leaves them out"
        )
    split = tables.trial_columns.get("split")
    if split is not None and "split" not in chosen:
        said.append(f"trials of every split are read ({_values(split)}); --map where=split==train chooses")
    return said


def check_trials(tables: SessionTables) -> None:
    """Refuse a table without rows, and the file of a benchmark from which cues and conditions were taken away.

    Raises:
        DataError: no trial, or trials of the test split alone and no go cue.
    """
    if not max((len(column) for column in tables.trial_columns.values()), default=0):
        raise DataError(
            "the trials",
            rule="hold at least one row",
            received=f"a table without rows, with the columns {', '.join(tables.trial_columns) or 'none'}",
            remedy="Check that the trials were written into this file",
            where=tables.where,
        )
    split = tables.trial_columns.get("split")
    if split is None or {"go_cue_time", "target_on_time"} & set(tables.trial_columns):
        return
    if set(np.asarray(split).astype(str)) <= {"test", "none"}:
        raise DataError(
            "the trials",
            rule="have cues and conditions",
            received="the test segments of a benchmark (split is test), from which both were removed",
            remedy="Read the training file of the set, which holds whole trials, alone",
            where=tables.where,
        )


def _holds(values: Any, name: str, sign: str, text: str, where: Path) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise DataError(
            name, rule="have one value per row", received="an array-valued column",
            remedy="Choose by another column", where=where,
        )  # fmt: skip
    parts = [part.strip() for part in text.split("|")]
    wanted: list[Any] = list(parts)
    if values.dtype.kind in "biuf":
        wanted = [_number(part, name, where) for part in parts]
        rows = values.astype(np.float64)
        known = np.isfinite(rows)
    elif sign in ("==", "!="):
        rows = np.asarray([str(v) for v in values])
        known = np.asarray([bool(str(v)) and str(v) != "nan" for v in values])
    else:
        raise DataError(
            name, rule=f"hold numbers to be compared by {sign}", received=_values(values),
            remedy="Use == or != for text", where=where,
        )  # fmt: skip
    outcomes = [COMPARE[sign](rows, value) for value in wanted]
    combine = np.logical_and if sign == "!=" else np.logical_or
    return np.asarray(combine.reduce(outcomes) & known)


def _number(text: str, name: str, where: Path) -> float:
    try:
        return WORDS[text.lower()] if text.lower() in WORDS else float(text)
    except ValueError:
        raise DataError(
            name, rule="be compared with a number", received=text,
            remedy="Give a number, or true or false", where=where,
        ) from None  # fmt: skip


def _values(values: Any) -> str:
    found, counts = np.unique(np.asarray(values).astype(str), return_counts=True)
    said = [f"{value}: {count}" for value, count in zip(found[:6], counts, strict=False)]
    return ", ".join(said) + ", ..." * (len(found) > 6)


def _trials(tables: SessionTables, rows: np.ndarray) -> SessionTables:
    columns = {
        name: column[rows] if isinstance(column, np.ndarray) else [column[k] for k in rows]
        for name, column in tables.trial_columns.items()
    }
    return replace(tables, trial_columns=columns)


def _units(tables: SessionTables, rows: np.ndarray) -> SessionTables:
    obs = tables.obs_intervals_s
    return replace(
        tables,
        unit_columns={name: column[rows] for name, column in tables.unit_columns.items()},
        unit_ids=tables.unit_ids[rows],
        spike_times_s=tuple(tables.spike_times_s[k] for k in rows),
        obs_intervals_s=None if obs is None else tuple(obs[k] for k in rows),
    )
