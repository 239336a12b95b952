"""Reader for trial tables in .mat files: one struct per trial, with spike counts in bins.

The layout is that of TrialData: ``M1_spikes`` and the like hold counts of shape time x unit, ``bin_size`` the
width of a bin in s, ``idx_go_cue`` and the like the number of the bin in which an event falls, other fields one
value per trial (``tgtDir``, ``result``) or one row per bin (``pos``, ``vel``, ``emg``).

Trials are laid one after another on a clock of our own. The spikes of a bin stand at its centre, so that counting
them again in the same bins, or in bins of several, gives the counts of the file; finer bins are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.arrays import ArrayMapping, contents, read_arrays, struct_rows
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping, TrialColumn
from dynaprobe.recordings.series import ContinuousSeries
from dynaprobe.recordings.tables import SessionTables
from dynaprobe.recordings.tensors import condition_struct, no_trials, tensor_names

SPIKES, GUIDE = "_spikes", "_unit_guide"
# Nobody bins the activity of a trial in bins of a second: a larger number is in ms.
LONGEST_BIN_S = 1.0
# Unobserved time between trials on our clock.
GAP_S = 1.0

Rows = list[dict[str, Any]]


def trial_rows(values: Mapping[str, Any], arrays: ArrayMapping) -> Rows | None:
    """The struct array with one element per trial and spike counts in fields ``..._spikes``, if there is one."""
    for name in [arrays.variable] if arrays.variable else list(values):
        rows = struct_rows(values.get(name))
        if rows is not None and _areas(rows[0]):
            return rows
    return None


def trial_table(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> SessionTables:
    """The tables of a .mat file with one struct per trial.

    Raises:
        DataError: no such struct, counts that are none, trials of different units, or bins without a width.
    """
    path = Path(path)
    values = read_arrays(path)
    rows = trial_rows(values, mapping.arrays)
    if rows is None and (condition_struct(values, mapping.arrays) or tensor_names(values, mapping.arrays)):
        raise no_trials(path)
    if rows is None:
        raise DataError(
            "the trials",
            rule="be a struct array, one element per trial, with spike counts in a field such as M1_spikes",
            received=f"a file with {contents(values)}",
            remedy="Save the table as a struct array; a MATLAB table by table2struct",
            where=path,
        )
    bin_s = _bin_s(rows, mapping.arrays, path)
    counts = [_counts(row, rows[0], path) for row in rows]
    n_bins = np.asarray([len(trial) for trial in counts])
    # In whole bins, so that events and edges of bins stay multiples of the bin on our clock.
    gap_bins = int(np.ceil(GAP_S / bin_s))
    first_bin = np.concatenate([[0], np.cumsum(n_bins + gap_bins)[:-1]])
    start_s = first_bin * bin_s
    centres_s = np.concatenate([(k + np.arange(n) + 0.5) * bin_s for k, n in zip(first_bin, n_bins, strict=True)])
    joined = np.concatenate(counts)
    n_units = joined.shape[1]
    observed_s = np.column_stack([start_s, start_s + n_bins * bin_s])
    area = np.concatenate([np.repeat(name, np.shape(rows[0][f"{name}{SPIKES}"])[1]) for name in _areas(rows[0])])
    return SessionTables(
        where=path,
        identifier=path.stem,
        subject=str(rows[0].get("monkey") or rows[0].get("subject") or "unknown"),
        unit_columns={"area": area.astype(object), **_guide(rows[0], n_units)},
        unit_ids=np.arange(n_units),
        spike_times_s=tuple(np.repeat(centres_s, joined[:, unit]) for unit in range(n_units)),
        trial_columns={
            "start_time": start_s,
            "stop_time": observed_s[:, 1],
            **_events(rows, start_s, bin_s, mapping.arrays, path),
            **_plain_columns(rows),
        },
        obs_intervals_s=(observed_s,) * n_units,
        series=_series(rows, n_bins, centres_s, mapping),
        resolution_ms=round(bin_s * 1e3, 9),
    )


def _areas(row: Mapping[str, Any]) -> list[str]:
    names = [name.removesuffix(SPIKES) for name in row if name.endswith(SPIKES)]
    return [name for name in names if isinstance(row[f"{name}{SPIKES}"], np.ndarray)]


def _bin_s(rows: Rows, arrays: ArrayMapping, path: Path) -> float:
    found = [np.asarray(row.get("bin_size", [])) for row in rows]
    widths = {float(width.item()) for width in found if width.size == 1 and width.dtype.kind in "iuf"}
    if not widths and arrays.dt_ms is not None:
        return arrays.dt_ms * 1e-3
    remedy = "Bin all trials alike" if len(widths) > 1 else "Divide it by 1000 where it is in ms"
    remedy = remedy if widths else "Give the width: --map arrays.dt_ms=10"
    if len(widths) != 1 or not 0 < max(widths) < LONGEST_BIN_S:
        raise DataError(
            "bin_size",
            rule="be one width in s, below 1, in every trial",
            received=sorted(widths) or "a table without it",
            remedy=remedy,
            where=path,
        )
    return widths.pop()


def _counts(row: Mapping[str, Any], first: Mapping[str, Any], path: Path) -> np.ndarray:
    """Spike counts of one trial, all areas side by side, shape ``(time, unit)``."""
    parts = [np.asarray(row.get(f"{area}{SPIKES}")) for area in _areas(first)]
    wanted = [np.shape(first[f"{area}{SPIKES}"])[1:] for area in _areas(first)]
    if any(part.ndim != 2 for part in parts) or [part.shape[1:] for part in parts] != wanted:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise DataError(
            "the spike counts",
            rule=f"have time x unit axes, the units of the first trial, {', '.join(str(w[0]) for w in wanted)}",
            received=f"the sizes {shapes} in another trial",
            remedy="Keep the same units in every trial, time along the first axis",
            where=path,
        )
    if len({len(part) for part in parts}) > 1:
        raise DataError(
            "the spike counts", rule="have as many bins in every area of a trial",
            received=f"{', '.join(str(len(part)) for part in parts)} bins",
            remedy="Bin all areas alike", where=path,
        )  # fmt: skip
    counts = np.concatenate(parts, axis=1)
    good = (counts >= 0) & (counts == np.round(counts)) & np.isfinite(counts)
    if not good.all():
        raise DataError(
            "the spike counts",
            rule="be whole numbers from 0",
            received=f"values such as {counts[~good][0]:g}",
            remedy="Bring counts; rates smoothed before cannot be binned, but averaged they are read by load_psth",
            where=path,
        )
    return counts.astype(np.int64)


def _events(
    rows: Rows, start_s: np.ndarray, bin_s: float, arrays: ArrayMapping, path: Path
) -> dict[str, TrialColumn]:
    """Time of every event on our clock: the start of the bin whose number the file gives."""
    found: dict[str, TrialColumn] = {}
    for name in (name for name in rows[0] if name.startswith("idx_")):
        entries = [np.asarray(row.get(name, np.nan), dtype=np.float64).ravel() for row in rows]
        numbers = np.concatenate([e[np.isfinite(e)] for e in entries])
        if arrays.first_index == 1 and numbers.size and (numbers < 1).any():
            raise DataError(
                name,
                rule="count bins from 1, as MATLAB does",
                received=f"the number {numbers.min():g}",
                remedy="Where they are counted from 0, say so: --map arrays.first_index=0",
                where=path,
            )
        times = [s + (e - arrays.first_index) * bin_s for s, e in zip(start_s, entries, strict=True)]
        single = all(t.size <= 1 for t in times)
        found[name] = np.asarray([t[0] if t.size else np.nan for t in times]) if single else times
    return found


def _plain_columns(rows: Rows) -> dict[str, np.ndarray]:
    """Fields with one number or one text in every trial."""
    found: dict[str, np.ndarray] = {}
    for name in rows[0]:
        column = [row.get(name) for row in rows]
        if name.startswith("idx_") or name == "bin_size":
            continue
        if all(isinstance(value, str) for value in column):
            found[name] = np.asarray(column, dtype=object)
        elif all(isinstance(v, np.ndarray) and v.size <= 1 and v.dtype.kind in "biuf" for v in column):
            found[name] = np.asarray([float(v.item()) if v.size else np.nan for v in column])  # type: ignore[union-attr]
    return found


def _guide(row: Mapping[str, Any], n_units: int) -> dict[str, np.ndarray]:
    """Electrode and number of every unit, where the file says them for all areas."""
    guides = [np.asarray(row.get(f"{area}{GUIDE}", np.empty((0, 0)))) for area in _areas(row)]
    if any(guide.ndim != 2 or guide.shape[1:] != (2,) for guide in guides):
        return {}
    joined = np.concatenate(guides)
    return {"electrode": joined[:, 0], "unit_on_electrode": joined[:, 1]} if len(joined) == n_units else {}


def _series(
    rows: Rows, n_bins: np.ndarray, centres_s: np.ndarray, mapping: ColumnMapping
) -> dict[str, ContinuousSeries]:
    """Fields with one row of numbers per bin in every trial."""
    wanted = mapping.behaviour.series
    found: dict[str, ContinuousSeries] = {}
    for name in rows[0]:
        column = [row.get(name) for row in rows]
        if name.endswith((SPIKES, "_rates")) or (wanted is not None and name not in wanted):
            continue
        per_bin = all(
            isinstance(v, np.ndarray) and v.ndim == 2 and v.dtype.kind in "iuf" and len(v) == n
            for v, n in zip(column, n_bins, strict=True)
        )
        if not per_bin or len({v.shape[1] for v in column}) > 1 or n_bins.max() < 2:  # type: ignore[union-attr]
            continue
        values = np.concatenate(column).astype(np.float64)  # type: ignore[arg-type]
        names = rows[0].get(f"{name}_names")
        named = isinstance(names, list) and len(names) == values.shape[1]
        channels = tuple(map(str, names)) if named else tuple(f"{name}_{k}" for k in range(values.shape[1]))  # type: ignore[arg-type]
        found[name] = ContinuousSeries(centres_s, values, "unknown", channels)
    return found
