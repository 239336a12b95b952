"""A network whose mechanism is known because it was written down, not trained: the source of simulated recordings.

It reaches from an initial condition. During the delay two latent variables take up the target and hold it; the go
cue releases three rotating planes, whose start is set by what the preparatory variables hold at that moment, and
which then run by themselves. The target is off from the go cue on, so nothing but the state can carry it.
"""

from __future__ import annotations

import math
from itertools import product

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dynaprobe.core.random import generator, key
from dynaprobe.core.rates import make_rates
from dynaprobe.core.timeline import bin_of
from dynaprobe.model.rnn import CTRNN
from dynaprobe.recordings.session import Recording
from dynaprobe.recordings.simulate import draw_rate_range, scale_rates, simulate_session
from dynaprobe.tasks.reach import DelayedReach

TAU_MS = 50.0
PREPARATORY_TAU_MS = 200.0
DECAY_MS = 150.0
FREQUENCIES_HZ = (0.9, 1.6, 2.4)
# Hold cue times this keeps the rotating planes silent; preparatory drive to them stays below 1.
GATE = 3.0
KICK = 0.6
ADAPTATION_TAU_MS = 300.0
N_INPUTS = 3
REACTION_TIME_MS = 190.0
REACTION_TIME_SD_MS = 25.0

# Compiled whole: run line by line, JAX compiles a hundred small programs for every number of trials, in 5 seconds.
_condition_trials = eqx.filter_jit(lambda task, n_repeats: task.condition_trials(n_repeats))
_rollout = eqx.filter_jit(lambda network, inputs, stream: network.rollout(inputs, stream))


class _Wiring:
    """Weights between latent variables, each carried by two rectified units: latent = r_plus - r_minus.

    As x_minus mirrors x_plus, exactly one of them is active, and the latent obeys linear dynamics while the gate
    is open: ``tau dy/dt = -y + A y + B u``.
    """

    def __init__(self, n_latents: int, n_single: int) -> None:
        n_units = 2 * n_latents + n_single
        self.w_rec = np.zeros((n_units, n_units))
        self.w_in = np.zeros((n_units, N_INPUTS))
        self.b = np.zeros(n_units)

    @staticmethod
    def pair(latent: int) -> tuple[tuple[float, int], tuple[float, int]]:
        return (1.0, 2 * latent), (-1.0, 2 * latent + 1)

    def connect(self, post: int, pre: int, weight: float) -> None:
        for (sign_post, unit_post), (sign_pre, unit_pre) in product(self.pair(post), self.pair(pre)):
            self.w_rec[unit_post, unit_pre] += sign_post * sign_pre * weight

    def drive(self, post: int, channel: int, weight: float) -> None:
        for sign, unit in self.pair(post):
            self.w_in[unit, channel] += sign * weight

    def silence(self, post: int, channel: int, weight: float) -> None:
        for _, unit in self.pair(post):
            self.w_in[unit, channel] -= weight


def teacher_network(*, dt_ms: float = 10.0) -> CTRNN:
    """The teacher: 19 rectified units, inputs ``target_x, target_y, hold``, outputs ``vx, vy``.

    Latents 0 and 1 are preparatory: ``dp/dt = (target - p) / 200 ms``. Latents 2k, 2k + 1 (k = 1, 2, 3) are
    plane k: ``dm/dt = -m / 150 ms + w_k J m + kick R(2 pi (k - 1) / 3) p / tau`` with frequencies w_k of 0.9,
    1.6 and 2.4 Hz, silent while hold is on. Three further units carry what all directions share: a transient at
    the go cue, its adaptation, and activity during hold.
    """
    n_planes = len(FREQUENCIES_HZ)
    wiring = _Wiring(2 + 2 * n_planes, 3)
    for axis in (0, 1):
        wiring.connect(axis, axis, 1 - TAU_MS / PREPARATORY_TAU_MS)
        wiring.drive(axis, axis, TAU_MS / PREPARATORY_TAU_MS)
    for plane, frequency_hz in enumerate(FREQUENCIES_HZ):
        x, y = 2 + 2 * plane, 3 + 2 * plane
        turn = TAU_MS * 2 * math.pi * frequency_hz / 1000
        angle = 2 * math.pi * plane / n_planes
        rotation = ((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle)))
        wiring.connect(x, y, -turn)
        wiring.connect(y, x, turn)
        for row, latent in enumerate((x, y)):
            wiring.connect(latent, latent, 1 - TAU_MS / DECAY_MS)
            wiring.silence(latent, 2, GATE)
            for column in (0, 1):
                wiring.connect(latent, column, KICK * rotation[row][column])
    _add_shared(wiring)
    n_units = wiring.b.size
    w_out = np.zeros((2, n_units))
    for axis in (0, 1):
        for sign, unit in wiring.pair(2 + axis):
            w_out[axis, unit] = 2 * sign

    def array(values: object) -> jnp.ndarray:
        return jnp.asarray(np.asarray(values, dtype=np.float32))

    return CTRNN(
        w_in=array(wiring.w_in),
        w_rec=array(wiring.w_rec),
        w_out=array(w_out),
        b=array(wiring.b),
        x0=array(np.zeros(n_units)),
        noise_state=array(0.02),
        noise_input=array(np.zeros(N_INPUTS)),
        mask_rec=array(np.ones((n_units, n_units))),
        dale_sign=array(np.zeros(n_units)),
        activation_name="relu",
        tau_ms=TAU_MS,
        dt_ms=dt_ms,
    )


def _add_shared(wiring: _Wiring) -> None:
    """Transient, adaptation and hold units: tonically driven, inhibited by hold, then by their own adaptation."""
    transient, adaptation, holding = range(wiring.b.size - 3, wiring.b.size)
    wiring.b[transient] = 1.0
    wiring.w_in[transient, 2] = -1.0
    wiring.w_rec[transient, adaptation] = -1.0
    wiring.w_rec[adaptation, adaptation] = 1 - TAU_MS / ADAPTATION_TAU_MS
    wiring.w_rec[adaptation, transient] = 2 * TAU_MS / ADAPTATION_TAU_MS
    wiring.w_in[holding, 2] = 0.6


def observed_units(rates: np.ndarray, *, n_units: int, seed: int) -> np.ndarray:
    """Neurons as an electrode finds them: each mixes the teacher's units and cannot fire below zero.

        r_i = max(0, b_i + sum_j w_ij r_j),   w_ij ~ N(0, 1) with probability 0.4, else 0,   b_i ~ U(0, 0.5)

    The signs are shared by the two units of a latent variable, so that a neuron's tuning is that of the latent.

    Args:
        rates: teacher rates ``(..., unit)``.
        n_units: number of neurons.
        seed: of the mixing.
    """
    rng = generator(seed, "teacher", "mixing")
    n_latents = (rates.shape[-1] - 3) // 2
    latents = np.concatenate(
        [rates[..., : 2 * n_latents : 2] - rates[..., 1 : 2 * n_latents : 2], rates[..., -3:]], -1
    )
    weights = rng.normal(size=(n_units, latents.shape[-1])) * (rng.random((n_units, latents.shape[-1])) < 0.4)
    return np.maximum(0.0, rng.uniform(0, 0.5, n_units) + latents @ weights.T)


def teacher_recording(
    *,
    n_units: int,
    n_repeats: int,
    n_targets: int,
    delay_ms: float,
    seed: int,
    low_hz: tuple[float, float] = (0.0, 10.0),
    high_hz: tuple[float, float] = (15.0, 60.0),
    refractory_ms: float = 2.0,
) -> Recording:
    """A simulated recording whose mechanism is known.

    Every trial has its own reaction time, ``N(190, 25)`` ms in whole bins and within three standard deviations:
    the teacher's go cue is shifted so that neural activity is locked to the movement, as in an animal whose
    decision to go takes a variable time.

    Args:
        n_units: neurons.
        n_repeats: trials per condition.
        n_targets: directions, evenly spaced.
        delay_ms: fixed delay.
        seed: of mixing, rates, reaction times and spikes.
        low_hz, high_hz: ranges from which each neuron's lowest and highest rate are drawn.
        refractory_ms: refractory time of every neuron.
    """
    task = DelayedReach(
        n_targets=n_targets,
        analysis_delay_ms=delay_ms,
        delay_range_ms=(delay_ms, delay_ms),
        baseline_mean_ms=400.0,
        baseline_range_ms=(400.0, 400.0),
        catch_fraction=0.0,
        target_visible="until_go",
        no_delay_fraction=0.0,
    )
    trials = _condition_trials(task, n_repeats)
    rng = generator(seed, "teacher", "reaction_time")
    jitter_ms = REACTION_TIME_SD_MS * np.clip(rng.normal(0.0, 1.0, trials.n_trials), -3, 3)
    # Whole bins, so that the time written down is the time by which the activity was shifted.
    jitter_ms = task.dt_ms * np.round(jitter_ms / task.dt_ms)
    inputs = _shifted_go(np.asarray(trials.inputs), np.asarray(trials.events_ms["go_cue"]), jitter_ms, task.dt_ms)
    rollout = _rollout(teacher_network(dt_ms=task.dt_ms), jnp.asarray(inputs), key(seed, "teacher", "noise"))
    observed = observed_units(np.asarray(rollout.rates, dtype=np.float64), n_units=n_units, seed=seed)
    rates = make_rates(
        observed,
        dims=("trial", "time", "unit"),
        time_ms=trials.timeline.time_ms,
        event="trial_start",
        rate_unit="a.u.",
        source="teacher",
    )
    lowest, highest = draw_rate_range(n_units, seed=seed, low_hz=low_hz, high_hz=high_hz)
    go_cue = np.asarray(trials.events_ms["go_cue"], dtype=np.float64)
    events_ms = {
        "target_on": np.asarray(trials.events_ms["target_on"], dtype=np.float64),
        "go_cue": go_cue,
        "move_onset": go_cue + REACTION_TIME_MS + jitter_ms,
    }
    session = simulate_session(
        scale_rates(rates, low_hz=lowest, high_hz=highest),
        events_ms=events_ms,
        conditions=trials.conditions.frame()
        .iloc[np.asarray(trials.condition)][["direction_deg"]]
        .reset_index(drop=True),
        seed=seed,
        refractory_ms=refractory_ms,
        identifier="teacher",
        subject="simulated",
    )
    return Recording(sessions=(session,), source="simulated from a teacher network")


def _shifted_go(inputs: np.ndarray, go_cue_ms: np.ndarray, jitter_ms: np.ndarray, dt_ms: float) -> np.ndarray:
    """Inputs in which each trial's go cue comes `jitter_ms` later: what the delay showed lasts or ends with it."""
    shifted = inputs.copy()
    for trial, (go_ms, late_ms) in enumerate(zip(go_cue_ms, jitter_ms, strict=True)):
        go, moved = int(bin_of(go_ms, dt_ms)), int(bin_of(go_ms + late_ms, dt_ms))
        shifted[trial, go:moved] = inputs[trial, go - 1]
        shifted[trial, moved:go] = inputs[trial, go]
    return shifted
