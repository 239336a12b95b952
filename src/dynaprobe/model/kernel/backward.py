"""The compiled gradient of `dynaprobe.model.kernel.forward`, vanishing-gradient term included.

Adjoints live for a few steps only: so many that the products of the weight gradient are deep enough to be fast.
Symbols as in `dynaprobe.model.recurrence.evolve`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynaprobe.model.kernel.decorators import inner, reordered, vectorised
from dynaprobe.model.kernel.elementwise import ONE, TWO, ZERO, f32, rates_of, slopes_of
from dynaprobe.model.kernel.scratch import copy_rows, n_vectors, outlive, packed, row_after_row, scratch
from dynaprobe.model.kernel.tiles import LANES, add_product

# Trials times steps whose adjoints are kept: the depth of a product of the weight gradient.
KEPT_ROWS = 64
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
def _adjoints(adjoint, carry, slopes, g):
    for k in range(g.size):
        adjoint[k] = carry[k] + slopes[k] * g[k]


@vectorised
def _rates_before(kept, first, rates, t, cotangents):
    for trial in range(rates.shape[1]):
        for unit in range(rates.shape[2]):
            kept.before[first + trial, unit] = rates[t - 1, trial, unit]
        for output in range(kept.g_output.shape[1]):
            kept.g_output[first + trial, output] = cotangents.outputs[t - 1, trial, output]


@vectorised
def _rates_at_start(kept, first, drive, g):
    """The step before the first one: f(start), which gives no output. `g` is room."""
    copy_rows(drive.start, g)
    n_trials, n_units = drive.start.shape
    rates_of(drive.kind, row_after_row(g, 0, n_trials), row_after_row(g, 0, n_trials))
    for trial in range(n_trials):
        for unit in range(n_units):
            kept.before[first + trial, unit] = g[trial, unit]
        for output in range(kept.g_output.shape[1]):
            kept.g_output[first + trial, output] = ZERO


@vectorised
def _hand_on(adjoint, carry, slopes, h, keep):
    """A'l = (1 - a) l + a f' o W'l, where h holds a W'l and is emptied."""
    for k in range(carry.size):
        carry[k] = keep * adjoint[k] + slopes[k] * h[k]
        h[k] = ZERO


@reordered
def _squares(kept, first, carry, squares):
    """|l|^2 and |A'l|^2 of every trial, into the two columns of `squares`."""
    for trial in range(carry.shape[0]):
        squared, squared_on = ZERO, ZERO
        for unit in range(carry.shape[1]):
            squared += kept.adjoint[first + trial, unit] * kept.adjoint[first + trial, unit]
            squared_on += carry[trial, unit] * carry[trial, unit]
        squares[trial, 0] = squared
        squares[trial, 1] = squared_on


@vectorised
def _ratios(squares, t, cotangents, gradients):
    """``(|A'l| / |l| - 1)^2``; and in place of |l|^2 the v c for which ``v c A'l`` is v times its derivative."""
    for trial in range(squares.shape[0]):
        squared, squared_on = squares[trial, 0], squares[trial, 1]
        alive = squared > SMALLEST_SQUARED_ADJOINT and squared_on > SMALLEST_SQUARED_ADJOINT
        excess = np.sqrt(squared_on / squared) - ONE if alive else ZERO
        gradients.vanishing[t, trial] = excess * excess
        slope = TWO * excess / np.sqrt(squared_on * squared) if alive else ZERO
        squares[trial, 0] = cotangents.vanishing[t, trial] * slope


@vectorised
def _factors(kept, first, carry, slopes, drive, t, squares):
    """What adjoints are multiplied with for the gradient of the weights: rates, inputs, 1.

    Rates get the vanishing-gradient term's ``v c f' o A'l`` added, with v c from `_ratios`.
    """
    n_trials, n_units = drive.start.shape
    n_inputs = drive.inputs.shape[2]
    for trial in range(n_trials):
        row, c = first + trial, squares[trial, 0]
        for unit in range(carry.shape[1]):
            kept.right[row, unit] = kept.before[row, unit] + c * slopes[trial, unit] * carry[trial, unit]
        for channel in range(n_inputs):
            kept.right[row, n_units + channel] = drive.inputs[t, trial, channel]
        kept.right[row, n_units + n_inputs] = ONE


@inner
def _collect(kept, g_step, g_out, n_rows, n_columns):
    """Add the products of the kept rows to the gradients of the weights, which have some columns."""
    n_outputs, width = kept.g_output.shape[1], g_step.shape[1]
    by_right = (kept.right.ctypes.data, width, LANES)
    by_before = (kept.before.ctypes.data, width, LANES)
    of_units, of_outputs = (kept.adjoint.ctypes.data, 1, width), (kept.g_output.ctypes.data, 1, n_outputs)
    add_product(of_units, by_right, (g_step.ctypes.data, width, 0), (g_step.shape[0], n_columns, n_rows))
    add_product(of_outputs, by_before, (g_out.ctypes.data, width, 0), (n_outputs, g_step.shape[0], n_rows))


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


@inner
def backward(weights, drive, rates, cotangents, gradients):
    """Fill `Gradients` from `Weights`, `Drive`, the rates of `forward` and `Cotangents`."""
    n_times, n_trials, n_inputs = drive.inputs.shape
    n_units, n_outputs = weights.rec.shape[0], weights.out.shape[0]
    recurrent, readout = packed(weights.rec, drive.alpha), packed(weights.out, ONE)
    n_columns = n_units + n_inputs + 1
    width = n_vectors(n_columns) * LANES
    n_rows = max(1, KEPT_ROWS // n_trials) * n_trials
    room_for_outputs = np.zeros((n_rows, n_outputs), np.float32)
    kept = Kept(scratch(n_rows, width), scratch(n_rows, width), scratch(n_rows, width), room_for_outputs)
    g_step, g_out = scratch(n_units, width), scratch(n_outputs, width)
    carry, g, h = scratch(n_trials, width), scratch(n_trials, width), scratch(n_trials, width)
    slopes = scratch(n_trials, width)
    squares = np.zeros((n_trials, 2), np.float32)
    # The same memory as one row each.
    carry_row, g_row = row_after_row(carry, 0, n_trials), row_after_row(g, 0, n_trials)
    h_row = row_after_row(h, 0, n_trials)
    slopes_row, before_row = row_after_row(slopes, 0, n_trials), row_after_row(kept.before, 0, n_trials)
    copy_rows(cotangents.last, carry)
    # dE/dz of the last time meets the rates of the last time; the loop handles all times before.
    _rates_before(kept, 0, rates, n_times, cotangents)
    _collect(kept, g_step, g_out, n_trials, n_columns)
    slopes_of(drive.kind, before_row, slopes_row)
    into_g, into_h = (g.ctypes.data, width, 0), (h.ctypes.data, width, 0)
    by_output = (readout.ctypes.data, LANES, n_outputs * LANES)
    by_unit = (recurrent.ctypes.data, LANES, n_units * LANES)
    # Rows of the step in hand, and of the step after it, whose rates before are the rates now.
    first, now = 0, 0
    for t in range(n_times - 1, -1, -1):
        adjoint_row = row_after_row(kept.adjoint, first, n_trials)
        _direct(g, t, kept, now, cotangents)
        at_time = (cotangents.outputs.ctypes.data + 4 * t * n_trials * n_outputs, n_outputs, 1)
        add_product(at_time, by_output, into_g, (n_trials, n_units, n_outputs))
        _adjoints(adjoint_row, carry_row, slopes_row, g_row)
        if t > 0:
            _rates_before(kept, first, rates, t, cotangents)
        else:
            _rates_at_start(kept, first, drive, g)
        slopes_of(drive.kind, row_after_row(kept.before, first, n_trials), slopes_row)
        at_time = (kept.adjoint.ctypes.data + 4 * first * width, width, 1)
        add_product(at_time, by_unit, into_h, (n_trials, n_units, n_units))
        _hand_on(adjoint_row, carry_row, slopes_row, h_row, ONE - drive.alpha)
        _squares(kept, first, carry, squares)
        _ratios(squares, t, cotangents, gradients)
        _factors(kept, first, carry, slopes, drive, t, squares)
        now = first
        first += n_trials
        if first == n_rows or t == 0:
            _collect(kept, g_step, g_out, first, n_columns)
            first = 0
    _finish(gradients, g_step, g_out, carry, drive.alpha)
    for array in (recurrent, readout, g, h):
        outlive(array)
