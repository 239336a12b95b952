"""Condition averages: values where they belong, labels that match recordings, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mat_samples import WRITERS, write_mat5

from dynaprobe.analysis.jpca import jpca
from dynaprobe.core.errors import DataError
from dynaprobe.core.rates import bin_width_ms, check_rates, steps_done
from dynaprobe.core.settings import parse
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.load import kind_of, load_psth, load_recording

TIME_MS = np.arange(-50.0, 60.0, 10.0)
ANGLES = [90.0, 0.0, 180.0, 270.0]
VALUES = np.random.default_rng(1).normal(size=(TIME_MS.size, 3, 4))  # time x unit x condition


def mapped(**arrays: Any) -> ColumnMapping:
    return parse(ColumnMapping, {"arrays": arrays})


def tensor_file(folder: Path, **changes: Any) -> Path:
    values = {"dataTensor": VALUES, "t": TIME_MS[:, None], "direction_deg": np.array([ANGLES])} | changes
    return write_mat5(folder / "tensor.mat", {n: v for n, v in values.items() if v is not None})


def struct_file(folder: Path, version: str = "v5", **changes: Any) -> Path:
    rows = [
        {"A": VALUES[:, :, c], "times": TIME_MS[:, None], "direction_deg": np.array([[ANGLES[c]]])} | changes
        for c in range(4)
    ]
    return WRITERS[version](folder / "struct.mat", {"Data": rows, "note": "as published"})


def test_tensor_and_struct_of_both_versions_give_the_same_rates(tmp_path: Path) -> None:
    found = [load_psth(struct_file(tmp_path, version)) for version in WRITERS] + [load_psth(tensor_file(tmp_path))]
    for rates in found:
        check_rates(rates, dims=("condition", "time", "unit"))
        assert rates["direction_deg"].values.tolist() == [0.0, 90.0, 180.0, 270.0]
        assert rates["condition"].values[1] == "direction_deg=90"
        np.testing.assert_array_equal(rates.values, VALUES[:, :, np.argsort(ANGLES)].transpose(2, 0, 1))
        assert (bin_width_ms(rates), rates.attrs["rate_unit"]) == (10.0, "a.u.")
        assert rates["time"].attrs["event"] == "time_zero"
    assert found[0]["unit"].values.tolist() == ["struct/0", "struct/1", "struct/2"]
    assert any("not known" in step for step in steps_done(found[0]))
    assert all(kind_of(tmp_path / name) == "psth" for name in ("struct.mat", "tensor.mat"))


@pytest.mark.parametrize("order", ["unit,time,condition", "condition,unit,time", "time,condition,unit"])
def test_axes_in_any_order(tmp_path: Path, order: str) -> None:
    axes = {"time": 0, "unit": 1, "condition": 2}
    turned = VALUES.transpose([axes[name] for name in order.split(",")])
    path = tensor_file(tmp_path, dataTensor=turned)
    np.testing.assert_array_equal(
        load_psth(path, mapped(dims=order)).values, load_psth(tensor_file(tmp_path)).values
    )


def test_what_the_file_cannot_say_is_said_once(tmp_path: Path) -> None:
    path = tensor_file(tmp_path, t=None, seconds=TIME_MS[None] / 1000)
    mapping = mapped(time="seconds", time_unit="s", event="move_onset", rate_unit="spikes/s")
    rates = load_psth(path, mapping)
    np.testing.assert_allclose(rates["time"].values, TIME_MS)
    assert (rates["time"].attrs["event"], rates.attrs["rate_unit"]) == ("move_onset", "spikes/s")
    even = load_psth(tensor_file(tmp_path, t=None), mapped(dt_ms=5))
    np.testing.assert_array_equal(even["time"].values, 5.0 * np.arange(TIME_MS.size))


def test_directions_by_index_and_twice_the_same(tmp_path: Path) -> None:
    by_index = tensor_file(tmp_path, direction_deg=None, target=np.array([[4, 3, 2, 1]]))
    rates = load_psth(by_index, ColumnMapping(direction="target"))
    assert rates["direction_deg"].values.tolist() == [0.0, 90.0, 180.0, 270.0]
    np.testing.assert_array_equal(rates.values[0], VALUES[:, :, 3])
    twice = load_psth(tensor_file(tmp_path, direction_deg=np.array([[0.0, 90.0, 0.0, 90.0]])))
    assert twice["condition_number"].values.tolist() == [1, 3, 2, 4]
    assert len(set(twice["condition"].values)) == 4


def test_without_directions_conditions_are_numbered(tmp_path: Path) -> None:
    rates = load_psth(tensor_file(tmp_path, direction_deg=None))
    assert "direction_deg" not in rates.coords
    assert rates["condition_number"].values.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "arrays", "sentence"),
    [
        ({}, {"dims": "unit,time,condition"}, r"t must have one entry for each of 3 times, with dataTensor "
         r"read as 11 units x 3 times x 4 conditions, but got 11 entries\. Say what the axes are"),
        ({"t": None}, {}, r"the times must be in the file, as time_ms, .* or t, but got a file with dataT"),
        ({"t": TIME_MS[None] / 1e3}, {}, r"t must be in ms, but got steps of 0\.01, which look like seconds"),
        ({"other": VALUES}, {}, r"must be one array of three axes, .*Name the variable: --map arrays\.variable="),
        ({"dataTensor": VALUES[:, :, 0]}, {}, r"the file must hold trials \(a struct array .* or condition av"),
        ({"dataTensor": np.where(VALUES > 2, np.nan, VALUES)}, {}, r"tensor\.mat: rates must be finite"),
        ({"t": TIME_MS[None] ** 3}, {}, r"tensor\.mat: rates\.time must increase in equal steps"),
        ({"direction_deg": np.array([[0.0, np.nan, 1, 2]])}, {}, "must hold a direction for every condition"),
        ({}, {"dims": "time,unit"}, r"arrays\.dims must name time, unit and condition once each, but got time, u"),
        ({}, {"variable": "t"}, r"the file must hold trials .* but got a file with dataTensor \(11 x 3 x 4\)"),
    ],
)  # fmt: skip
def test_usual_mistakes(tmp_path: Path, changes: dict[str, Any], arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        load_psth(tensor_file(tmp_path, **changes), mapped(**arrays))


def test_a_direction_that_is_no_direction(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"direction \(t\) must hold one number for each of 4 conditions, but got"):
        load_psth(tensor_file(tmp_path), ColumnMapping(direction="t"))
    with pytest.raises(DataError, match=r"field of the direction \(angle\) must hold one number in every co"):
        load_psth(struct_file(tmp_path), ColumnMapping(direction="angle"))


@pytest.mark.parametrize("version", WRITERS)
def test_structs_whose_conditions_differ(tmp_path: Path, version: str) -> None:
    rows = [{"A": np.ones((11 - k, 3)), "times": TIME_MS[: 11 - k]} for k in range(2)]
    path = WRITERS[version](tmp_path / "a.mat", {"Data": rows})
    with pytest.raises(DataError, match=r"A must be a matrix .* but got the sizes \[\(10, 3\), \(11, 3\)\]"):
        load_psth(path)
    rows = [{"A": np.ones((11, 3)), "times": TIME_MS + 10 * k} for k in range(2)]
    path = WRITERS[version](tmp_path / "a.mat", {"Data": rows})
    with pytest.raises(DataError, match=r"times must be the same in every condition, but got -50 to 50 ms and -4"):
        load_psth(path)


def test_averages_are_no_recording_with_trials(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no trials, hence neither split halves nor standard errors.*load_psth"):
        load_recording(tensor_file(tmp_path))


@pytest.mark.recording
def test_the_published_tensor(churchland_file: Path) -> None:
    assert kind_of(churchland_file) == "psth"
    rates = load_psth(churchland_file, mapped(event="move_onset"))
    assert rates.sizes == {"condition": 10, "time": 61, "unit": 50}
    assert rates["time"].values[[0, -1]].tolist() == [-50.0, 550.0]
    # Preprocessed before it was published: nearly centred over conditions, so not rates in spikes/s.
    assert float(abs(rates.mean("condition")).max()) < 0.1
    assert 0 < float(jpca(rates, start_ms=-50, stop_ms=150, n_pcs=6).data["r2_skew"]) < 1


@pytest.mark.recording
def test_muscle_averages(emg_file: Path) -> None:
    with pytest.raises(DataError, match=r"got a file with all_EMG \(13 x 3341 x 8\)"):
        load_psth(emg_file)
    rates = load_psth(emg_file, mapped(dims="unit,time,condition", dt_ms=1))
    assert rates.sizes == {"condition": 8, "time": 3341, "unit": 13}
