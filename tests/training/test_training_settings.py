"""Settings of a fit and the course of the learning rate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.training.objective import PENALTIES
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.update import learning_rate

ROUND_OFF = 1e-6  # float32, relative


def course(**changes):
    settings = FitSettings(n_updates=101, learning_rate=1e-2, learning_rate_end=1e-4, **changes)
    return np.asarray(jax.vmap(lambda k: learning_rate(settings, k))(jnp.arange(101)))


@pytest.mark.parametrize(("schedule", "middle"), [("cosine", 0.00505), ("exponential", 1e-3), ("constant", 1e-2)])
def test_learning_rate_starts_passes_and_ends_where_it_should(schedule, middle):
    rates = course(schedule=schedule)
    end = 1e-2 if schedule == "constant" else 1e-4
    np.testing.assert_allclose(rates[[0, 50, 100]], [1e-2, middle, end], rtol=ROUND_OFF)
    assert (np.diff(rates) <= 0).all()


def test_warm_up_is_linear_and_reaches_the_highest_rate():
    rates = course(warmup_updates=10)
    np.testing.assert_allclose(rates[:10], 1e-3 * np.arange(1, 11), rtol=ROUND_OFF)
    np.testing.assert_allclose(rates[[10, 100]], [1e-2, 1e-4], rtol=ROUND_OFF)


def test_every_penalty_has_a_setting():
    assert set(PENALTIES) <= set(FitSettings.model_fields)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"n_updates": 0}, r"n_updates must be greater than or equal to 1, but got 0"),
        ({"learning_rate": 1e-5}, r"learning_rate_end \(0\.0001\) does not exceed learning_rate \(1e-05\)"),
        ({"n_updates": 5, "warmup_updates": 5}, r"warmup_updates \(5\) is smaller than n_updates \(5\)"),
        ({"schedule": "linear"}, r"schedule must be 'cosine', 'exponential' or 'constant', but got linear"),
        ({"penalty_rates": 1}, r"Did you mean penalty_rate\."),
        ({"clip_norm": 0}, r"clip_norm must be greater than 0, but got 0"),
    ],
)
def test_bad_settings_say_what_is_wrong(values, sentence):
    with pytest.raises(SettingsError, match=sentence):
        parse(FitSettings, values)
