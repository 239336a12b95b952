"""Continuous series of an NWB file: hand and cursor in processing modules, muscles wherever they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.onset import BehaviourMapping
from dynaprobe.recordings.series import ContinuousSeries

# Plain signals; images, raw voltages and tables of events are something else.
SIGNALS = ("TimeSeries", "SpatialSeries")
CONTAINERS = ("Position", "BehavioralTimeSeries", "EyeTracking", "CompassDirection", "PupilTracking")
# Modules of voltages and images, whose series are large and no behaviour.
NOT_BEHAVIOUR = ("ecephys", "ophys", "lfp")
AXES = ("x", "y", "z")


def nwb_series(
    file: Any, mapping: BehaviourMapping, where: Path
) -> tuple[dict[str, ContinuousSeries], dict[str, int]]:
    """Every series by name, in its unit: values times ``conversion`` plus ``offset``.

    A series is called by its own name, or by that of its container before it where two have the same. What cannot
    be used (no times, times that do not increase, another number of values) is left out and counted.

    Args:
        file: an open NWB file.
        mapping: which series are wanted; None takes all.
        where: the file, for messages.

    Raises:
        DataError: a wanted series is not in the file.
    """
    found: dict[str, ContinuousSeries] = {}
    left_out = Counter[str]()
    known = []
    for container, entry in _signals(file):
        name = entry.name if entry.name not in known else f"{container}_{entry.name}"
        known.append(name)
        if mapping.series is not None and name not in mapping.series:
            continue
        try:
            found[name] = _series(entry)
        except (DataError, ValueError, TypeError, AttributeError):
            left_out[f"series without usable times or values ({name})"] += 1
    missing = [name for name in mapping.series or () if name not in known]
    if missing:
        raise DataError(
            "behaviour.series",
            rule=f"be among {', '.join(known)}" if known else "be in the file",
            received=", ".join(missing),
            remedy="Correct --map behaviour.series=",
            where=where,
        )
    return found, dict(left_out)


def _signals(file: Any) -> Iterator[tuple[str, Any]]:
    """Signals with the name of what holds them, in the order of the file."""
    holders = [
        module
        for name, module in file.processing.items()
        if not any(word in name.lower() for word in NOT_BEHAVIOUR)
    ]
    places = [(module.name, entry) for module in holders for entry in module.data_interfaces.values()]
    places += [("acquisition", entry) for entry in file.acquisition.values()]
    for place, entry in places:
        kind = type(entry).__name__
        is_muscle = kind == "ElectricalSeries" and "emg" in entry.name.lower()
        if kind in SIGNALS or is_muscle:
            yield place, entry
        elif kind in CONTAINERS:
            inner = [part for part in entry.children if type(part).__name__ in SIGNALS]
            yield from ((entry.name, part) for part in inner)


def _series(entry: Any) -> ContinuousSeries:
    values = np.asarray(entry.data[:])
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise ValueError("more than two axes")
    scaled = values.astype(np.float64)
    # In place and only where it changes anything: such series are as long as the session.
    if entry.conversion not in (None, 1.0):
        scaled *= entry.conversion
    if entry.offset not in (None, 0.0):
        scaled += entry.offset
    if entry.timestamps is not None:
        times_s = np.asarray(entry.timestamps[:], dtype=np.float64)
    else:
        times_s = float(entry.starting_time or 0.0) + np.arange(len(values)) / float(entry.rate)
    return ContinuousSeries(
        times_s,
        scaled,
        str(entry.unit or "unknown"),
        _channels(entry, scaled.shape[1]),
        str(entry.description or ""),
    )


def _channels(entry: Any, n_channels: int) -> tuple[str, ...]:
    """Names from the comment ``columns=[x,y]`` that such files carry, else x, y, z of positions, else numbers."""
    _, mark, said = str(entry.comments or "").partition("columns=[")
    names = tuple(part.strip() for part in said.split("]")[0].split(",")) if mark else ()
    if len(names) == n_channels:
        return names
    return AXES[:n_channels] if 1 < n_channels <= len(AXES) else tuple(str(k) for k in range(n_channels))
