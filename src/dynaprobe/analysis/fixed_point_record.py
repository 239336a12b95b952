"""The record of a search for fixed points, and how it is put together from what was found at each input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynaprobe.analysis.fixed_point_search.root_search import SearchSettings
from dynaprobe.analysis.fixed_point_search.root_steps import Outcome
from dynaprobe.analysis.linearise import Kind
from dynaprobe.analysis.merge import nearest_distance
from dynaprobe.analysis.result import Result

POINT_KINDS = ("fixed_point", "slow_point")


@dataclass(frozen=True)
class FixedPoints(Result):
    """Fixed and slow points, each found at one of several inputs.

    Variables of `data`; F is the vector field, or the step minus the state (attribute ``kind``):
        x ``(point, unit)``: the states; per input fixed before slow, then by n_unstable, falling n_starts, and x.
        q, residual ``(point,)``: ``1/2 |F|^2`` and ``|F|``.
        point_kind ``(point,)``: ``fixed_point`` or ``slow_point``.
        eigenvalue_real, eigenvalue_imag ``(point, mode)``: of the Jacobian of f, slowest to decay first.
        n_unstable, n_marginal ``(point,)``: modes with m > tol_marginal, and with |m| <= tol_marginal, where m is
            Re l for a vector field and |l| - 1 for a map.
        is_stable ``(point,)``: every mode has m < -tol_marginal.
        stability ``(point,)``: ``stable``, ``marginal`` (no unstable mode), ``saddle``, or
            ``unstable`` (every mode).
        is_smooth ``(point,)``: False where the Jacobian jumps within `tol_merge`, as on the border of two linear
            regions of a ReLU network; eigenvalues and stability then hold on one side only.
        n_starts ``(point,)``: starts whose search ended there.
        distance_to_start ``(point,)``: to the nearest of all starts, in state units.
        input_index ``(point,)``: position along ``input`` of the input the point belongs to.
        successor ``(point,)``: row of the point reached from here when the next input comes on, -1 for none
            (only from `fixed_points_along_inputs`).
        input_value ``(input, channel)``: the inputs; the coordinates ``input`` and ``input_label`` name them.
        n_fixed, n_slow, n_failed ``(input,)``: number of fixed and slow points, and of starts that found no
            fixed point.
        start_point, start_outcome ``(input, start)``: row of the point each start led to, -1 for none, and how its
            search ended, as numbered by the attribute ``flag_meanings``.

    `failures` counts, over all inputs, the starts that led to no fixed point, by reason.
    """


class Table(NamedTuple):
    """What was found at one input; fields as in `FixedPoints`, `member` is the point of every start."""

    x: np.ndarray
    q: np.ndarray
    is_slow: np.ndarray
    eigenvalues: np.ndarray
    is_smooth: np.ndarray
    n_starts: np.ndarray
    member: np.ndarray
    outcome: np.ndarray


def margins_of(eigenvalues: np.ndarray, kind: Kind) -> np.ndarray:
    """How far each mode is beyond the border of stability: Re l, or |l| - 1."""
    return eigenvalues.real if kind == "vector_field" else np.abs(eigenvalues) - 1.0


def to_dataset(
    tables: list[Table], starts: np.ndarray, u: np.ndarray, names: list[str], *, kind: Kind, tol_marginal: float
) -> xr.Dataset:
    """The tables of all inputs one after the other, as the variables that `FixedPoints` lists."""
    n_units = starts.shape[1]
    counts = [len(table.x) for table in tables]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)
    x = np.concatenate([table.x for table in tables])
    q = np.concatenate([table.q for table in tables])
    is_slow = np.concatenate([table.is_slow for table in tables])
    eigenvalues = np.concatenate([table.eigenvalues for table in tables])
    margins = margins_of(eigenvalues, kind)
    n_unstable = (margins > tol_marginal).sum(axis=1)
    n_marginal = (np.abs(margins) <= tol_marginal).sum(axis=1)
    stability = np.select(
        [n_unstable == n_units, n_unstable > 0, n_marginal > 0], ["unstable", "saddle", "marginal"], "stable"
    )
    outcome = np.stack([table.outcome[: len(starts)] for table in tables])
    member = np.stack([table.member[: len(starts)] for table in tables])
    input_index = np.repeat(np.arange(len(u)), counts)
    return xr.Dataset(
        {
            "x": (("point", "unit"), x),
            "q": (("point",), q),
            "residual": (("point",), np.sqrt(2.0 * q)),
            "point_kind": (("point",), np.array(POINT_KINDS)[is_slow.astype(int)]),
            "eigenvalue_real": (("point", "mode"), eigenvalues.real),
            "eigenvalue_imag": (("point", "mode"), eigenvalues.imag),
            "n_unstable": (("point",), n_unstable),
            "n_marginal": (("point",), n_marginal),
            "is_stable": (("point",), n_unstable + n_marginal == 0),
            "stability": (("point",), stability),
            "is_smooth": (("point",), np.concatenate([table.is_smooth for table in tables])),
            "n_starts": (("point",), np.concatenate([table.n_starts for table in tables])),
            "distance_to_start": (("point",), nearest_distance(x, starts)),
            "input_index": (("point",), input_index),
            "input_value": (("input", "channel"), u),
            "n_fixed": (("input",), [int((~table.is_slow).sum()) for table in tables]),
            "n_slow": (("input",), [int(table.is_slow.sum()) for table in tables]),
            "n_failed": (("input",), (outcome != Outcome.FIXED).sum(axis=1)),
            "start_point": (("input", "start"), np.where(member >= 0, member + offsets[:, None], -1)),
            "start_outcome": (("input", "start"), outcome, _flags()),
        },
        coords={"input": names, "input_label": (("point",), np.array(names)[input_index])},
        attrs={"kind": kind, "F": "dx/dt" if kind == "vector_field" else "step minus state"},
    )


def _flags() -> dict[str, Any]:
    ends = [code for code in Outcome if code not in (Outcome.RUNNING, Outcome.STATIONARY)]
    return {
        "flag_values": np.array([int(code) for code in ends]),
        "flag_meanings": " ".join(code.name.lower() for code in ends),
    }


def successors(tables: list[Table], n_starts: int) -> np.ndarray:
    """Row, over all inputs, of the point each point leads to at the next input."""
    offsets = np.cumsum([len(table.x) for table in tables])
    links = [
        np.where(after.member[n_starts:] >= 0, after.member[n_starts:] + offset, -1)
        for after, offset in zip(tables[1:], offsets, strict=False)
    ]
    return np.concatenate([*links, np.full(len(tables[-1].x), -1)])


def reasons_of(settings: SearchSettings, max_distance: float) -> dict[Outcome, str]:
    """Why a start led to no fixed point, in words."""
    return {
        Outcome.SLOW: "start led to a slow point only (a local minimum of q between "
        f"{settings.tol_fixed:g} and {settings.tol_slow:g})",
        Outcome.FAST_MINIMUM: "start ended at a local minimum of q above tolerance (tol_slow "
        f"{settings.tol_slow:g})",
        Outcome.SADDLE_OF_Q: "start ended at a saddle of q, which is neither a fixed nor a slow point",
        Outcome.NOT_CONVERGED: f"start did not converge in 2 x {settings.n_iterations} iterations",
        Outcome.LEFT_REGION: f"start left the region (further than {max_distance:g} from where it began)",
        Outcome.STALLED: "start stalled where no step lowers q (a kink of f, or a derivative that is not finite)",
        Outcome.NOT_FINITE: "start at which f or its square is not finite",
    }
