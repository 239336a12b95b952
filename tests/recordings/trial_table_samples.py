"""Trial tables as TrialData and PyalData lay them out, with known counts."""

from __future__ import annotations

from typing import Any

import numpy as np

BIN_S = 0.01


def table_rows(n_trials: int = 12, *, onset: bool = True, seed: int = 0) -> list[dict[str, Any]]:
    """Trials of unequal length: 3 units in M1, 2 in PMd, a hand that moves, four directions in radians."""
    draw = np.random.default_rng(seed)
    rows = []
    for k in range(n_trials):
        n_bins = 150 + int(draw.integers(0, 20))
        go, move = 71 + k % 3, 96 + k % 5  # counted from 1
        done = np.clip((np.arange(n_bins) - (move - 1)) * BIN_S / 0.4, 0, 1)
        speed = (30 * done**2 - 60 * done**3 + 30 * done**4) / 0.4 * 8
        angle = np.pi / 2 * (k % 4)
        row = {
            "monkey": "Ada",
            "trial_id": np.array([[k + 1.0]]),
            "result": "F" if k == 4 else "R",
            "tgtDir": np.array([[angle + (np.pi / 4 if k >= 100 else 0.0)]]),
            "bin_size": np.array([[BIN_S]]),
            "idx_trial_start": np.array([[1.0]]),
            "idx_target_on": np.array([[31.0]]),
            "idx_go_cue": np.array([[float(go)]]),
            "idx_bump": np.array([[np.nan]]),
            "vel": np.column_stack([np.cos(angle) * speed, np.sin(angle) * speed]),
            "emg": draw.normal(size=(n_bins, 2)),
            "emg_names": ["biceps", "triceps"],
            "M1_spikes": draw.poisson(0.3, size=(n_bins, 3)).astype(float),
            "M1_unit_guide": np.array([[1.0, 1.0], [1.0, 2.0], [4.0, 1.0]]),
            "PMd_spikes": draw.poisson(0.1, size=(n_bins, 2)).astype(float),
            "PMd_unit_guide": np.array([[7.0, 1.0], [9.0, 1.0]]),
        }
        if onset:
            row["idx_movement_on"] = np.array([[float(move)]])
        rows.append(row)
    return rows
