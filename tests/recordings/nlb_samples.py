"""A file laid out as those of the maze task in the Neural Latents Benchmark (DANDI 000128), made up and small."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries

N_TRIALS, TRIAL_S, SAMPLING_HZ = 12, 2.0, 1000.0
TARGETS = np.array([[100, 0], [0, 80], [-90, 0]], dtype=np.int16)
GO_S, MOVE_S = 0.9, 1.15


def hand_path(n_trials: int = N_TRIALS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, position and velocity of a hand that moves for 0.4 s to the target of each trial, minimum-jerk."""
    times_s = np.arange(int(n_trials * TRIAL_S * SAMPLING_HZ)) / SAMPLING_HZ
    trial = (times_s // TRIAL_S).astype(int)
    done = np.clip((times_s - trial * TRIAL_S - MOVE_S) / 0.4, 0, 1)
    share = 10 * done**3 - 15 * done**4 + 6 * done**5
    speed = (30 * done**2 - 60 * done**3 + 30 * done**4) / 0.4
    goal = TARGETS[trial % 3].astype(float)
    return times_s, goal * share[:, None], goal * speed[:, None]


def write_nlb(path: Path, *, cues: bool = True, onset: bool = True, nested: bool = False) -> Path:
    """Twelve trials on three mazes in three versions, six units, two of them held out.

    Args:
        path: the file.
        cues: False gives the test segments, whose cues and conditions were taken away.
        onset: whether the file has movement onset.
        nested: put the series into containers, as other data sets do, with a rate instead of times.
    """
    file = NWBFile(
        session_description="test",
        identifier=path.stem,
        session_start_time=datetime(2009, 9, 25, tzinfo=UTC),
        session_id="full",
    )
    start = TRIAL_S * np.arange(N_TRIALS)
    trials = {
        "start_time": start,
        "stop_time": start + TRIAL_S,
        "split": np.array(["test" if not cues else "val" if k % 4 == 3 else "train" for k in range(N_TRIALS)]),
    }
    if onset:
        trials["move_onset_time"] = start + MOVE_S
    if cues:
        version = np.arange(N_TRIALS) // 3 % 3
        trials |= {
            "target_on_time": start + 0.3,
            "go_cue_time": start + GO_S,
            "trial_type": 1 + np.arange(N_TRIALS) % 3,
            "trial_version": version,
            "maze_id": 1 + np.arange(N_TRIALS) % 3,
            "success": np.arange(N_TRIALS) != 5,
            "active_target": np.where(version == 2, 1, 0),
        }
    for name in trials:
        if name not in ("start_time", "stop_time"):
            file.add_trial_column(name, "test")
    if cues:
        file.add_trial_column("target_pos", "x and y of every target", index=True)
    for k in range(N_TRIALS):
        row = {name: values[k] for name, values in trials.items()}
        if cues:
            goal = TARGETS[k % 3]
            row["target_pos"] = np.stack([-goal, goal, goal[::-1]]) if version[k] == 2 else goal[None]
        file.add_trial(**row)
    file.add_unit_column("heldout", "test")
    draw = np.random.default_rng(0)
    spans = np.column_stack([start, start + TRIAL_S])
    for unit in range(6):
        spikes = np.sort(draw.uniform(0, N_TRIALS * TRIAL_S, 300))
        file.add_unit(spike_times=spikes, obs_intervals=spans, heldout=unit > 3)
    if cues:
        _add_series(file, nested)
    with NWBHDF5IO(str(path), "w") as handle:
        handle.write(file)
    return path


def _add_series(file: NWBFile, nested: bool) -> None:
    times_s, position, velocity = hand_path()
    timing = {"rate": SAMPLING_HZ, "starting_time": 0.0} if nested else {"timestamps": times_s}
    # In tenths of mm with a conversion to mm, since files store what the tracker gave.
    place = SpatialSeries(
        name="cursor_pos" if nested else "hand_pos",
        data=position * 10,
        reference_frame="centre",
        unit="mm",
        conversion=0.1,
        comments="columns=[x,y]",
        **timing,
    )
    speed = TimeSeries(name="cursor_vel" if nested else "hand_vel", data=velocity, unit="mm/s", **timing)
    module = file.create_processing_module("behavior", "test")
    if nested:
        module.add(Position(spatial_series=place, name="Position"))
        module.add(BehavioralTimeSeries(time_series=speed, name="Velocity"))
    else:
        module.add(place)
        module.add(speed)
        backwards = np.array([0.0, 2.0, 1.0, 3.0])
        module.add(TimeSeries(name="broken", data=np.zeros((4, 2)), unit="mm", timestamps=backwards))
