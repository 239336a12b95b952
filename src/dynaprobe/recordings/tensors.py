"""Condition averages from files that hold nothing else: no trials, so no standard errors and no split halves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.rates import done, make_rates
from dynaprobe.core.trials import ConditionTable
from dynaprobe.recordings.arrays import ArrayMapping, contents, read_arrays, struct_rows
from dynaprobe.recordings.columns import (
    DEFAULT_MAPPING,
    DIRECTION_COLUMNS,
    ColumnMapping,
    direction_deg,
    direction_rule,
)

TIME_NAMES = ("time_ms", "times_ms", "t_ms", "times", "time", "t")
# Steps below this are seconds called milliseconds: nobody bins rates at half a one.
SHORTEST_STEP_MS = 0.5
MS_PER = {"ms": 1.0, "s": 1000.0}


def read_psth(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> xr.DataArray:
    """Condition averages from a struct array ``Data(c).A`` with ``times`` or a tensor, of a .mat or .npz file.

    Args:
        path: the file.
        mapping: ``arrays`` says what the axes mean, ``direction`` names the variable (or the field of the struct)
            with the direction of every condition; `DIRECTION_COLUMNS` are known.

    Returns:
        Rates with dims ``(condition, time, unit)``, in order of direction where directions are known, with the
        coordinate ``direction_deg`` then.

    Raises:
        DataError: nothing of either form, axes that do not match, or values that are not rates.
    """
    path = Path(path)
    values = read_arrays(path)
    struct = condition_struct(values, mapping.arrays)
    if struct is not None:
        return _from_struct(struct, mapping, path)
    return _from_tensor(values, mapping, path)


def no_trials(path: Path) -> DataError:
    """The complaint about averages where trials are needed."""
    return DataError(
        "the recording",
        rule="hold trials",
        received="condition averages: no trials, hence neither split halves nor standard errors",
        remedy="Read it with load_psth, for analyses that need PSTHs alone",
        where=path,
    )


def condition_struct(values: Mapping[str, Any], arrays: ArrayMapping) -> list[dict[str, Any]] | None:
    """The struct array with one element per condition and the rates in its field A, if there is one."""
    names = [arrays.variable] if arrays.variable else list(values)
    for name in names:
        rows = struct_rows(values.get(name))
        if rows is not None and "A" in rows[0]:
            return rows
    return None


def tensor_names(values: Mapping[str, Any], arrays: ArrayMapping) -> list[str]:
    """The variables that could be a tensor of rates."""
    names = [arrays.variable] if arrays.variable else list(values)
    return [
        n for n in names if isinstance(values.get(n), np.ndarray) and values[n].ndim == 3 and _numeric(values[n])
    ]


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "iuf"


def _from_struct(rows: list[dict[str, Any]], mapping: ColumnMapping, path: Path) -> xr.DataArray:
    shapes = {np.shape(row["A"]) for row in rows}
    shape = shapes.pop()
    if shapes or len(shape) != 2:
        raise DataError(
            "A",
            rule="be a matrix of time x unit, of one size in every condition",
            received=f"the sizes {sorted({np.shape(row['A']) for row in rows}, key=str)}",
            remedy="Cut all conditions to the same times and units",
            where=path,
        )
    time_ms = _time_ms(rows[0], mapping.arrays, shape[0], path, said="A read as time x unit")
    for row in rows[1:]:
        other = _time_ms(row, mapping.arrays, shape[0], path, said="A read as time x unit")
        if not np.allclose(other, time_ms):
            raise DataError(
                "times",
                rule="be the same in every condition",
                received=f"{time_ms[0]:g} to {time_ms[-1]:g} ms and {other[0]:g} to {other[-1]:g} ms",
                remedy="Cut all conditions to the same times",
                where=path,
            )
    values = np.stack([np.asarray(row["A"], dtype=np.float64) for row in rows])
    fields = {name: _per_condition(rows, name) for name in rows[0]}
    return _rates(values, time_ms, {n: v for n, v in fields.items() if v is not None}, mapping, path)


def _per_condition(rows: list[dict[str, Any]], name: str) -> np.ndarray | None:
    """A field that holds one number in every element of a struct array."""
    column = [np.asarray(row.get(name)) for row in rows]
    return np.asarray([v.item() for v in column]) if all(v.size == 1 and _numeric(v) for v in column) else None


def _from_tensor(values: dict[str, Any], mapping: ColumnMapping, path: Path) -> xr.DataArray:
    arrays = mapping.arrays
    names = tensor_names(values, arrays)
    if len(names) != 1:
        raise DataError(
            "the condition averages",
            rule="be one array of three axes, or a struct array with the fields A and times",
            received=f"a file with {contents(values)}",
            remedy="Name the variable: --map arrays.variable=ITS_NAME"
            if names
            else "Save an array of time x unit x condition",
            where=path,
        )
    dims = arrays.dims
    if sorted(dims) != ["condition", "time", "unit"]:
        raise DataError(
            "arrays.dims", rule="name time, unit and condition once each", received=", ".join(dims),
            remedy="For example --map arrays.dims=time,unit,condition", where=path,
        )  # fmt: skip
    tensor = np.asarray(values[names[0]], dtype=np.float64)
    size = dict(zip(dims, tensor.shape, strict=True))
    others = _vectors(values)
    time_ms = _time_ms(values, arrays, size["time"], path, said=f"{names[0]} read as {_said(size)}")
    order = [dims.index(dim) for dim in ("condition", "time", "unit")]
    per_condition = {n: v for n, v in others.items() if v.size == size["condition"]}
    wanted = mapping.direction
    if wanted is not None and wanted not in per_condition:
        found = f"{others[wanted].size} values" if wanted in others else f"a file with {contents(values)}"
        raise DataError(
            f"the variable of the direction ({wanted})",
            rule=f"hold one number for each of {size['condition']} conditions",
            received=f"{found}, with {names[0]} read as {_said(size)}",
            remedy="Name another variable, or say the order of the axes: --map arrays.dims=time,unit,condition",
            where=path,
        )
    return _rates(tensor.transpose(order), time_ms, per_condition, mapping, path)


def _vectors(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The variables that are a row or a column of numbers."""
    return {
        name: value.ravel()
        for name, value in values.items()
        if isinstance(value, np.ndarray) and _numeric(value) and value.size == max(value.shape, default=1)
    }


def _said(size: Mapping[str, int]) -> str:
    return " x ".join(f"{n} {dim}{'s' * (n > 1)}" for dim, n in size.items())


def _time_ms(values: Mapping[str, Any], arrays: ArrayMapping, n_bins: int, path: Path, *, said: str) -> np.ndarray:
    """The times of a file in ms, or, where it has none, even ones of the width that the mapping gives."""
    found = _vectors(values)
    names = [arrays.time] if arrays.time else [name for name in TIME_NAMES if name in found]
    if not names and arrays.dt_ms is not None:
        return np.arange(n_bins) * arrays.dt_ms
    if not names or names[0] not in found:
        raise DataError(
            "the times",
            rule=f"be in the file, as {names[0] if names else ', '.join(TIME_NAMES[:-1])} or {TIME_NAMES[-1]}",
            received=f"a file with {contents(values)}",
            remedy="Name their variable, --map arrays.time=ITS_NAME, or the width of a bin, --map arrays.dt_ms=10",
            where=path,
        )
    time_ms = np.asarray(found[names[0]], dtype=np.float64) * MS_PER[arrays.time_unit]
    if time_ms.size != n_bins:
        raise DataError(
            names[0],
            rule=f"have one entry for each of {n_bins} times, with {said}",
            received=f"{time_ms.size} entries",
            remedy="Say what the axes are, e.g. --map arrays.dims=unit,time,condition",
            where=path,
        )
    if n_bins > 1 and abs(np.median(np.diff(time_ms))) < SHORTEST_STEP_MS:
        raise DataError(
            names[0],
            rule="be in ms",
            received=f"steps of {np.median(np.diff(time_ms)):g}, which look like seconds",
            remedy="Say so: --map arrays.time_unit=s",
            where=path,
        )
    return time_ms


def _rates(
    values: np.ndarray, time_ms: np.ndarray, extra: Mapping[str, np.ndarray], mapping: ColumnMapping, path: Path
) -> xr.DataArray:
    """Rates of values in the order condition, time, unit; `extra` holds what has one number per condition."""
    arrays = mapping.arrays
    degrees, rule = _directions(extra, mapping, path)
    order = np.arange(len(values)) if degrees is None else np.argsort(degrees, kind="stable")
    try:
        rates = make_rates(
            values[order],
            dims=("condition", "time", "unit"),
            time_ms=time_ms,
            event=arrays.event,
            rate_unit=arrays.rate_unit,
            source=path.name,
            coords=_coords(values.shape, order, None if degrees is None else degrees[order], path),
        )
    except RatesError as error:
        raise DataError(
            error.name, rule=error.rule, received=error.received, remedy=error.remedy, where=path
        ) from None
    rates = done(rates, "condition averages as they stand in the file; what was done to them before is not known")
    return done(rates, rule) if rule else rates


def _directions(
    extra: Mapping[str, np.ndarray], mapping: ColumnMapping, path: Path
) -> tuple[np.ndarray | None, str]:
    known = [name for name in DIRECTION_COLUMNS if name in extra]
    name = mapping.direction or (known[0] if known else None)
    if name is None:
        return None, ""
    if name not in extra:
        raise DataError(
            f"the field of the direction ({name})",
            rule="hold one number in every condition",
            received=f"the fields {', '.join(extra) or 'none that do'}",
            remedy="Name another field: --map direction=ITS_FIELD",
            where=path,
        )
    values = np.asarray(extra[name], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            name, rule="hold a direction for every condition", received=values.tolist(),
            remedy="Leave the conditions without one out of the file", where=path,
        )  # fmt: skip
    rule = direction_rule(name, values, mapping, where=path)
    n_directions = mapping.n_directions or int(values.max()) + (rule == "index0")
    return direction_deg(values, rule, n_directions, where=path), f"direction_deg is {name}, read as {rule}"


def _coords(shape: tuple[int, ...], order: np.ndarray, degrees: np.ndarray | None, path: Path) -> dict[str, Any]:
    n_conditions, _, n_units = shape
    numbers = (order + 1).tolist()
    if degrees is None:
        table = ConditionTable(("condition_number",), tuple((k,) for k in numbers))
    elif len(np.unique(degrees)) == n_conditions:
        table = ConditionTable(("direction_deg",), tuple((float(d),) for d in degrees))
    else:
        # Reaches of one direction that differ otherwise, as in mazes: the order in the file tells them apart.
        rows = tuple((k, float(d)) for k, d in zip(numbers, degrees, strict=True))
        table = ConditionTable(("condition_number", "direction_deg"), rows)
    coords: dict[str, Any] = {
        "condition": ("condition", np.asarray(table.labels)),
        "unit": ("unit", np.asarray([f"{path.stem}/{k}" for k in range(n_units)])),
        "session": ("unit", np.full(n_units, path.stem)),
        "subject": ("unit", np.full(n_units, "unknown")),
    }
    for name, column in table.frame().items():
        coords[str(name)] = ("condition", column.to_numpy())
    return coords
