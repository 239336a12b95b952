"""Two populations brought to the conditions and time bins they share, with an account of what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynaprobe.analysis.matrix import PSTH_DIMS
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import bin_width_ms, check_rates


@dataclass(frozen=True)
class Matched:
    """Two populations, row for row alike.

    Attributes:
        a, b: the shared conditions and bins, in the order of `a`; `b` carries the labels and times of `a`.
        matched_by: the task variables, or other means, by which conditions were told to be the same.
        left_out: how many conditions and bins have no counterpart, by reason in words.
    """

    a: xr.DataArray
    b: xr.DataArray
    matched_by: tuple[str, ...]
    left_out: Mapping[str, int]
    _conditions: tuple[np.ndarray, np.ndarray]
    _bins: tuple[np.ndarray, np.ndarray]

    @property
    def n_conditions(self) -> int:
        """Number of shared conditions."""
        return int(self.a.sizes["condition"])

    @property
    def n_bins(self) -> int:
        """Number of shared time bins."""
        return int(self.a.sizes["time"])

    @property
    def account(self) -> str:
        """One sentence on what is compared and what was left out."""
        shared = f"{self.n_conditions} conditions, matched by {' and '.join(self.matched_by)}; {self.n_bins} bins"
        left = "; ".join(f"left out: {count} x {reason}" for reason, count in self.left_out.items())
        return f"{shared}; {left or 'nothing left out'}"

    def take_a(self, rates: xr.DataArray) -> xr.DataArray:
        """The same conditions and bins of other rates laid out like `a`, such as PSTHs over half the trials."""
        return _take(rates, self._conditions[0], self._bins[0], self.a)

    def take_b(self, rates: xr.DataArray) -> xr.DataArray:
        """The same conditions and bins of other rates laid out like `b`, under the labels of `a`."""
        return _take(rates, self._conditions[1], self._bins[1], self.a)


def match(
    a: xr.DataArray, b: xr.DataArray, *, by: Sequence[str] | None = None, tolerance_deg: float = 1.0
) -> Matched:
    """Bring two populations to the conditions and bins they share.

    Conditions are the same when all the task variables that both sides know (coordinates along ``condition``)
    agree: variables whose name ends in ``_deg`` round the circle and within `tolerance_deg`, other numbers to
    round-off, words to the letter. Where no variable is known to both, the labels of the conditions decide; where
    there are none either, the order, if both have as many. Bins are the same when they belong to the same event
    and start within half a bin of each other.

    Args:
        a, b: rates with dims ``(condition, time, unit)``; units need not match.
        by: the task variables to match by, where not all that are shared should count.
        tolerance_deg: how far apart two angles may lie, e.g. 22.5 for the eight targets of one set and the
            nearest of another.

    Raises:
        RatesError: when nothing is shared, bins differ in width, or a condition has several counterparts.
    """
    for name, rates in (("a", a), ("b", b)):
        check_rates(rates, dims=PSTH_DIMS, name=name)
    variables = _variables(a, b, by)
    conditions = _shared_conditions(a, b, variables, tolerance_deg)
    bins = _shared_bins(a, b)
    left_out = {
        f"{what} of {name} without a counterpart": rates.sizes[dim] - pair[side].size
        for what, dim, pair in (("condition", "condition", conditions), ("time bin", "time", bins))
        for side, (name, rates) in enumerate((("a", a), ("b", b)))
        if rates.sizes[dim] > pair[side].size
    }
    kept = a.isel(condition=conditions[0], time=bins[0])
    return Matched(
        a=kept,
        b=_take(b, conditions[1], bins[1], kept),
        matched_by=variables or ("order",),
        left_out=left_out,
        _conditions=conditions,
        _bins=bins,
    )


def _take(rates: xr.DataArray, conditions: np.ndarray, bins: np.ndarray, labels: xr.DataArray) -> xr.DataArray:
    """Select, and take over the coordinates along condition and time."""
    chosen = rates.isel(condition=conditions, time=bins)
    own = [name for name, c in chosen.coords.items() if set(c.dims) & {"condition", "time"}]
    theirs = {name: c for name, c in labels.coords.items() if c.dims and set(c.dims) <= {"condition", "time"}}
    return chosen.drop_vars(own).assign_coords(theirs)


def _variables(a: xr.DataArray, b: xr.DataArray, by: Sequence[str] | None) -> tuple[str, ...]:
    """The coordinates that say which condition is which; none where only the order can."""
    known = [
        {str(name) for name, c in rates.coords.items() if c.dims == ("condition",)} - {"condition"}
        for rates in (a, b)
    ]
    if by is not None:
        missing = [name for name in by if name not in known[0] & known[1] and name != "condition"]
        if missing or not by:
            raise RatesError(
                "by",
                rule=f"name coordinates along condition of both sides, which share {sorted(known[0] & known[1])}",
                received=list(by),
                remedy="Leave it out to match by all that are shared",
            )
        return tuple(by)
    shared = tuple(sorted(known[0] & known[1]))
    if shared:
        return shared
    return ("condition",) if "condition" in a.coords and "condition" in b.coords else ()


def _shared_conditions(
    a: xr.DataArray, b: xr.DataArray, variables: tuple[str, ...], tolerance_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the shared conditions on both sides, in the order of `a`."""
    n_a, n_b = a.sizes["condition"], b.sizes["condition"]
    if not variables:
        if n_a != n_b:
            raise RatesError(
                "a and b",
                rule="say which condition is which, or have equally many",
                received=f"{n_a} and {n_b} conditions without a coordinate that both have",
                remedy="Give both a coordinate along condition, e.g. direction_deg",
            )
        return np.arange(n_a), np.arange(n_b)
    same = np.ones((n_a, n_b), dtype=bool)
    for name in variables:
        same &= _same(a[name].values, b[name].values, tolerance_deg if name.endswith("_deg") else None)
    for which, counts in (("b", same.sum(axis=1)), ("a", same.sum(axis=0))):
        if counts.max() > 1:
            raise RatesError(
                f"conditions of {which}",
                rule=f"differ in {' or '.join(variables)}",
                received=f"{counts.max()} that match one condition of the other side",
                remedy="Average or select conditions first, match by more variables, or lower tolerance_deg",
            )
    if not same.any():
        shown = [[str(value) for value in rates[variables[0]].values[:4]] for rates in (a, b)]
        raise RatesError(
            "a and b",
            rule=f"share a condition by {' and '.join(variables)}",
            received=f"{variables[0]} {', '.join(shown[0])} ... against {', '.join(shown[1])} ...",
            remedy="Raise tolerance_deg, or name the variables to match by",
        )
    first, second = np.nonzero(same)
    return first, second


def _same(left: np.ndarray, right: np.ndarray, tolerance_deg: float | None) -> np.ndarray:
    """Which values agree, ``(left, right)``."""
    numbers = left.dtype.kind in "iuf" and right.dtype.kind in "iuf"
    if not numbers:
        return np.asarray(left.astype(str)[:, None] == right.astype(str)[None, :])
    x, y = left.astype(np.float64)[:, None], right.astype(np.float64)[None, :]
    if tolerance_deg is None:
        return np.asarray(np.isclose(x, y, rtol=1e-6, atol=1e-9))
    # Angles that meet at the tolerance, such as 22.5 degrees, should not be parted by round-off.
    return np.asarray(np.abs((x - y + 180) % 360 - 180) <= tolerance_deg + 1e-9)


def _events(rates: xr.DataArray) -> np.ndarray:
    if "segment" in rates.coords:
        return rates["segment"].values.astype(str)
    return np.full(rates.sizes["time"], str(rates["time"].attrs["event"]))


def _shared_bins(a: xr.DataArray, b: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the shared bins on both sides, in the order of `a`."""
    widths = [bin_width_ms(rates) for rates in (a, b)]
    # A single bin has no width of its own.
    if abs(widths[0] - widths[1]) > 1e-3 * abs(widths[0]):
        raise RatesError(
            "b.time", rule=f"have bins of {widths[0]:g} ms, as a has", received=widths[1], remedy="Bin both alike"
        )
    width_ms = widths[0] if np.isfinite(widths[0]) else np.inf
    apart = np.abs(a["time"].values[:, None] - b["time"].values[None, :])
    close = (apart < width_ms / 2) & (_events(a)[:, None] == _events(b)[None, :])
    if not close.any():
        spans = [
            f"[{r['time'].values.min():g}, {r['time'].values.max():g}] ms about {', '.join(np.unique(_events(r)))}"
            for r in (a, b)
        ]
        raise RatesError(
            "a and b",
            rule="share a time bin about the same event",
            received=" against ".join(spans),
            remedy="Align both to the same events",
        )
    first, second = np.nonzero(close)
    return first, second
