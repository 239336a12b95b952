"""Files of plain arrays: what they hold, and how to say what their axes mean. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import Settings
from dynaprobe.recordings.matfile import Unreadable, read_mat

ARRAY_ENDINGS = (".mat", ".npz")

Dim = Literal["time", "unit", "condition"]


def comma_separated(value: Any) -> Any:
    """Accept ``time,unit,condition`` from the command line where a list is meant."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class ArrayMapping(Settings):
    """What the arrays of a .mat or .npz file mean, where the file cannot say it.

    Attributes:
        variable: the array or struct that holds the data; None takes the only one of its kind.
        dims: meaning of the axes of a tensor.
        time: the variable with the time of every bin; None takes one of the usual names.
        time_unit: unit of that variable.
        dt_ms: bin width where the file has no times; the first bin then starts at 0 ms.
        event: what happens at 0 ms.
        rate_unit: unit of the values.
        first_index: number of the first bin of a trial in ``idx_`` fields: 1 as MATLAB counts, 0 as Python does.
    """

    variable: str | None = None
    dims: Annotated[tuple[Dim, ...], BeforeValidator(comma_separated)] = ("time", "unit", "condition")
    time: str | None = None
    time_unit: Literal["ms", "s"] = "ms"
    dt_ms: Annotated[float, Field(gt=0)] | None = None
    event: Annotated[str, Field(min_length=1)] = "time_zero"
    rate_unit: Literal["spikes/s", "a.u."] = "a.u."
    first_index: Annotated[int, Field(ge=0, le=1)] = 1


def read_arrays(path: Path | str) -> dict[str, Any]:
    """All variables of a .mat or .npz file by name.

    Raises:
        DataError: the file is damaged, or holds pickled Python objects.
    """
    path = Path(path)
    return read_mat(path) if path.suffix == ".mat" else _read_npz(path)


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            values = {}
            for name in file.files:
                try:
                    values[name] = file[name]
                except ValueError:
                    raise DataError(
                        name,
                        rule="be an array of numbers or text",
                        received="an array of Python objects, which only unpickling could read",
                        remedy="Save it as a plain array; a pickle can run any code when it is opened, so none is",
                        where=path,
                    ) from None
            return values
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(
            "the file",
            rule="be a complete .npz archive of plain arrays",
            received=f"{type(error).__name__}: {reason[:200]}",
            remedy="Copy or save it again; it may be cut short or be of another format",
            where=path,
        ) from error


def struct_rows(value: Any) -> list[dict[str, Any]] | None:
    """The elements of a struct array or of a cell array of like structs, which Python writes; None for others."""
    if not isinstance(value, list) or not value:
        return None
    rows = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in value]
    return rows if all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows) else None


def contents(values: Mapping[str, Any]) -> str:
    """The variables of a file in words, for messages."""
    said = [f"{name} ({_kind(value)})" for name, value in values.items()]
    return ", ".join(said[:12]) + (f" and {len(said) - 12} more" if len(said) > 12 else "") or "no variable"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return " x ".join(map(str, value.shape)) or "a number"
    if isinstance(value, Unreadable):
        return f"a MATLAB {value.kind}, which only MATLAB can read"
    rows = struct_rows(value)
    if rows is not None:
        return f"struct of {len(rows)} with the fields {', '.join(list(rows[0])[:8])}"
    return "text" if isinstance(value, str) else f"cell array of {len(value)}" if isinstance(value, list) else "?"
