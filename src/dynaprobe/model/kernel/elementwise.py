"""Functions of one float32 that compile to vector instructions: activations, and the steps of the noise.

Accurate to a few units of float32's last place, which `jax.numpy` is as well; tests hold both together. What is
not a number stays so: training notices a network that diverges by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dynaprobe.model.kernel.decorators import vectorised

f32, u32, i32 = np.float32, np.uint32, np.int32
ZERO, HALF, ONE, TWO = f32(0), f32(0.5), f32(1), f32(2)
LOG2_E = f32(1.4426950408889634)
# ln 2 in two parts, the first with few digits: k times it is exact.
LN2, LN2_HIGH, LN2_LOW = f32(0.6931471805599453), f32(0.693359375), f32(-2.12194440054690583e-4)
SQRT2, TWO_PI = f32(1.4142135623730951), f32(6.283185307179586)
SMALLEST_EXPONENT, LARGEST_EXPONENT = f32(-87.0), f32(88.0)
C3, C5, C7, C9, C11 = f32(1 / 3), f32(1 / 5), f32(1 / 7), f32(1 / 9), f32(1 / 11)
F2, F3, F4, F5, F6, F7 = f32(1 / 2), f32(1 / 6), f32(1 / 24), f32(1 / 120), f32(1 / 720), f32(1 / 5040)
S3, S5, S7, S9 = f32(-1 / 6), f32(1 / 120), f32(-1 / 5040), f32(1 / 362880)
QUARTER, TWO_TO_MINUS_24, TWO_TO_MINUS_32 = f32(0.25), f32(2.0**-24), f32(2.0**-32)
GOLDEN = u32(0x9E3779B9)


def _reinterpreted(to: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    @intrinsic
    def reinterpret(typing_context: Any, value: Any) -> Any:  # noqa: ARG001
        return to(value), emit

    return reinterpret


float_of_bits, bits_of_float, signed_of_bits = map(_reinterpreted, (types.float32, types.uint32, types.int32))


@intrinsic
def _truncated(typing_context: Any, value: Any) -> Any:  # noqa: ARG001
    """Towards zero, to 32 bits: NumPy's conversion would go through 64, which halves the vectors."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del context, signature
        return builder.fptosi(args[0], ir.IntType(32))

    return types.int32(value), emit


@vectorised
def expm1(x):
    """e^x - 1 = (2^k - 1) + 2^k (e^f - 1), with f = x - k ln 2 in [-ln 2 / 2, ln 2 / 2]."""
    y = min(max(x, SMALLEST_EXPONENT), LARGEST_EXPONENT)
    k = _truncated(y * LOG2_E + (HALF if y > ZERO else -HALF))
    f = y - f32(k) * LN2_HIGH - f32(k) * LN2_LOW
    e = f + f * f * (F2 + f * (F3 + f * (F4 + f * (F5 + f * (F6 + f * F7)))))
    power = float_of_bits(u32(i32(k + i32(127)) << i32(23)))
    # x - x is 0, or not a number where x is not finite
    return (power - ONE) + power * e + (x - x)


@vectorised
def log(x):
    """ln x for positive x = 2^k m, from ln m = 2 artanh((m - 1) / (m + 1)) with m in [1/sqrt 2, sqrt 2]."""
    bits = bits_of_float(x)
    k = i32(u32(bits >> u32(23))) - i32(127)
    m = float_of_bits(u32(u32(bits & u32(0x007FFFFF)) | u32(0x3F800000)))
    high = m > SQRT2
    m = m * HALF if high else m
    exponent = f32(i32(k)) + (ONE if high else ZERO)
    s = (m - ONE) / (m + ONE)
    s2 = s * s
    return exponent * LN2 + TWO * s * (ONE + s2 * (C3 + s2 * (C5 + s2 * (C7 + s2 * C9))))


@vectorised
def sine_of_turns(turns):
    """sin(2 pi turns) for turns in [-1/2, 1/2]; the series of `dynaprobe.model.noise`."""
    half = HALF if turns > ZERO else -HALF
    folded = half - turns if abs(turns) > QUARTER else turns
    y = folded * TWO_PI
    y2 = y * y
    return y * (ONE + y2 * (S3 + y2 * (S5 + y2 * (S7 + y2 * S9))))


@vectorised
def mix(x):
    """The bijection of 32-bit integers of `dynaprobe.model.noise`."""
    x = u32(x ^ u32(x >> u32(16)))
    x = u32(x * u32(0x7FEB352D))
    x = u32(x ^ u32(x >> u32(15)))
    x = u32(x * u32(0x846CA68B))
    return u32(x ^ u32(x >> u32(16)))


@vectorised
def _tanh(x):
    # Beyond 10 tanh is 1 in float32, and e^2x - 1 must stay finite.
    e = expm1(TWO * min(max(x, f32(-10)), f32(10)))
    return e / (e + TWO) + (x - x)


@vectorised
def _relu(x):
    return ZERO if x < ZERO else x


@vectorised
def _softplus(x):
    e = expm1(-abs(x)) + ONE
    # ln(1 + e) = 2 artanh(e / (2 + e))
    s = e / (TWO + e)
    s2 = s * s
    return max(x, ZERO) + TWO * s * (ONE + s2 * (C3 + s2 * (C5 + s2 * (C7 + s2 * (C9 + s2 * C11)))))


@vectorised
def _sigmoid(x):
    e = expm1(x) + ONE
    return e / (ONE + e)


# Number of every compiled activation, by name of `dynaprobe.model.activations.ACTIVATIONS`; one that is not here
# runs on the plain path. `rate_field` knows them in float64. A number, not a function: numba keeps compiled code
# only where none is closed over.
KINDS = {"tanh": 0, "relu": 1, "softplus": 2, "rectified_tanh": 3, "sigmoid": 4}


@vectorised
def rates_of(kind, x, rates):
    """r = f(x) for all of x."""
    if kind == 0:
        for k in range(x.size):
            rates[k] = _tanh(x[k])
    elif kind == 1:
        for k in range(x.size):
            rates[k] = _relu(x[k])
    elif kind == 2:
        for k in range(x.size):
            rates[k] = _softplus(x[k])
    elif kind == 3:
        for k in range(x.size):
            rates[k] = _tanh(_relu(x[k]))
    else:
        for k in range(x.size):
            rates[k] = _sigmoid(x[k])


@vectorised
def slopes_of(kind, rates, slopes):
    """f' as a function of the rates."""
    if kind == 0:
        for k in range(slopes.size):
            slopes[k] = ONE - rates[k] * rates[k]
    elif kind == 1:
        for k in range(slopes.size):
            slopes[k] = ONE if rates[k] > ZERO else ZERO
    elif kind == 2:
        for k in range(slopes.size):
            slopes[k] = -expm1(-rates[k])
    elif kind == 3:
        for k in range(slopes.size):
            r = rates[k]
            slopes[k] = ONE - r * r if r > ZERO else ZERO
    else:
        for k in range(slopes.size):
            slopes[k] = rates[k] * (ONE - rates[k])
