"""The linear dynamics around a state: Jacobians, eigenvalues, time constants, frequencies, non-normality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Complex, Float
from scipy.linalg import schur

from dynaprobe.analysis.batches import in_chunks
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DynaprobeError

Kind = Literal["vector_field", "map"]
T = TypeVar("T")


@dataclass(frozen=True)
class Linearisation(Result):
    """Linear dynamics around each of several states.

    Variables of `data`:
        x ``(point, unit)``: the states.
        jacobian ``(point, post, pre)``: dF_i/dx_j; in 1/ms for a vector field, a step Jacobian for a map.
        input_jacobian ``(point, unit, channel)``: dF_i/du_k.
        eigenvalue_real, eigenvalue_imag ``(point, mode)``: in the order of `sorted_eigenvalues`.
        mode_tau_ms, mode_hz ``(point, mode)``: see `mode_times`; NaN for a map whose `dt_ms` is not known.
        spectral_abscissa, spectral_radius ``(point,)``: largest real part, largest modulus.
        henrici ``(point,)``: departure from normality, see `henrici`.

    The attribute ``kind`` of `data` says whether F is a vector field or a map.
    """


def in_double(tree: T) -> T:
    """A copy of a network, or of any tree of arrays, with every floating array in float64.

    A bound method of an Equinox network carries its network along and is converted with it; an ordinary function
    hides its arrays and comes back as it is. To be called where 64-bit floats are enabled.
    """

    def widen(leaf: Any) -> Any:
        is_real = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(jnp.float64) if is_real else leaf

    doubled: T = jax.tree.map(widen, tree)
    return doubled


def check_kind(kind: str) -> None:
    """Check that `kind` is ``"vector_field"`` or ``"map"``."""
    if kind not in get_args(Kind):
        raise DynaprobeError(
            "kind",
            rule="be 'vector_field' (f is dx/dt) or 'map' (f is the next state)",
            received=kind,
            remedy="Say which of the two f returns",
        )


def check_callable(f: Callable[..., Any], n_units: int, n_inputs: int) -> None:
    """Check, without computing, that f takes one state and one input and returns one float64 state.

    Raises:
        DynaprobeError: when it raises, or returns something else.
    """
    state = jax.ShapeDtypeStruct((n_units,), jnp.float64)
    drive = jax.ShapeDtypeStruct((n_inputs,), jnp.float64)
    try:
        out = eqx.filter_eval_shape(f, state, drive)
    except (TypeError, ValueError, IndexError) as error:
        raise DynaprobeError(
            "f",
            rule=f"accept one state of shape ({n_units},) and one input of shape ({n_inputs},)",
            received=f"the error: {str(error).strip().splitlines()[0] if str(error).strip() else type(error)}",
            remedy="Check the widths of starts and inputs against the network; f(x, u) gets no batch axis",
        ) from error
    shape, dtype = getattr(out, "shape", None), getattr(out, "dtype", None)
    if shape != (n_units,):
        raise DynaprobeError(
            "f",
            rule=f"return an array of the shape of the state, ({n_units},)",
            received=f"shape {shape}" if shape is not None else type(out).__name__,
            remedy="Return dx/dt or the next state of the one state given",
        )
    if dtype != jnp.float64:
        raise DynaprobeError(
            "f",
            rule="return float64 when state and input are float64",
            received=str(dtype),
            remedy="Drop casts to float32 inside f, or hand over a network's own method, which is widened",
        )


@eqx.filter_jit
def _jacobians(f: Callable[..., Array], x: Array, u: Array) -> tuple[Array, Array]:
    jacobians: tuple[Array, Array] = jax.vmap(jax.jacfwd(f, argnums=(0, 1)))(x, u)
    return jacobians


def _both_jacobians(f: Callable[..., Any], states: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(states, dtype=np.float64)
    if x.ndim != 2:
        raise DynaprobeError(
            "states",
            rule="have the axes (point, unit)",
            received=f"shape {x.shape}",
            remedy="For one state write states[None]",
        )
    given = np.asarray(inputs, dtype=np.float64)
    if given.ndim not in (1, 2) or (given.ndim == 2 and len(given) != len(x)):
        raise DynaprobeError(
            "inputs",
            rule=f"be one input (input,) or one for each of the {len(x)} states (point, input)",
            received=f"shape {given.shape}",
            remedy="Give the input at which each state is to be linearised",
        )
    u = np.broadcast_to(given, (len(x), given.shape[-1]))
    with jax.enable_x64(True):
        wide = in_double(f)
        check_callable(wide, x.shape[1], u.shape[1])
        if not len(x):
            return np.zeros((0, x.shape[1], x.shape[1])), np.zeros((0, x.shape[1], u.shape[1]))
        of_state, of_input = in_chunks(_jacobians, wide, x, u)
    return of_state, of_input


def jacobian(f: Callable[..., Any], states: Any, inputs: Any) -> Float[np.ndarray, "point unit unit"]:
    """``J[p, i, j] = d f_i / d x_j`` at every state, in float64.

    With f a vector field this is its Jacobian, for the CTRNN ``(-I + W_rec diag f'(x)) / tau``; with f a one-step
    map it is the step Jacobian.

    Args:
        f: ``f(x, u)`` for one state and one input, traceable by JAX.
        states: ``(point, unit)``.
        inputs: ``(input,)`` for all, or ``(point, input)``.

    Raises:
        DynaprobeError: shapes that do not fit, or an f that returns something else than one float64 state.
    """
    return _both_jacobians(f, states, inputs)[0]


def input_jacobian(f: Callable[..., Any], states: Any, inputs: Any) -> Float[np.ndarray, "point unit input"]:
    """``B[p, i, k] = d f_i / d u_k`` at every state, in float64; arguments and errors as in `jacobian`."""
    return _both_jacobians(f, states, inputs)[1]


def step_from_field(
    jacobian: Float[np.ndarray, "*p unit unit"], dt_ms: float
) -> Float[np.ndarray, "*p unit unit"]:
    """Step Jacobian ``I + dt J`` of Euler's map from the Jacobian J of the vector field (1/ms)."""
    step: np.ndarray = np.eye(jacobian.shape[-1]) + dt_ms * jacobian
    return step


def field_from_step(step: Float[np.ndarray, "*p unit unit"], dt_ms: float) -> Float[np.ndarray, "*p unit unit"]:
    """Jacobian ``(S - I) / dt`` of the vector field (1/ms) from the step Jacobian S of Euler's map."""
    field: np.ndarray = (step - np.eye(step.shape[-1])) / dt_ms
    return field


def sorted_eigenvalues(jacobian: Float[np.ndarray, "*p unit unit"], kind: Kind) -> Complex[np.ndarray, "*p unit"]:
    """Eigenvalues, slowest to decay first.

    Vector field: by falling real part, then falling imaginary part. Map: by falling modulus, then falling real,
    then falling imaginary part. The member of a complex pair with positive imaginary part comes first.
    """
    check_kind(kind)
    values = np.linalg.eigvals(jacobian).astype(np.complex128)
    keys = (-values.imag, -values.real) if kind == "vector_field" else (-values.imag, -values.real, -abs(values))
    ordered: np.ndarray = np.take_along_axis(values, np.lexsort(keys, axis=-1), axis=-1)
    return ordered


def mode_times(
    eigenvalues: Complex[np.ndarray, "*p unit"], kind: Kind, *, dt_ms: float | None = None
) -> tuple[Float[np.ndarray, "*p unit"], Float[np.ndarray, "*p unit"]]:
    """Time constant (ms) and frequency (Hz) of every mode.

    Vector field in 1/ms, ``exp(l t)``: tau = -1 / Re l, frequency = 1000 Im l / (2 pi). Map, ``l^(t / dt)``:
    tau = -dt / ln|l|, frequency = 1000 arg l / (2 pi dt). A growing mode has negative tau, a mode that neither
    grows nor decays an infinite one. Frequencies carry the sign of the imaginary part.

    Raises:
        DynaprobeError: a map without `dt_ms`.
    """
    check_kind(kind)
    if kind == "map" and dt_ms is None:
        raise DynaprobeError(
            "dt_ms", rule="be given for a map", received=None, remedy="Say how many ms one step of the map is"
        )
    with np.errstate(divide="ignore"):
        if kind == "vector_field":
            rate_per_ms, angle_per_ms = eigenvalues.real, eigenvalues.imag
        else:
            rate_per_ms, angle_per_ms = np.log(np.abs(eigenvalues)) / dt_ms, np.angle(eigenvalues) / dt_ms
        tau_ms = np.where(rate_per_ms == 0.0, np.inf, -1.0 / rate_per_ms)
    return tau_ms, 1000.0 * angle_per_ms / (2.0 * np.pi)


def henrici(jacobian: Float[np.ndarray, "unit unit"]) -> float:
    """Departure from normality, ``sqrt(|J|_F^2 - sum_i |l_i|^2) / |J|_F``: 0 when normal, below 1 always.

    Computed as the norm of the strictly upper part of the complex Schur form, which is the same number without
    the cancellation. 0 for J = 0.

    Source: Henrici (1962), Numerische Mathematik 4, 24-40.
    """
    size = float(np.linalg.norm(jacobian))
    if size == 0.0:
        return 0.0
    triangle, _ = schur(jacobian, output="complex")
    return float(np.linalg.norm(np.triu(triangle, 1))) / size


def linearise(
    f: Callable[..., Any], states: Any, inputs: Any, *, kind: Kind, dt_ms: float | None = None
) -> Linearisation:
    """Jacobians of f at given states and what follows from them; see `Linearisation`.

    Args:
        f: ``f(x, u)``, dx/dt in 1/ms or the next state, traceable by JAX.
        states: ``(point, unit)``, e.g. ``fixed_points.data["x"]``.
        inputs: ``(input,)`` for all, or ``(point, input)``.
        kind: ``"vector_field"`` or ``"map"``.
        dt_ms: the step of a map.

    Raises:
        DynaprobeError: as `jacobian`, or an unknown kind.
    """
    check_kind(kind)
    J, B = _both_jacobians(f, states, inputs)
    eigenvalues = sorted_eigenvalues(J, kind)
    times = (np.full(eigenvalues.shape, np.nan),) * 2
    if kind == "vector_field" or dt_ms is not None:
        times = mode_times(eigenvalues, kind, dt_ms=dt_ms)
    data = xr.Dataset(
        {
            "x": (("point", "unit"), np.asarray(states, dtype=np.float64)),
            "jacobian": (("point", "post", "pre"), J),
            "input_jacobian": (("point", "unit", "channel"), B),
            "eigenvalue_real": (("point", "mode"), eigenvalues.real),
            "eigenvalue_imag": (("point", "mode"), eigenvalues.imag),
            "mode_tau_ms": (("point", "mode"), times[0], {"units": "ms"}),
            "mode_hz": (("point", "mode"), times[1], {"units": "Hz"}),
            "spectral_abscissa": (("point",), eigenvalues.real.max(axis=1)),
            "spectral_radius": (("point",), np.abs(eigenvalues).max(axis=1)),
            "henrici": (("point",), np.array([henrici(matrix) for matrix in J])),
        },
        attrs={"kind": kind},
    )
    for name in ("jacobian", "eigenvalue_real", "eigenvalue_imag", "spectral_abscissa"):
        data[name].attrs["units"] = "1/ms" if kind == "vector_field" else "per step"
    return Linearisation(data, {"kind": kind, "dt_ms": dt_ms})
