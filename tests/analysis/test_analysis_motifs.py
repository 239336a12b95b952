"""Galleries of shapes on data whose shapes are built in, and distances of spreads over labels."""

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import adjusted_rand_score

from dynaprobe.analysis.motifs import LabelDistance, MotifGallery, assign_motifs, label_distance, motif_gallery
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.preprocess import concatenate_segments
from dynaprobe.core.rates import make_rates

DEGREES = np.arange(8) * 45.0
TIME = np.arange(20)


def rates_of(values: np.ndarray) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event="go_cue",
        rate_unit="spikes/s",
        source="test",
        coords={"direction_deg": ("condition", DEGREES)},
    )


def gallery_example(seed: int = 0, noise: float = 0.05) -> tuple[xr.DataArray, np.ndarray]:
    """Three shapes with 20, 12 and 8 units, of any rate, range and preferred direction."""
    source = np.random.default_rng(seed)
    rise, bump = TIME / TIME.size, np.exp(-((TIME - 10) ** 2) / 8)
    kinds = np.repeat([0, 1, 2], [20, 12, 8])
    values = [
        source.uniform(1, 9)
        + source.uniform(1, 9)
        * np.roll(
            (1 + np.cos(np.deg2rad(DEGREES)))[:, None] * (rise, bump, 1 - rise)[kind], source.integers(8), axis=0
        )
        for kind in kinds
    ]
    stacked = np.stack(values, axis=2)
    return rates_of(stacked + noise * np.ptp(stacked, axis=(0, 1)) * source.standard_normal(stacked.shape)), kinds


def test_shapes_that_were_put_in_are_found_largest_first() -> None:
    rates, kinds = gallery_example()
    result = motif_gallery(rates, 3, seed=0)
    np.testing.assert_array_equal(result.data["label"], kinds)
    assert result.data["n_members"].values.tolist() == [20, 12, 8]
    assert (result.data["similarity"] > 0.8).all()
    for k in range(3):
        assert kinds[int(result.data["medoid"][k])] == k
    np.testing.assert_allclose((result.data["prototype"] ** 2).sum(["condition", "time"]), 1.0)
    np.testing.assert_allclose(result.data["fraction"].sum(), 1.0)


def test_without_turning_preferred_direction_splits_shapes() -> None:
    rates, kinds = gallery_example()
    still = motif_gallery(rates, 3, seed=0, turn_to_preferred=False).data
    assert adjusted_rand_score(kinds, still["label"]) < 0.5
    assert not still["preferred_condition"].any()


def test_units_turned_scaled_and_reordered_keep_their_clusters() -> None:
    rates, kinds = gallery_example()
    moved = rates_of(np.roll(rates.values, 3, axis=0)[:, :, ::-1] * 4 + 1)
    after = motif_gallery(moved, 3, seed=5)
    np.testing.assert_array_equal(after.data["label"][::-1], kinds)


def test_other_units_are_sorted_into_the_same_clusters() -> None:
    gallery = motif_gallery(gallery_example(0)[0], 3, seed=0)
    other, kinds = gallery_example(1)
    chosen = np.flatnonzero(kinds != 2)
    assigned = assign_motifs(gallery, other.isel(unit=chosen))
    np.testing.assert_array_equal(assigned.data["label"], kinds[chosen])
    xr.testing.assert_equal(assigned.data["prototype"], gallery.data["prototype"])
    np.testing.assert_allclose(assigned.data["fraction"], [20 / 32, 12 / 32, 0])
    assert int(assigned.data["medoid"][2]) == -1
    assert float(assigned.data["fraction_high"][2]) > 0
    back = assign_motifs(gallery, gallery_example(0)[0])
    xr.testing.assert_equal(back.data["label"], gallery.data["label"])


def test_same_seed_same_gallery_and_silent_units_stay_out() -> None:
    rates, _ = gallery_example()
    rates.values[:, :, 4] = 3.3
    result = motif_gallery(rates, 3, seed=1)
    xr.testing.assert_identical(motif_gallery(rates, 3, seed=1).data, result.data)
    assert int(result.data["label"][4]) == -1
    assert np.isnan(result.data["similarity"][4])
    assert result.status == "1 x unit that never changes, in no cluster"
    assert MotifGallery.from_dataset(result.to_dataset()).settings["n_motifs"] == 3


def test_segments_joined_along_time_are_one_shape() -> None:
    rates, kinds = gallery_example()
    other = rates.copy()
    other["time"].attrs.update(rates["time"].attrs, event="move_onset")
    joined = concatenate_segments([rates, other])
    result = motif_gallery(joined, 3, seed=0)
    np.testing.assert_array_equal(result.data["label"], kinds)
    assert set(result.data["segment"].values) == {"go_cue", "move_onset"}


def test_distance_of_spreads_is_half_the_sum_of_differences() -> None:
    result = label_distance(list("aaab"), list("abbc"), seed=0, n_null=50)
    assert float(result.data["distance"]) == pytest.approx(0.5 * (0.5 + 0.25 + 0.25))
    np.testing.assert_allclose(result.data["fraction_b"], [0.25, 0.5, 0.25])
    assert result.data["label"].values.tolist() == ["a", "b", "c"]
    assert LabelDistance.from_dataset(result.to_dataset()).settings == {"seed": 0, "n_null": 50}


def test_distance_is_certain_for_disjoint_labels_and_chance_for_one_spread() -> None:
    apart = label_distance(np.zeros(30, int), np.ones(20, int), seed=0, n_null=199)
    assert float(apart.data["distance"]) == 1.0
    assert float(apart.data["p_value"]) == 1 / 200
    source = np.random.default_rng(0)
    p_values = [
        float(
            label_distance(source.integers(4, size=30), source.integers(4, size=40), seed=k, n_null=99).data[
                "p_value"
            ]
        )
        for k in range(60)
    ]
    # Uniform but for ties, which only raise p: never fewer than 3 deviations below the mean of a uniform one.
    assert np.mean(p_values) > 0.5 - 3 * 0.29 / np.sqrt(60)
    assert np.mean(np.array(p_values) <= 0.05) < 0.15


def test_bad_input_is_named() -> None:
    rates, _ = gallery_example()
    with pytest.raises(RatesError, match=r"n_motifs must be at most 40, .* but got 41"):
        motif_gallery(rates, 41, seed=0)
    with pytest.raises(SettingsError, match="n_motifs must be at least 1"):
        motif_gallery(rates, 0, seed=0)
    with pytest.raises(RatesError, match="direction_deg must rise in even steps"):
        motif_gallery(rates.isel(condition=slice(5)), 2, seed=0)
    gallery = motif_gallery(rates, 2, seed=0)
    with pytest.raises(RatesError, match=r"rates must have the \(8, 20\) conditions and bins of the gallery"):
        assign_motifs(gallery, rates.isel(time=slice(10)))
    with pytest.raises(SettingsError, match="number of labels on the smaller side must be at least 1, but got 0"):
        label_distance([], [1], seed=0)
