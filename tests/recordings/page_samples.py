"""The files that the page "Bring your own recording" speaks of, made up and small."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mat_samples import write_mat5, write_mat73
from nlb_samples import write_nlb
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from trial_table_samples import table_rows

N_TRIALS, TRIAL_S = 64, 2.0


def session_trials() -> dict[str, np.ndarray]:
    """Trials of eight directions with column names of no known data set."""
    start = TRIAL_S * np.arange(N_TRIALS)
    return {
        "start_time": start,
        "stop_time": start + TRIAL_S,
        "target_on_time": start + 0.2,
        "go_signal": start + 0.9,
        "target_angle": np.pi / 4 * (np.arange(N_TRIALS) % 8),
        "outcome": np.array(["hit" if k % 12 else "miss" for k in range(N_TRIALS)]),
    }


def write_session(path: Path, trials: dict[str, np.ndarray], *, n_units: int = 6, hand: bool = False) -> None:
    file = NWBFile(
        session_description="made up", identifier=path.stem, session_start_time=datetime(2020, 1, 1, tzinfo=UTC)
    )
    for name in trials:
        if name not in ("start_time", "stop_time"):
            file.add_trial_column(name, "made up")
    for row in range(len(trials["start_time"])):
        file.add_trial(**{name: values[row] for name, values in trials.items()})
    draw = np.random.default_rng(0)
    for _ in range(n_units):
        file.add_unit(spike_times=np.sort(draw.uniform(0, N_TRIALS * TRIAL_S, 2000)))
    if hand:
        times_s = np.arange(0, N_TRIALS * TRIAL_S, 0.001)
        done = np.clip((times_s % TRIAL_S - 1.1) / 0.4, 0, 1)
        speed = (30 * done**2 - 60 * done**3 + 30 * done**4) / 0.4 * 80
        angle = np.pi / 4 * ((times_s // TRIAL_S) % 8)
        velocity = np.column_stack([np.cos(angle) * speed, np.sin(angle) * speed])
        module = file.create_processing_module("behavior", "made up")
        module.add(
            TimeSeries(
                name="hand_vel",
                data=velocity,
                unit="mm/s",
                rate=1000.0,
                starting_time=0.0,
                comments="columns=[x,y]",
            )
        )
    with NWBHDF5IO(str(path), "w") as handle:
        handle.write(file)


def make_page_files(folder: Path) -> None:
    """Every file that a command or a script of the page opens."""
    trials = session_trials()
    write_session(folder / "my_session.nwb", trials, hand=True)
    write_nlb(folder / "maze_train.nwb")
    write_nlb(folder / "maze_test.nwb", cues=False)
    write_mat73(folder / "Ada_CO.mat", {"trial_data": table_rows(40)})
    time_ms = np.arange(-50.0, 560.0, 10.0)
    draw = np.random.default_rng(0)
    waves = np.sin(time_ms[:, None, None] / 80 + draw.normal(size=(1, 30, 8))) * 20 + 20
    angles = np.arange(8) * 45.0
    write_mat5(folder / "tensor.mat", {"rates": waves, "t": time_ms[:, None], "direction_deg": angles[None]})
    rows: list[dict[str, Any]] = [
        {"A": waves[:, :, c], "times": time_ms[:, None], "direction_deg": angles[c : c + 1]} for c in range(8)
    ]
    write_mat73(folder / "struct.mat", {"Data": rows})
    np.savez(folder / "tensor.npz", rates=waves.transpose(2, 0, 1), time_s=time_ms / 1000, direction_deg=angles)
    _broken(folder, trials, waves)


def _broken(folder: Path, trials: dict[str, np.ndarray], waves: np.ndarray) -> None:
    known = {k: v for k, v in trials.items() if k != "go_signal"} | {"go_cue_time": trials["go_signal"]}
    write_session(folder / "ms.nwb", {k: v * 1000 if k.endswith("_time") else v for k, v in known.items()})
    gaps = known["go_cue_time"].copy()
    gaps[:5] = np.nan
    write_session(folder / "gaps.nwb", known | {"go_cue_time": gaps})
    write_session(folder / "empty.nwb", known)
    with h5py.File(folder / "empty.nwb", "r+") as file:
        # The library refuses to write a table without rows; recording software does not.
        table = file["intervals/trials"]
        for name in list(table):
            attrs, kind = dict(table[name].attrs), table[name].dtype
            del table[name]
            table.create_dataset(name, shape=(0,), dtype=kind).attrs.update(attrs)
    relative = known | {"go_cue_time": np.full(N_TRIALS, 0.9)}
    write_session(folder / "relative.nwb", relative)
    content = (folder / "my_session.nwb").read_bytes()
    (folder / "cut.nwb").write_bytes(content[: len(content) // 2])
    (folder / "session.txt").write_text("spikes")
    (folder / "session.pkl").write_bytes(b"\x80\x04.")
    write_mat5(folder / "turned.mat", {"rates": waves.transpose(1, 0, 2), "t": np.arange(61.0)[:, None] * 10})
    write_mat5(folder / "seconds.mat", {"rates": waves, "t": np.arange(61.0)[:, None] / 100})
    np.savez(folder / "objects.npz", rates=waves, names=np.array([{"a": 1}], dtype=object))
