"""The compiled gradient of `dynaprobe.model.kernel.forward`, vanishing-gradient term included.

Adjoints live for a few steps only: so many that the products of the weight gradient are deep enough to be fast.
Symbols as in `dynaprobe.model.recurrence.evolve`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynaprobe.model.kernel.decorators import inner, reordered, vectorised
from dynaprobe.model.kernel.elementwise import ONE, TWO, ZERO, f32, rates_of, slopes_of
from dynaprobe.model.kernel.scratch import copy_rows, n_vectors, outlive, packed, scratch
from dynaprobe.model.kernel.tiles import LANES, add_product

# Trials times steps whose adjoints are kept: the depth of a product of the weight gradient.
KEPT_ROWS = 128
# Below this squared length an adjoint has no direction left; as in `dynaprobe.model.recurrence`.
SMALLEST_SQUARED_ADJOINT = f32(1e-30)


class Cotangents(NamedTuple):
    """Derivatives of the cost by what `forward` gave, and v; `rates` may be empty for zero."""

    last: Any
    outputs: Any
    power: Any
    rates: Any
    vanishing: Any


class Gradients(NamedTuple):
    """What the gradient fills: those of `Weights`, of the start ``(trial, unit)`` and of v ``(time, trial)``."""

    rec: Any
    into: Any
    bias: Any
    out: Any
    start: Any
    vanishing: Any


class Kept(NamedTuple):
    """Rows of the steps in hand: adjoints, what they are multiplied with, the rates before, dE/dz before."""

    adjoint: Any
    right: Any
    before: Any
    g_output: Any


@vectorised
def _direct(g, t, kept, now, cotangents):
    """What the cost of this very time says of the rates, outputs apart; the rates are kept from row `now` on."""
    for trial in range(g.shape[0]):
        factor = TWO * cotangents.power[t, trial]
        for unit in range(g.shape[1]):
            g[trial, unit] = factor * kept.before[now + trial, unit]
        for unit in range(cotangents.rates.shape[2]):
            g[trial, unit] += cotangents.rates[t, trial, unit]


@vectorised
def _square_ratio(squared, squared_on):
    """``(|A'l| / |l| - 1)^2`` and c so that its derivative by A'l is ``c A'l``."""
    if not (squared > SMALLEST_SQUARED_ADJOINT and squared_on > SMALLEST_SQUARED_ADJOINT):
        return ZERO, ZERO
    excess = np.sqrt(squared_on / squared) - ONE
    return excess * excess, TWO * excess / np.sqrt(squared_on * squared)


@reordered
def _squares(adjoint, row, carry, trial):
    """|l|^2 and |A'l|^2."""
    squared, squared_on = ZERO, ZERO
    for unit in range(carry.shape[1]):
        squared += adjoint[row, unit] * adjoint[row, unit]
        squared_on += carry[trial, unit] * carry[trial, unit]
    return squared, squared_on


@inner
def _room_for(n_rows, n_units, n_inputs, n_outputs):
    return Kept(
        scratch(n_rows, n_units),
        scratch(n_rows, n_units + n_inputs + 1),
        scratch(n_rows, n_units),
        np.zeros((n_rows, n_outputs), np.float32),
    )


@inner
def _collect(kept, g_step, g_out, n_rows):
    """Add the products of the kept rows to the gradients of the weights."""
    adjoint, right, before = kept.adjoint, kept.right, kept.before
    n_outputs = kept.g_output.shape[1]
    add_product(
        (adjoint.ctypes.data, 1, adjoint.shape[1]),
        (right.ctypes.data, right.shape[1], LANES),
        (g_step.ctypes.data, g_step.shape[1], 0),
        (g_step.shape[0], right.shape[1] // LANES, n_rows),
    )
    add_product(
        (kept.g_output.ctypes.data, 1, n_outputs),
        (before.ctypes.data, before.shape[1], LANES),
        (g_out.ctypes.data, g_out.shape[1], 0),
        (n_outputs, before.shape[1] // LANES, n_rows),
    )


@inner
def _finish(gradients, g_step, g_out, carry, alpha):
    n_units, n_inputs = gradients.into.shape
    for post in range(n_units):
        for pre in range(n_units):
            gradients.rec[post, pre] = alpha * g_step[post, pre]
        for channel in range(n_inputs):
            gradients.into[post, channel] = alpha * g_step[post, n_units + channel]
        gradients.bias[post] = alpha * g_step[post, n_units + n_inputs]
    copy_rows(g_out, gradients.out)
    copy_rows(carry, gradients.start)


@vectorised
def _adjoints(kept, first, carry, slopes, g):
    for trial in range(g.shape[0]):
        for unit in range(g.shape[1]):
            kept.adjoint[first + trial, unit] = carry[trial, unit] + slopes[trial, unit] * g[trial, unit]


@vectorised
def _rates_before(kept, first, drive, rates, t, cotangents):
    n_trials, n_units = drive.start.shape
    for trial in range(n_trials):
        for unit in range(n_units):
            kept.before[first + trial, unit] = rates[t - 1, trial, unit]
        for output in range(kept.g_output.shape[1]):
            kept.g_output[first + trial, output] = cotangents.outputs[t - 1, trial, output]


@vectorised
def _rates_at_start(kept, first, drive, g):
    """The step before the first one: f(start), which gives no output. `g` is room."""
    copy_rows(drive.start, g)
    rates_of(drive.kind, g, g)
    for trial in range(g.shape[0]):
        for unit in range(g.shape[1]):
            kept.before[first + trial, unit] = g[trial, unit]
        for output in range(kept.g_output.shape[1]):
            kept.g_output[first + trial, output] = ZERO


@vectorised
def _hand_on(kept, first, carry, slopes, h, keep):
    """A'l = (1 - a) l + a f' o W'l, where h holds a W'l."""
    for trial in range(carry.shape[0]):
        for unit in range(carry.shape[1]):
            through = slopes[trial, unit] * h[trial, unit]
            carry[trial, unit] = keep * kept.adjoint[first + trial, unit] + through
            h[trial, unit] = ZERO


@vectorised
def _factors(kept, first, carry, slopes, drive, t, cotangents, gradients):
    """What adjoints are multiplied with for the gradient of the weights: rates, inputs, 1."""
    n_trials, n_units = drive.start.shape
    n_inputs = drive.inputs.shape[2]
    for trial in range(n_trials):
        row = first + trial
        squared, squared_on = _squares(kept.adjoint, row, carry, trial)
        gradients.vanishing[t, trial], c = _square_ratio(squared, squared_on)
        c *= cotangents.vanishing[t, trial]
        for unit in range(carry.shape[1]):
            kept.right[row, unit] = kept.before[row, unit] + c * slopes[trial, unit] * carry[trial, unit]
        for channel in range(n_inputs):
            kept.right[row, n_units + channel] = drive.inputs[t, trial, channel]
        kept.right[row, n_units + n_inputs] = ONE


@inner
def backward(weights, drive, rates, cotangents, gradients):
    """Fill `Gradients` from `Weights`, `Drive`, the rates of `forward` and `Cotangents`."""
    n_times, n_trials, n_inputs = drive.inputs.shape
    n_units, n_outputs = weights.rec.shape[0], weights.out.shape[0]
    recurrent, readout = packed(weights.rec, drive.alpha), packed(weights.out, ONE)
    n_rows = max(1, KEPT_ROWS // n_trials) * n_trials
    kept = _room_for(n_rows, n_units, n_inputs, n_outputs)
    g_step, g_out = scratch(n_units, n_units + n_inputs + 1), scratch(n_outputs, n_units)
    carry, g, h = scratch(n_trials, n_units), scratch(n_trials, n_units), scratch(n_trials, n_units)
    slopes = scratch(n_trials, n_units)
    copy_rows(cotangents.last, carry)
    # dE/dz of the last time meets the rates of the last time; the loop handles all times before.
    _rates_before(kept, 0, drive, rates, n_times, cotangents)
    _collect(kept, g_step, g_out, n_trials)
    slopes_of(drive.kind, kept.before, 0, slopes)
    into_g, into_h = (g.ctypes.data, g.shape[1], 0), (h.ctypes.data, h.shape[1], 0)
    by_output = (readout.ctypes.data, LANES, n_outputs * LANES)
    by_unit = (recurrent.ctypes.data, LANES, n_units * LANES)
    # Rows of the step in hand, and of the step after it, whose rates before are the rates now.
    first, now = 0, 0
    for t in range(n_times - 1, -1, -1):
        _direct(g, t, kept, now, cotangents)
        at_time = (cotangents.outputs.ctypes.data + 4 * t * n_trials * n_outputs, n_outputs, 1)
        add_product(at_time, by_output, into_g, (n_trials, n_vectors(n_units), n_outputs))
        _adjoints(kept, first, carry, slopes, g)
        if t > 0:
            _rates_before(kept, first, drive, rates, t, cotangents)
        else:
            _rates_at_start(kept, first, drive, g)
        slopes_of(drive.kind, kept.before, first, slopes)
        at_time = (kept.adjoint.ctypes.data + 4 * first * h.shape[1], h.shape[1], 1)
        add_product(at_time, by_unit, into_h, (n_trials, n_vectors(n_units), n_units))
        _hand_on(kept, first, carry, slopes, h, ONE - drive.alpha)
        _factors(kept, first, carry, slopes, drive, t, cotangents, gradients)
        now = first
        first += n_trials
        if first == n_rows or t == 0:
            _collect(kept, g_step, g_out, first)
            first = 0
    _finish(gradients, g_step, g_out, carry, drive.alpha)
    for array in (recurrent, readout, g, h):
        outlive(array)
