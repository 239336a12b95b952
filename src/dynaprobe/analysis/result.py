"""What every analysis returns: arrays, the settings used, and what failed, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import xarray as xr

from dynaprobe.core.errors import DataError


@dataclass(frozen=True)
class Result:
    """A result record; every analysis has its own subclass, whose docstring lists the variables in `data`.

    Attributes:
        data: all arrays and numbers, by name, with labelled axes and units in attrs.
        settings: the settings the numbers depend on.
        failures: how many things failed, by reason in words; empty when nothing did.
    """

    data: xr.Dataset
    settings: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """One sentence on what failed."""
        if not self.failures:
            return "nothing failed"
        return "; ".join(f"{count} x {reason}" for reason, count in self.failures.items())

    def to_dataset(self) -> xr.Dataset:
        """The whole record as one dataset that netCDF can hold."""
        return self.data.assign_attrs(
            result=type(self).__name__,
            settings=json.dumps(dict(self.settings)),
            failures=json.dumps(dict(self.failures)),
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Self:
        """Undo `to_dataset`.

        Raises:
            DataError: when the dataset holds another kind of result.
        """
        found = dataset.attrs.get("result")
        if found != cls.__name__:
            raise DataError(
                "result",
                rule=f"be a {cls.__name__}",
                received=found,
                remedy="Read the file with the class named in its attributes",
            )
        attrs = {k: v for k, v in dataset.attrs.items() if k not in ("result", "settings", "failures")}
        data = dataset.copy()
        data.attrs = attrs
        return cls(data, json.loads(dataset.attrs["settings"]), json.loads(dataset.attrs["failures"]))
