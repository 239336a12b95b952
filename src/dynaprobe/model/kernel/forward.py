"""The compiled simulation: all times of some trials in one call.

    x_t = (1 - a) x_{t-1} + a (W_rec r_{t-1} + W_in u_t + b) + sd xi_t,   r_t = f(x_t),   z_t = W_out r_t

One product per step gives the states of t and the outputs of t - 1. xi is that of `dynaprobe.model.noise`, bit for
bit up to the rounding of the logarithm and the sine.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynaprobe.model.kernel.decorators import inner, reordered, vectorised
from dynaprobe.model.kernel.elementwise import (
    GOLDEN,
    HALF,
    ONE,
    QUARTER,
    TWO,
    TWO_TO_MINUS_24,
    TWO_TO_MINUS_32,
    ZERO,
    f32,
    i32,
    log,
    mix,
    rates_of,
    signed_of_bits,
    sine_of_turns,
    u32,
)
from dynaprobe.model.kernel.scratch import (
    copy_rows,
    floats,
    n_vectors,
    outlive,
    packed_step,
    row_after_row,
    scratch,
)
from dynaprobe.model.kernel.tiles import LANES, add_product


class Weights(NamedTuple):
    """W_rec ``(unit, unit)``, W_in ``(unit, input)``, b ``(unit,)``, W_out ``(output, unit)``."""

    rec: Any
    into: Any
    bias: Any
    out: Any


class Drive(NamedTuple):
    """What moves the states.

    Attributes:
        start: states before the first step ``(trial, unit)``.
        inputs: u with its noise, ``(time, trial, input)``.
        alpha: a.
        sd: sd of the noise of a step; 0 for none.
        words: two words of the stream's key, number of the first time and of the first trial.
        kind: which f, a value of `KINDS`.
    """

    start: Any
    inputs: Any
    alpha: Any
    sd: Any
    words: Any
    kind: Any


class Room(NamedTuple):
    """Addresses of what `_draw` works with.

    Pairs of cosine and sine are computed in whole vectors. What a trial has too many stands where the next trial
    begins, or behind the last one, and is overwritten or looked at by nobody.

    Attributes:
        radii: a trial after another, each with ``(n_units + 1) // 2`` numbers: first uniform, then radii.
        turns: the same with angles.
        noise: where the noise comes to stand.
    """

    radii: Any
    turns: Any
    noise: Any


# The steps of Box-Muller are loops of their own, each with the numbers of the one before in the nearest cache: in
# one loop so many instructions of a pair wait for one another that a processor cannot look ahead to other pairs.
@vectorised
def _hashed(first, second, uniform, turns):
    for pair in range(turns.size):
        h1 = mix(u32(first + u32(u32(pair) * GOLDEN)))
        h2 = mix(u32(h1 ^ second))
        uniform[pair] = (f32(i32(u32(h1 >> u32(8)))) + HALF) * TWO_TO_MINUS_24
        turns[pair] = f32(signed_of_bits(h2)) * TWO_TO_MINUS_32


@vectorised
def _radii(uniform, sd):
    for k in range(uniform.size):
        uniform[k] = sd * np.sqrt(-TWO * log(uniform[k]))


@vectorised
def _cosines(radii, turns, cosines):
    for pair in range(turns.size):
        quarter_on = turns[pair] + QUARTER
        cosines[pair] = radii[pair] * sine_of_turns(quarter_on - ONE if quarter_on > HALF else quarter_on)


@vectorised
def _sines(radii, turns, sines):
    for pair in range(turns.size):
        sines[pair] = radii[pair] * sine_of_turns(turns[pair])


@vectorised
def _draw(room, width, t, drive):
    """The noise of one time for all trials, by Box-Muller: cosines for the first half of the units, then sines."""
    n_trials, n_units = drive.start.shape
    n_first = (n_units + 1) // 2
    n_pairs = n_vectors(n_first) * LANES
    word0, word1, first_time, first_trial = drive.words
    at_time = mix(u32(u32(first_time + u32(t)) + word0))
    for trial in range(n_trials):
        at_trial = mix(u32(u32(u32(first_trial + u32(trial)) * GOLDEN) + word1))
        first = mix(u32(at_time ^ at_trial))
        second = mix(u32(u32(first + GOLDEN) ^ word1))
        begin = trial * n_first
        _hashed(first, second, floats(room.radii, begin, n_pairs), floats(room.turns, begin, n_pairs))
    _radii(floats(room.radii, 0, n_vectors(n_trials * n_first) * LANES), drive.sd)
    for trial in range(n_trials):
        begin, row = trial * n_first, trial * width
        cosines, sines = floats(room.noise, row, n_pairs), floats(room.noise, row + n_first, n_pairs)
        radii, turns = floats(room.radii, begin, n_pairs), floats(room.turns, begin, n_pairs)
        _cosines(radii, turns, cosines)
        _sines(radii, turns, sines)


@vectorised
def _leak(x, keep, noise):
    """x <- (1 - a) x + sd xi."""
    for trial in range(x.shape[0]):
        for unit in range(x.shape[1]):
            x[trial, unit] = keep * x[trial, unit] + noise[trial, unit]


@vectorised
def _offer(x, left, t, drive, n_outputs):
    """Put the inputs of a time and 1 beside the rates, and make room for the outputs."""
    n_trials, n_units = drive.start.shape
    n_inputs = drive.inputs.shape[2]
    for trial in range(n_trials):
        for channel in range(n_inputs):
            left[trial, n_units + channel] = drive.inputs[t, trial, channel]
        left[trial, n_units + n_inputs] = ONE
        for output in range(n_outputs):
            x[trial, n_units + output] = ZERO


@vectorised
def _take_outputs(outputs, t, table, first):
    for trial in range(outputs.shape[1]):
        for output in range(outputs.shape[2]):
            outputs[t, trial, output] = table[trial, first + output]


@reordered
def _keep(rates, power, t, left):
    for trial in range(rates.shape[1]):
        total = ZERO
        for unit in range(rates.shape[2]):
            r = left[trial, unit]
            rates[t, trial, unit] = r
            total += r * r
        power[t, trial] = total


@inner
def forward(weights, drive, last, outputs, power, rates):
    """Simulate all trials.

    Args:
        weights: `Weights`.
        drive: `Drive`.
        last: filled with the states after the last step, ``(trial, unit)``.
        outputs: filled with z, ``(time, trial, output)``.
        power: filled with the sum of squared rates over units, ``(time, trial)``.
        rates: filled with r, ``(time, trial, unit)``.
    """
    n_times, n_trials, n_inputs = drive.inputs.shape
    n_units, n_outputs = last.shape[1], outputs.shape[2]
    depth, n_columns = n_units + n_inputs + 1, n_units + n_outputs
    step = packed_step(weights, drive.alpha)
    width = n_vectors(max(n_columns, depth)) * LANES
    x, left = scratch(n_trials, width), scratch(n_trials, width)
    x_row, left_row = row_after_row(x, 0, n_trials), row_after_row(left, 0, n_trials)
    n_first = (n_units + 1) // 2
    n_pairs = n_vectors(n_first) * LANES
    noise, pairs = scratch(n_trials, width + n_pairs), scratch(2, n_trials * n_first + n_pairs)
    room = Room(pairs.ctypes.data, pairs.ctypes.data + 4 * pairs.shape[1], noise.ctypes.data)
    a, b, c = (left.ctypes.data, width, 1), (step.ctypes.data, LANES, depth * LANES), (x.ctypes.data, width, 0)
    copy_rows(drive.start, x)
    rates_of(drive.kind, x_row, left_row)
    for t in range(n_times):
        if drive.sd != ZERO:
            _draw(room, noise.shape[1], t, drive)
        _leak(x, ONE - drive.alpha, noise)
        _offer(x, left, t, drive, n_outputs)
        add_product(a, b, c, (n_trials, n_columns, depth))
        if t > 0:
            _take_outputs(outputs, t - 1, x, n_units)
        # Whole rows, inputs and outputs included: `_offer` mends what lies beyond the units.
        rates_of(drive.kind, x_row, left_row)
        _keep(rates, power, t, left)
    copy_rows(x, last)
    # The outputs of the last time, from the vectors of the step that hold outputs.
    whole = n_units // LANES
    tail = scratch(n_trials, width)
    b = (b[0] + 4 * whole * depth * LANES, b[1], b[2])
    add_product(a, b, (tail.ctypes.data, width, 0), (n_trials, n_columns - whole * LANES, depth))
    _take_outputs(outputs, n_times - 1, tail, n_units - whole * LANES)
    for array in (step, left, noise, pairs):
        outlive(array)
