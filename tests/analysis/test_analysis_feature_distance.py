"""Distances of clouds of units against SciPy and plain loops, calibrated chance, and the scale."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import wasserstein_distance

from dynaprobe.analysis.feature_distance import FeatureDistance, feature_distance
from dynaprobe.core.errors import RatesError

NAMES = ("x", "y", "z")


def cloud(n: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> xr.Dataset:
    values = shift + scale * np.random.default_rng(seed).standard_normal((3, n))
    return xr.Dataset({"value": (("feature", "unit"), values)}, coords={"feature": list(NAMES)})


def apart(a: xr.Dataset, b: xr.Dataset, n: int = 99, **how: object) -> FeatureDistance:
    return feature_distance(a, b, **({"joint": NAMES, "seed": 0, "n_null": n} | how))


def test_wasserstein_is_that_of_scipy() -> None:
    a, b = cloud(17, 0), cloud(30, 1, shift=0.7)
    data = apart(a, b).data
    for k in range(3):
        x, y = a["value"].values[k], b["value"].values[k]
        size = np.concatenate([x, y]).std()
        assert float(data["wasserstein"][k]) == pytest.approx(wasserstein_distance(x / size, y / size))
        assert float(data["median_difference"][k]) == pytest.approx((np.median(x) - np.median(y)) / size)


def test_energy_is_its_three_means() -> None:
    a, b = cloud(6, 0), cloud(9, 1, shift=0.5)
    pooled = np.concatenate([a["value"], b["value"]], axis=1).std(axis=1)
    x, y = (side["value"].values.T / pooled for side in (a, b))

    def mean(first: np.ndarray, second: np.ndarray, *, same: bool) -> float:
        return np.mean(
            [
                np.linalg.norm(p - q)
                for i, p in enumerate(first)
                for j, q in enumerate(second)
                if not (same and i == j)
            ]
        )

    brute = 2 * mean(x, y, same=False) - mean(x, x, same=True) - mean(y, y, same=True)
    assert float(apart(a, b).data["energy"]) == pytest.approx(brute)


def test_one_population_is_at_nothing_whatever_the_numbers_and_chance_holds_its_rate() -> None:
    found = [apart(cloud(25, k), cloud(60, 1000 + k)).data for k in range(80)]
    energies, p = (np.array([float(d[name]) for d in found]) for name in ("energy", "energy_p"))
    # SAMPLING: 80 draws, standard error of the mean in the spread of the draws themselves.
    assert abs(energies.mean()) < 3 * energies.std() / np.sqrt(80)
    assert np.mean(p <= 0.05) <= 0.13
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)
    single = np.concatenate([d["wasserstein_p"].values for d in found])
    assert np.mean(single <= 0.05) == pytest.approx(0.05, abs=0.05)


def test_what_differs_is_found_in_mean_in_width_and_in_dependence_alone() -> None:
    assert float(apart(cloud(60, 0), cloud(60, 1, shift=1)).data["energy_p"]) == 0.01
    assert float(apart(cloud(60, 0), cloud(60, 1, scale=3)).data["energy_p"]) == 0.01
    free, tied = cloud(400, 2), cloud(400, 2)
    # The same values of every feature, dealt to the units so that the second rises with the first.
    first, second = tied["value"].values[:2]
    tied["value"].values[1] = np.sort(second)[first.argsort().argsort()]
    data = apart(free, tied).data
    assert float(data["energy_p"]) == 0.01
    np.testing.assert_allclose(data["wasserstein"], 0, atol=1e-12)  # no feature alone shows it


def test_the_scale_runs_from_surrogates_to_halves() -> None:
    b, far = cloud(100, 0), [cloud(100, 50 + k, shift=2) for k in range(5)]
    near = apart(cloud(100, 1), b, surrogates=far).data
    gone = apart(cloud(100, 2, shift=2), b, surrogates=far).data
    assert float(near["similarity"]) == pytest.approx(1, abs=0.05)
    # The pooled standard deviation changes with what is compared, the floor along with it.
    assert float(gone["similarity"]) == pytest.approx(0, abs=0.15)
    assert float(near["energy_halves"].mean()) == pytest.approx(0, abs=0.05)
    assert near.sizes["surrogate"] == 5


def test_units_of_features_order_of_units_and_sides_do_not_matter() -> None:
    a, b = cloud(30, 0), cloud(40, 1, shift=0.5)
    before = apart(a, b).data
    scaled = [side.copy(data={"value": side["value"].values * [[1e-6], [1e6], [1]]}) for side in (a, b)]
    after = apart(*scaled).data
    for name in ("wasserstein", "energy", "energy_p", "energy_null", "wasserstein_p"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9)
    turned = apart(a.isel(unit=slice(None, None, -1)), b).data
    np.testing.assert_allclose(turned["energy"], before["energy"])
    swapped = apart(b, a).data
    np.testing.assert_allclose(swapped["energy"], before["energy"])
    np.testing.assert_allclose(swapped["median_difference"], -before["median_difference"])
    same = apart(a, a).data
    np.testing.assert_allclose(same["wasserstein"], 0, atol=1e-12)
    assert (same["wasserstein_p"] == 1).all()


def test_missing_features_leave_units_out_and_say_so() -> None:
    a, b = cloud(20, 0), cloud(20, 1)
    a["value"].values[1, :5] = np.nan
    result = apart(a, b)
    assert "5 x unit without some joint feature, left out of the joint distance" in result.status
    assert float(result.data["energy"]) == pytest.approx(
        float(apart(a.isel(unit=slice(5, 20)), b).data["energy"]), abs=0.05
    )
    a["value"].values[1] = np.nan
    gone = apart(a, b, joint=["x", "z"]).data
    assert np.isnan(gone["wasserstein"][1])
    assert np.isnan(gone["wasserstein_q"][1])
    constant = cloud(20, 0).map(np.ones_like)
    assert float(apart(constant, constant.copy()).data["energy"]) == 0.0
    assert FeatureDistance.from_dataset(result.to_dataset()).settings["joint"] == list(NAMES)


def test_bad_input_is_named() -> None:
    a, b = cloud(20, 0), cloud(20, 1)
    with pytest.raises(RatesError, match=r"joint must name features from x, y, z, but got \['w'\]"):
        apart(a, b, joint=["w"])
    with pytest.raises(RatesError, match="features must be the same on both sides"):
        apart(a, b.assign_coords(feature=["x", "y", "w"]))
    with pytest.raises(
        RatesError, match="features must all be defined for at least 4 units of either side, but got 3"
    ):
        apart(a.isel(unit=slice(3)), b)
