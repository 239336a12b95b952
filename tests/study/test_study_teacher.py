"""The teacher does what its equations say, and what is found in its recording is what was put in."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dynaprobe.study.comparison import ComparisonSettings, population, resolve, timing
from dynaprobe.study.describe import describe
from dynaprobe.study.teacher import (
    DECAY_MS,
    FREQUENCIES_HZ,
    KICK,
    PREPARATORY_TAU_MS,
    TAU_MS,
    observed_units,
    teacher_network,
    teacher_recording,
)

DT_MS = 10.0
ON, GO, STOP = 30, 130, 200
# ROUND_OFF: the network runs in single precision over 200 steps.
ROUND_OFF = 1e-4


def run(direction_rad: float, *, target_until: int = GO) -> tuple[np.ndarray, np.ndarray]:
    """Latents ``(time, latent)`` and outputs of one noise-free trial."""
    inputs = np.zeros((1, STOP, 3), dtype=np.float32)
    inputs[0, ON:target_until, 0] = np.cos(direction_rad)
    inputs[0, ON:target_until, 1] = np.sin(direction_rad)
    inputs[0, :GO, 2] = 1.0
    rollout = teacher_network(dt_ms=DT_MS).rollout(jnp.asarray(inputs))
    rates = np.asarray(rollout.rates)[0]
    return rates[:, 0:16:2] - rates[:, 1:16:2], np.asarray(rollout.outputs)[0]


def test_preparation_charges_as_its_equation_says():
    latents, _ = run(0.0)
    k = np.arange(1, GO - ON + 1)
    np.testing.assert_allclose(latents[ON:GO, 0], 1 - (1 - DT_MS / PREPARATORY_TAU_MS) ** k, atol=ROUND_OFF)
    np.testing.assert_allclose(latents[:, 1], 0.0, atol=ROUND_OFF)


def test_planes_are_silent_until_the_go_cue_and_move_after_it():
    latents, outputs = run(0.7)
    assert np.all(latents[:GO, 2:] == 0)
    assert np.all(outputs[:GO] == 0)
    assert np.abs(outputs[GO:]).max() > 0.2


def test_planes_obey_their_equation_once_the_gate_is_open():
    """``m <- (1 - dt/T + dt w J) m + (dt/tau) kick R p``, with p what preparation still holds."""
    latents, _ = run(0.3)
    late = slice(GO + 50, STOP)  # 0.8^50 of the gate is left: 7e-5
    p = latents[late, :2]
    for plane, frequency_hz in enumerate(FREQUENCIES_HZ):
        m = latents[late, 2 + 2 * plane : 4 + 2 * plane]
        w, angle = 2 * np.pi * frequency_hz / 1000, 2 * np.pi * plane / len(FREQUENCIES_HZ)
        step = np.eye(2) + DT_MS * (np.array([[0, -w], [w, 0]]) - np.eye(2) / DECAY_MS)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        expected = m[:-1] @ step.T + DT_MS / TAU_MS * KICK * p[:-1] @ rotation.T
        np.testing.assert_allclose(m[1:], expected, atol=ROUND_OFF)


def test_turning_the_target_turns_everything():
    angle = 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    first, outputs = run(0.4)
    second, turned = run(0.4 + angle)
    # The gate opens along the axes, so that a turn by anything but a quarter is exact only while it is shut.
    np.testing.assert_allclose(second[:GO, :2], first[:GO, :2] @ turn.T, atol=ROUND_OFF)
    quarter, quartered = run(0.4 + np.pi / 2)
    np.testing.assert_allclose(quarter[:, 0], -first[:, 1], atol=ROUND_OFF)
    np.testing.assert_allclose(quartered[:, 0], -outputs[:, 1], atol=ROUND_OFF)
    assert turned.shape == outputs.shape


def test_the_state_alone_carries_the_movement():
    """The target before the go cue decides; after it there is none, and the reach happens all the same."""
    _, outputs = run(np.pi / 4)
    peak = outputs[np.argmax(np.hypot(*outputs.T))]
    assert abs(np.degrees(np.arctan2(peak[1], peak[0])) - 45) < 30
    _, none = run(np.pi / 4, target_until=ON)
    assert np.all(none == 0)


def test_observed_units_are_tuned_as_the_latents():
    rates = np.abs(np.random.default_rng(0).normal(size=(4, 19)))
    units = observed_units(rates, n_units=30, seed=1)
    assert units.shape == (4, 30)
    assert np.all(units >= 0)
    np.testing.assert_array_equal(units, observed_units(rates, n_units=30, seed=1))
    assert not np.array_equal(units, observed_units(rates, n_units=30, seed=2))


@pytest.fixture(scope="module")
def recording():
    return teacher_recording(n_units=60, n_repeats=16, n_targets=8, delay_ms=1000.0, seed=3)


def test_the_recording_has_the_timing_that_was_asked_for(recording):
    facts = timing(recording)
    assert facts.delay_ms == 1000
    assert abs(facts.reaction_time_ms - 190) <= 15  # jitter is rounded to bins of 10 ms
    assert facts.n_repeats == 16
    assert len(recording.conditions) == 8


def test_rates_stay_in_the_range_that_was_asked_for():
    """Neurons with a lowest rate of 20 and a highest of 50 spikes/s fire in between, within counting error."""
    session = teacher_recording(
        n_units=20, n_repeats=10, n_targets=4, delay_ms=500.0, seed=0, low_hz=(20.0, 20.0), high_hz=(50.0, 50.0)
    ).sessions[0]
    observed_s = sum(float(np.diff(span)[0]) for span in session.obs_intervals_s[0])
    mean_hz = np.array([spikes.size for spikes in session.spike_times_s]) / observed_s
    # SAMPLING: some 3000 spikes per neuron, standard error below 2 %.
    assert np.all((mean_hz > 20 * 0.95) & (mean_hz < 50 * 1.05))


def test_what_was_put_in_is_found(recording):
    """Preparation and movement use other latents, and the planes turn: alignment is low, rotations are strong."""
    settings = resolve(ComparisonSettings(n_splits=1, n_floor=1, n_chance=200, n_surrogates=2), timing(recording))
    results, reasons = describe(population(recording, settings, seed=0), settings, seed=0)
    assert not reasons
    aligned = results["alignment"].data.sel(direction="prep_to_move")
    assert float(aligned["p_value"]) < 0.05
    assert float(aligned["alignment_index"]) < 0.5 * float(aligned["chance_mean"])
    turning = results["jpca"].data
    assert float(turning["r2_skew"]) > 0.4
    assert FREQUENCIES_HZ[0] < float(turning["frequency_hz"][0]) < FREQUENCIES_HZ[-1]


def test_reaction_times_are_whole_bins_within_three_standard_deviations():
    """Seed 2 draws one beyond the limit, which must not end between two bins: activity is shifted by bins."""
    trials = teacher_recording(n_units=1, n_repeats=20, n_targets=8, delay_ms=300.0, seed=2).sessions[0].trials
    late_ms = (trials["move_onset"] - trials["go_cue"]).to_numpy() * 1e3 - 190.0
    np.testing.assert_allclose(late_ms / DT_MS, np.round(late_ms / DT_MS), atol=1e-6)  # ROUND_OFF of seconds
    assert 70 <= np.abs(late_ms).max() <= 80 + 1e-6
