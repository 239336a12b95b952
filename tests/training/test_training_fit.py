"""Training a whole ensemble: independence of members, resuming, divergence, the record it returns."""

from __future__ import annotations

import numpy as np

from dynaprobe.model.ensemble import Ensemble
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.training.fit import fit
from dynaprobe.training.settings import FitSettings

TASK = DelayedReach(
    dt_ms=50, n_targets=2, delay_range_ms=(150, 300), baseline_range_ms=(100, 200), post_ms=100, catch_ms=500
)
NETWORK = NetworkSettings(n_units=8, dt_ms=50, tau_ms=100)
SETTINGS = FitSettings(n_updates=12, batch_size=4, n_validation_trials=4, validate_every=4)


def ensemble_of(seeds, **hyperparameters):
    return Ensemble.make(NETWORK, n_inputs=3, n_outputs=4, seeds=seeds, hyperparameters=hyperparameters)


def test_fit_runs_end_to_end():
    result = fit(TASK, ensemble_of([0, 1, 2]), SETTINGS, seed=0)
    assert result.history.sizes == {"member": 3, "update": 12}
    assert np.isfinite(result.history["loss"]).all()
    assert result.status == ("below_threshold",) * 3
