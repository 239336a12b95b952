"""Fixed and slow points of a network, or of any f(x, u), at given inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from dynaprobe.analysis.fixed_point_record import (
    FixedPoints,
    Table,
    margins_of,
    reasons_of,
    successors,
    to_dataset,
)
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.root_search import SearchSettings, search
from dynaprobe.analysis.fixed_point_search.root_steps import Outcome, Residual, with_cheaper_jacobian
from dynaprobe.analysis.linearise import Kind, check_callable, check_kind, in_double, jacobian, sorted_eigenvalues
from dynaprobe.analysis.merge import merge_points
from dynaprobe.core.devices import runs_compiled_kernels
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.core.random import generator
from dynaprobe.model.kernel.elimination import marquardt_steps, newton_steps

DEFAULTS = SearchSettings()
LARGEST_START = 1e100


def starts_from_states(
    states: Any, n_starts: int, *, noise_sd: float, seed: int
) -> Float[np.ndarray, "start unit"]:
    """Starts for a search: states a network has visited, plus Gaussian noise.

    Args:
        states: any axes followed by ``unit``, e.g. ``rollout.states``; drawn from with replacement only when there
            are fewer states than `n_starts`.
        n_starts: how many.
        noise_sd: standard deviation of the noise, in state units.
        seed: of the draws.

    Raises:
        DynaprobeError: states that are not finite, no states, or a negative `noise_sd`.
    """
    visited = np.asarray(states, dtype=np.float64)
    visited = visited.reshape(-1, visited.shape[-1]) if visited.ndim else visited.reshape(0, 0)
    _check_finite("states", visited)
    for name, value, least in (("number of states", len(visited), 1), ("n_starts", n_starts, 1)):
        if value < least:
            raise DynaprobeError(name, rule=f"be at least {least}", received=value, remedy="Give more")
    if not (np.isfinite(noise_sd) and noise_sd >= 0):
        raise DynaprobeError(
            "noise_sd", rule="be a number from 0 up", received=noise_sd, remedy="Use 0 for no noise"
        )
    rows = generator(seed, "fixed_points", "rows").choice(
        len(visited), size=n_starts, replace=n_starts > len(visited)
    )
    noise = generator(seed, "fixed_points", "noise").standard_normal((n_starts, visited.shape[1]))
    return visited[rows] + noise_sd * noise


def find_fixed_points(
    f: Callable[..., Any],
    starts: Any,
    inputs: Any,
    *,
    kind: Kind,
    labels: Sequence[str] | None = None,
    settings: SearchSettings = DEFAULTS,
) -> FixedPoints:
    """Find states with F(x, u) = 0 and slow minima of q = 1/2 |F|^2, at each input u, in float64.

    F is f itself (``kind="vector_field"``, dx/dt) or f(x, u) - x (``kind="map"``, the next state). From every
    start Newton's step is taken where it lowers q, a Levenberg-Marquardt step where it does not; a start that
    finds no zero then goes down q to its minimum. A few starts go first: a search that comes so near to a point
    they have found that steps with the inverse taken there bring it four times closer each, ends in that point
    (`fixed_point_search.basins`). Points closer than `tol_merge` are one (`merge_points`). A point is fixed when
    q <= tol_fixed and the next step is shorter than tol_merge, slow when it is a local minimum of q with
    tol_fixed < q <= tol_slow. q has the unit of f: for the same network q of Euler's map is dt^2 times q of the
    vector field. The methods of a `CTRNN` take the same steps by compiled kernels, which are faster. In a ReLU
    network every step is exact within a linear region; points on the border of two regions, where q need have no
    gradient, are told by `is_smooth` if they are zeros of F and else are counted as failed.

    Args:
        f: traceable by JAX; a method of an Equinox network is widened to float64, an ordinary function must not
            cast to float32.
        starts: ``(start, unit)``.
        inputs: ``(input,)``, or several as ``(k, input)``, each with its own search.
        kind: which of the two f is.
        labels: name of every input; default ``"0", "1", ...``.
        settings: tolerances and limits.

    Raises:
        DynaprobeError: shapes that do not fit, values that are not finite, f returning something else.

    Source: Sussillo & Barak (2013), Neural Computation 25, 626-649.
    """
    return _find(f, starts, inputs, kind=kind, labels=labels, settings=settings, carry=False)


def fixed_points_along_inputs(
    f: Callable[..., Any],
    starts: Any,
    inputs: Any,
    *,
    kind: Kind,
    labels: Sequence[str] | None = None,
    settings: SearchSettings = DEFAULTS,
) -> FixedPoints:
    """Fixed points at a sequence of inputs, each search also started from the points of the input before.

    Arguments, errors and result as in `find_fixed_points`; ``successor`` says where each point goes when the next
    input comes on. Points that only the input before led to have ``n_starts`` 0.
    """
    return _find(f, starts, inputs, kind=kind, labels=labels, settings=settings, carry=True)


def _find(
    f: Callable[..., Any],
    starts: Any,
    inputs: Any,
    *,
    kind: Kind,
    labels: Sequence[str] | None,
    settings: SearchSettings,
    carry: bool,
) -> FixedPoints:
    check_kind(kind)
    x0, u, names = _checked(starts, inputs, labels)
    reach = settings.max_distance or 10.0 * (1.0 + float(np.linalg.norm(x0, axis=1).max()))
    tables: list[Table] = []
    kernels = (newton_steps, marquardt_steps) if runs_compiled_kernels() else None
    with jax.enable_x64(True), Solver(kernels) as solver:
        wide = in_double(f)
        check_callable(wide, x0.shape[1], u.shape[1])
        residual = with_cheaper_jacobian(Residual(wide, kind == "map"), x0.shape[1], u.shape[1])
        for value in u:
            carried = tables[-1].x if carry and tables else x0[:0]
            tables.append(
                _at_input(residual, x0, carried, value, solver=solver, settings=settings, max_distance=reach)
            )
    data = to_dataset(tables, x0, u, names, kind=kind, tol_marginal=settings.tol_marginal)
    if carry:
        data["successor"] = (("point",), successors(tables, len(x0)))
    ended = Counter(int(code) for table in tables for code in table.outcome[: len(x0)])
    reasons = reasons_of(settings, reach)
    failures = {reasons[code]: ended[int(code)] for code in Outcome if code in reasons and ended[int(code)]}
    return FixedPoints(data, {"kind": kind, **settings.model_dump(), "max_distance": reach}, failures)


def _checked(starts: Any, inputs: Any, labels: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    x0, u = np.asarray(starts, dtype=np.float64), np.asarray(inputs, dtype=np.float64)
    if x0.ndim != 2 or 0 in x0.shape:
        raise DynaprobeError(
            "starts",
            rule="have the axes (start, unit), none of them empty",
            received=f"shape {x0.shape}",
            remedy="Make them with starts_from_states, or write start[None] for a single one",
        )
    if u.ndim not in (1, 2) or (u.ndim == 2 and len(u) == 0):
        raise DynaprobeError(
            "inputs",
            rule="be one input (input,) or several (k, input)",
            received=f"shape {u.shape}",
            remedy="Give the constant input of each epoch; for a network without inputs np.zeros(0)",
        )
    u = np.atleast_2d(u)
    _check_finite("starts", x0)
    if np.abs(x0).max() > LARGEST_START:
        raise DynaprobeError(
            "starts",
            rule=f"be at most {LARGEST_START:g} in size, so that squares can be computed",
            received=f"{np.abs(x0).max():g}",
            remedy="Start from states that the network visits, as starts_from_states does",
        )
    _check_finite("inputs", u)
    names = [str(k) for k in range(len(u))] if labels is None else list(labels)
    if len(names) != len(u) or len(set(names)) != len(names):
        raise DynaprobeError(
            "labels",
            rule=f"be {len(u)} different names, one per input",
            received=names,
            remedy="Name every input once",
        )
    return x0, u, names


def _check_finite(name: str, rows: np.ndarray) -> None:
    bad = int((~np.isfinite(rows)).any(axis=-1).sum())
    if bad:
        raise DynaprobeError(
            name,
            rule="be finite",
            received=f"NaN or infinity in {bad} of {len(rows)} rows",
            remedy="Leave those rows out",
        )


def _at_input(
    residual: Residual,
    starts: np.ndarray,
    carried: np.ndarray,
    u: np.ndarray,
    *,
    solver: Solver,
    settings: SearchSettings,
    max_distance: float,
) -> Table:
    """Search from `starts` and then from `carried`, merge, linearise and put in order."""
    kind: Kind = "map" if residual.is_map else "vector_field"
    origins = np.concatenate([starts, carried])
    found = search(residual, origins, u, solver=solver, settings=settings, max_distance=max_distance)
    rows: list[np.ndarray] = []
    is_slow: list[np.ndarray] = []
    member = np.full(len(origins), -1)
    for outcome in (Outcome.FIXED, Outcome.SLOW):
        candidates = np.flatnonzero(found.outcome == outcome)
        best, owner = merge_points(found.x[candidates], found.q[candidates], tol_merge=settings.tol_merge)
        member[candidates] = owner + sum(len(earlier) for earlier in rows)
        rows.append(candidates[best])
        is_slow.append(np.full(len(best), outcome == Outcome.SLOW))
    row, slow = np.concatenate(rows), np.concatenate(is_slow)
    x = found.x[row]
    J = jacobian(residual.f, x, u)
    eigenvalues = sorted_eigenvalues(J, kind)
    n_starts = np.bincount(member[: len(starts)][member[: len(starts)] >= 0], minlength=len(row))
    unstable = (margins_of(eigenvalues, kind) > settings.tol_marginal).sum(axis=1)
    order = np.lexsort((*x.T[::-1], -n_starts, unstable, slow))
    rank = np.append(np.argsort(order), -1)  # the last entry serves member -1
    is_smooth = _is_smooth(residual, x, u, J, distance=settings.tol_merge)
    return Table(
        x[order],
        found.q[row][order],
        slow[order],
        eigenvalues[order],
        is_smooth[order],
        n_starts[order],
        rank[member],
        found.outcome,
    )


def _is_smooth(residual: Residual, x: np.ndarray, u: np.ndarray, J: np.ndarray, *, distance: float) -> np.ndarray:
    """Whether the Jacobian is the same, to 1 in 1000, on both sides of each point.

    A step in a generic direction leaves every hyperplane through the point, so no kink that runs through it can
    hide. A smooth f would have to turn over within a thousand times `distance` to be taken for a kink.
    """
    direction = generator(0, "fixed_points", "kink").standard_normal(x.shape[1])
    step = distance * direction / np.linalg.norm(direction)
    after, before = np.split(jacobian(residual.f, np.concatenate([x + step, x - step]), u), 2)
    jump = np.linalg.norm(after - before, axis=(1, 2))
    size = np.max([np.linalg.norm(matrix, axis=(1, 2)) for matrix in (J, after, before)], axis=0)
    smooth: np.ndarray = jump <= 1e-3 * size
    return smooth
