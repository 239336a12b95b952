"""The teacher prepares where its readout does not look, because it was written so."""

from __future__ import annotations

import pytest

from dynaprobe.core.errors import DataError
from dynaprobe.study.comparison import ComparisonSettings
from dynaprobe.study.output_dims import null_potent_of_network
from dynaprobe.study.teacher import teacher_network
from dynaprobe.tasks.reach import DelayedReach

SETTINGS = ComparisonSettings(preparatory_window_ms=(500.0, 1000.0), target_window_ms=(-50.0, 1000.0), n_chance=99)
TASK = DelayedReach(
    n_targets=8,
    analysis_delay_ms=1000.0,
    delay_range_ms=(1000.0, 1000.0),
    baseline_mean_ms=400.0,
    baseline_range_ms=(400.0, 400.0),
    catch_fraction=0.0,
    no_delay_fraction=0.0,
    target_visible="until_go",
)


def test_preparation_of_the_teacher_is_output_null():
    found = null_potent_of_network(teacher_network(), TASK, SETTINGS, seed=0)
    # Its planes are silent until the go cue; single precision leaves no more than round-off.
    assert float(found.data["potent_fraction"].sel(epoch="prep")) < 1e-6
    assert float(found.data["potent_fraction"].sel(epoch="move")) > 0.1
    assert float(found.data["p_value"]) == pytest.approx(0.01)
    assert found.data["readout"].shape == (2, 19)


def test_a_window_that_leaves_the_trial_is_said():
    wide = {"move_window_ms": (-2500.0, 2500.0), "peri_movement_window_ms": (-2500.0, 2500.0)}
    with pytest.raises(
        DataError, match=r"network must have \[-2500, 2500\) ms around move_onset inside the trial"
    ):
        null_potent_of_network(teacher_network(), TASK, SETTINGS.with_changes(wide), seed=0)
