"""Objects of pynapple become a session. pynapple itself is not needed: the objects say what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.clean import build_session
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping
from dynaprobe.recordings.series import ContinuousSeries
from dynaprobe.recordings.session import Session
from dynaprobe.recordings.tables import SessionTables

NAMES = {"start": "start_time", "end": "stop_time", "stop": "stop_time"}


def session_from_pynapple(
    spikes: Any,
    trials: Any,
    mapping: ColumnMapping = DEFAULT_MAPPING,
    *,
    identifier: str = "pynapple",
    subject: str = "unknown",
    series: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    observed: Any = None,
) -> Session:
    """A session of a TsGroup and a table of trials, under the same checks as a session of a file.

    Args:
        spikes: a ``TsGroup``; its metadata become columns of the unit table.
        trials: an ``IntervalSet`` with metadata, or a data frame with ``start`` and ``end`` (or ``start_time`` and
            ``stop_time``). Events are columns with times in s on the clock of the spikes, as in NWB.
        mapping: overrides of the column table.
        identifier, subject: names of session and animal.
        series: ``Tsd`` or ``TsdFrame`` objects by name, e.g. ``{"hand_vel": frame}``.
        units: unit of every series by name; pynapple does not know them.
        observed: an ``IntervalSet`` in which all units were observed. The time support of a TsGroup is not taken:
            by default it reaches from the first spike to the last and says nothing about observation.

    Raises:
        DataError: an object of another kind, or what `build_session` refuses.
    """
    where = Path(identifier)
    try:
        labels = list(spikes.keys())
        times_s = tuple(np.asarray(spikes[label].t, dtype=np.float64) for label in labels)
        metadata = pd.DataFrame(spikes.metadata)
    except (AttributeError, TypeError, KeyError):
        raise _kind("spikes", "be a pynapple TsGroup", spikes, where) from None
    frame = _trial_frame(trials, where)
    obs = None
    if observed is not None:
        try:
            spans = np.column_stack([np.asarray(observed.start), np.asarray(observed.end)])
        except AttributeError:
            raise _kind("observed", "be a pynapple IntervalSet", observed, where) from None
        obs = (spans,) * len(labels)
    tables = SessionTables(
        where=where,
        identifier=identifier,
        subject=subject,
        unit_columns={str(name): _plain(metadata[name]) for name in metadata},
        unit_ids=np.asarray(labels),
        spike_times_s=times_s,
        trial_columns={NAMES.get(str(name), str(name)): _plain(frame[name]) for name in frame},
        obs_intervals_s=obs,
        series={name: _series(name, value, units or {}, where) for name, value in (series or {}).items()},
    )
    return build_session(tables, mapping)


def _trial_frame(trials: Any, where: Path) -> pd.DataFrame:
    if isinstance(trials, pd.DataFrame):
        return trials
    try:
        return pd.DataFrame(trials.as_dataframe())
    except AttributeError:
        raise _kind("trials", "be a pynapple IntervalSet or a data frame", trials, where) from None


def _series(name: str, value: Any, units: Mapping[str, str], where: Path) -> ContinuousSeries:
    try:
        times_s, values = np.asarray(value.t, dtype=np.float64), np.asarray(value.values, dtype=np.float64)
    except (AttributeError, TypeError):
        raise _kind(f"the series {name}", "be a pynapple Tsd or TsdFrame", value, where) from None
    values = values[:, None] if values.ndim == 1 else values
    columns = getattr(value, "columns", None)
    channels = tuple(map(str, columns)) if columns is not None else (name,)
    return ContinuousSeries(times_s, values, units.get(name, "unknown"), channels)


def _plain(column: pd.Series) -> np.ndarray:
    values = column.to_numpy()
    return values if values.dtype.kind in "biuf" else np.asarray(values, dtype=object)


def _kind(name: str, rule: str, value: Any, where: Path) -> DataError:
    return DataError(
        name, rule=rule, received=type(value).__name__, remedy="See docs/recordings.md for an example", where=where
    )
