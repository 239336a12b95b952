"""The dynamics around a trial: how fast modes decay and turn, how far a linear model sees, and how states flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.linearise import Kind, in_double, linearise, mode_times
from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.probes.runs import check_fits, run
from dynaprobe.analysis.probes.scene import REACH, ReachReading, Scene, set_scene
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import principal_axes
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.timeline import n_bins
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork

MOMENTS_MS = (-200.0, 0.0, 100.0, 300.0)
ALIKE = 1e-6


@dataclass(frozen=True)
class LocalSpectra(Result):
    """Linear dynamics around the states of a trial at some moments.

    Variables of `data`: eigenvalue_real, eigenvalue_imag (1/ms), mode_tau_ms, mode_hz ``(moment_ms, condition,
    mode)``, slowest to decay first, as `dynaprobe.analysis.linearise.mode_times` gives them; n_unstable and
    henrici ``(moment_ms, condition)``.
    """


@dataclass(frozen=True)
class LinearPrediction(Result):
    """How far a linear model of the moment predicts the states that follow.

    Variables of `data`, over the start of the prediction relative to the go cue and the lead after it:
        error ``(start_ms, lead_ms)``: ``|x^ - x|``, root mean square over conditions, over the spread of the
            states x at that time: the root mean square of their distance from their mean over conditions, whose
            error is therefore 1.
        error_of_standing_still: the same for ``x^ = x(start)``.
        horizon_ms ``(start_ms,)``: first lead at which the error exceeds `tolerance`; infinite when it never does.
    """


@dataclass(frozen=True)
class FlowFields(Result):
    """Flow in the plane of two principal components, through the state of one condition at several moments.

    Variables of `data`:
        flow ``(moment_ms, row, column, axis)``: dx/dt in the plane, in state units per ms, at ``x(moment) + a e1 +
            b e2`` with the input of that moment.
        in_plane ``(moment_ms, row, column)``: length of the flow in the plane over its whole length.
        grid ``(row, column, axis)``: the places, as coordinates of PC 1 and 2.
        trajectory ``(condition, time, axis)``: the states of all conditions; state ``(moment_ms, axis)``: that of
            the moment.
        axes ``(axis, unit)``: e1 and e2; explained ``(axis,)``: their fractions of variance.
    """


def mode_table(points: FixedPoints, *, n_modes: int = 4) -> pd.DataFrame:
    """The slowest modes around fixed and slow points, one row per point and mode.

    Columns: ``input``, ``point_kind``, ``stability``, ``n_starts``, ``mode``, ``tau_ms`` (negative for a mode that
    grows) and ``hz``; of a complex pair the member with positive frequency.
    """
    data = points.data
    values = data["eigenvalue_real"].values + 1j * data["eigenvalue_imag"].values
    kind: Kind = "map" if data.attrs.get("kind") == "map" else "vector_field"
    tau_ms, hz = mode_times(values, kind, dt_ms=points.settings.get("dt_ms", 1.0))
    rows = [
        (
            str(data["input_label"].values[k]),
            str(data["point_kind"].values[k]),
            str(data["stability"].values[k]),
            int(data["n_starts"].values[k]),
            mode,
            tau_ms[k, mode],
            hz[k, mode],
        )
        for k in range(data.sizes["point"])
        for mode in np.flatnonzero(values[k].imag >= 0)[:n_modes]
    ]
    columns = ["input", "point_kind", "stability", "n_starts", "mode", "tau_ms", "hz"]
    return pd.DataFrame(rows, columns=columns)


def spectra_along_trial(
    network: AbstractNetwork,
    trials: Trials,
    *,
    moments_ms: Sequence[float] = MOMENTS_MS,
    reading: ReachReading = REACH,
) -> LocalSpectra:
    """Eigenvalues of the vector field's Jacobian at the states of noise-free trials; see `LocalSpectra`.

    The state of a moment is that before the bin which starts then, and the input is that of the bin: at 0 ms the
    prepared state meets the input of the movement. Such a state need not be a fixed point; its modes say how
    differences between neighbouring trajectories grow and turn at that moment.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        moments_ms: relative to the go cue.
        reading: names of channels and events.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`.
    """
    scene, states, bins = _moments(network, trials, moments_ms, reading)
    shape = (len(bins), scene.n_conditions)
    x = np.stack([states[:, at - 1] for at in bins]).reshape(-1, states.shape[2])
    u = np.stack([scene.inputs[at] for at in bins]).reshape(len(x), -1)
    found = linearise(network.vector_field, x, u, kind="vector_field").data
    dims = ("moment_ms", "condition", "mode")
    names = {"eigenvalue_real": "1/ms", "eigenvalue_imag": "1/ms", "mode_tau_ms": "ms", "mode_hz": "Hz"}
    data = xr.Dataset(
        {name: (dims, found[name].values.reshape(*shape, -1), {"units": unit}) for name, unit in names.items()},
        coords={"moment_ms": np.asarray(moments_ms, dtype=np.float64), **scene.condition_coords()},
    )
    data["n_unstable"] = (data["eigenvalue_real"] > 0).sum("mode")
    data["henrici"] = (dims[:2], found["henrici"].values.reshape(shape))
    return LocalSpectra(data, {"reading": reading.model_dump()})


def linear_prediction(
    network: AbstractNetwork,
    trials: Trials,
    *,
    starts_ms: Sequence[float] = MOMENTS_MS,
    horizon_ms: float = 400.0,
    tolerance: float = 0.5,
    reading: ReachReading = REACH,
) -> LinearPrediction:
    """Predict the states that follow a moment by the network linearised there; see `LinearPrediction`.

    With x_0 the state before the bin of the start, u_0 the input of that bin, ``s = step(x_0, u_0)`` the one-step
    map, S and B its derivatives by state and input at (x_0, u_0):

        x^_{k+1} = s + S (x^_k - x_0) + B (u_k - u_0),   x^_0 = x_0

    every condition with a model of its own. Trials run without noise, inputs are those of the trial.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        starts_ms: starts of the prediction relative to the go cue.
        horizon_ms: longest lead; leads end with the trial.
        tolerance: error that ends the horizon.
        reading: names of channels and events.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`.
    """
    scene, states, bins = _moments(network, trials, starts_ms, reading)
    check_at_least("number of conditions", scene.n_conditions, 2)
    if not horizon_ms > 0:
        raise SettingsError("horizon_ms", rule="be positive", received=horizon_ms, remedy="For example 400")
    n_leads = min(n_bins(horizon_ms, scene.dt_ms), scene.stop - max(bins))
    inputs = scene.inputs.astype(np.float64)
    errors, still = np.zeros((2, len(bins), n_leads))
    for k, at in enumerate(bins):
        x0, u0 = states[:, at - 1], inputs[at]
        local = linearise(network.step, x0, u0, kind="map").data
        S, B = local["jacobian"].values, local["input_jacobian"].values
        first = _in_double_step(network, x0, u0)
        x = x0
        for lead in range(n_leads):
            turned = np.einsum("cij,cj->ci", S, x - x0) + np.einsum("cik,ck->ci", B, inputs[at + lead] - u0)
            x = first + turned
            truth = states[:, at + lead]
            spread = np.linalg.norm(truth - truth.mean(axis=0))
            # Conditions that are alike to single precision give no unit to measure by.
            unit = spread if spread > ALIKE * np.linalg.norm(truth) else np.nan
            errors[k, lead] = np.linalg.norm(x - truth) / unit
            still[k, lead] = np.linalg.norm(x0 - truth) / unit
    lead_ms = (np.arange(n_leads) + 1) * scene.dt_ms
    beyond = errors > tolerance
    horizon = np.where(beyond.any(axis=1), lead_ms[np.argmax(beyond, axis=1)], np.inf)
    data = xr.Dataset(
        {
            "error": (("start_ms", "lead_ms"), errors),
            "error_of_standing_still": (("start_ms", "lead_ms"), still),
            "horizon_ms": (("start_ms",), horizon, {"units": "ms"}),
        },
        coords={"start_ms": np.asarray(starts_ms, dtype=np.float64), "lead_ms": lead_ms},
    )
    return LinearPrediction(data, {"tolerance": tolerance, "reading": reading.model_dump()})


def flow_fields(
    network: AbstractNetwork,
    trials: Trials,
    *,
    moments_ms: Sequence[float] = MOMENTS_MS,
    condition: int = 0,
    n_grid: int = 15,
    margin: float = 0.25,
    reading: ReachReading = REACH,
) -> FlowFields:
    """Flow in the plane of the two leading PCs at several moments of a trial; see `FlowFields`.

    PCs are those of the states of all conditions from target onset to the end of the movement, less their mean.
    Each plane runs through the state of the moment, so that arrows start from where the network is.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        moments_ms: relative to the go cue; state and input as in `spectra_along_trial`.
        condition: whose state and input.
        n_grid: places along each axis.
        margin: how far the grid reaches beyond the trajectories, as a fraction of their extent.
        reading: names of channels and events.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`, or no such condition.
    """
    scene, states, bins = _moments(network, trials, moments_ms, reading)
    check_at_least("n_grid", n_grid, 2)
    if not 0 <= condition < scene.n_conditions:
        raise SettingsError(
            "condition",
            rule=f"be below {scene.n_conditions}",
            received=condition,
            remedy="Count conditions from 0",
        )
    part = states[:, scene.onset : scene.end]
    middle = part.reshape(-1, part.shape[2]).mean(axis=0)
    axes, variances = principal_axes((part - middle).reshape(-1, part.shape[2]))
    check_at_least("number of units", len(axes), 2)
    axes = axes[:2]
    trajectory = (states - middle) @ axes.T
    seen = trajectory[:, scene.onset : scene.end].reshape(-1, 2)
    low, high = seen.min(axis=0), seen.max(axis=0)
    reach = margin * (high - low)
    ticks = [np.linspace(low[k] - reach[k], high[k] + reach[k], n_grid) for k in range(2)]
    places = np.stack(np.meshgrid(*ticks), axis=-1)
    flows, fractions = [], []
    for at in bins:
        x0 = states[condition, at - 1]
        x = x0 + (places - (x0 - middle) @ axes.T) @ axes
        velocity = _field(network, x.reshape(-1, x.shape[-1]), scene.inputs[at, condition])
        flow = (velocity @ axes.T).reshape(n_grid, n_grid, 2)
        flows.append(flow)
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(velocity, axis=1).reshape(n_grid, n_grid)
            fractions.append(np.linalg.norm(flow, axis=-1) / length)
    dims = ("moment_ms", "row", "column")
    data = xr.Dataset(
        {
            "flow": ((*dims, "axis"), np.stack(flows), {"units": "1/ms"}),
            "in_plane": (dims, np.stack(fractions)),
            "grid": (("row", "column", "axis"), places),
            "trajectory": (("condition", "time", "axis"), trajectory),
            "state": (("moment_ms", "axis"), np.stack([trajectory[condition, at - 1] for at in bins])),
            "axes": (("axis", "unit"), axes),
            "explained": (("axis",), variances[:2] / variances.sum()),
        },
        coords={
            "moment_ms": np.asarray(moments_ms, dtype=np.float64),
            "time": ("time", scene.time_from_go_ms(), {"units": "ms"}),
            **scene.condition_coords(),
        },
    )
    return FlowFields(data, {"condition": condition, "reading": reading.model_dump()})


def _moments(
    network: AbstractNetwork, trials: Trials, moments_ms: Sequence[float], reading: ReachReading
) -> tuple[Scene, Float[np.ndarray, "condition time unit"], list[int]]:
    """The scene, the states of its trials in double precision, and the bins of the moments."""
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    check_at_least("number of moments", len(moments_ms), 1)
    bins = [max(scene.bin_from_go(time, "moments_ms"), 1) for time in moments_ms]
    return scene, run(network, scene.inputs)[0].astype(np.float64), bins


def _in_double_step(
    network: AbstractNetwork, x: Float[np.ndarray, "condition unit"], u: Float[np.ndarray, "condition input"]
) -> Float[np.ndarray, "condition unit"]:
    with jax.enable_x64(True):
        return np.asarray(in_double(network.step)(jnp.asarray(x), jnp.asarray(u)))


def _field(
    network: AbstractNetwork, x: Float[np.ndarray, "place unit"], u: Float[np.ndarray, " input"]
) -> Float[np.ndarray, "place unit"]:
    with jax.enable_x64(True):
        drive = jnp.broadcast_to(jnp.asarray(u, dtype=jnp.float64), (len(x), len(u)))
        return np.asarray(in_double(network.vector_field)(jnp.asarray(x), drive))
