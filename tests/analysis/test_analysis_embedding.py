"""Maps of distances: points come back, what is no map says so, and the order of the items changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist, squareform

from dynaprobe.analysis.embedding import Embedding, classical_scaling
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-9


def matrix(values: np.ndarray, names: list[str] | None = None) -> xr.DataArray:
    names = names or [f"item {k}" for k in range(len(values))]
    return xr.DataArray(values, dims=("item", "other"), coords={"item": names, "other": names})


def distances_of(points: np.ndarray, names: list[str] | None = None) -> xr.DataArray:
    return matrix(squareform(pdist(points)), names)


def test_points_on_a_plane_come_back_up_to_rotation():
    points = np.random.default_rng(0).normal(size=(7, 2))
    found = classical_scaling(distances_of(points))
    np.testing.assert_allclose(pdist(found.data["position"].values), pdist(points), atol=ROUND_OFF)
    assert float(found.data["stress"]) == pytest.approx(0, abs=1e-7)
    assert float(found.data["explained"]) == pytest.approx(1)
    assert found.failures == {}


def test_positions_are_the_principal_components_of_the_points():
    """Second route: classical scaling of Euclidean distances is PCA (Gower 1966)."""
    points = np.random.default_rng(1).normal(size=(9, 5)) * [4, 3, 2, 1, 0.5]
    centred = points - points.mean(axis=0)
    scores, singular, _ = np.linalg.svd(centred, full_matrices=False)
    found = classical_scaling(distances_of(points))
    np.testing.assert_allclose(
        np.abs(found.data["position"].values), np.abs(scores[:, :2] * singular[:2]), atol=1e-8
    )
    np.testing.assert_allclose(found.data["eigenvalue"].values[:5], singular**2, rtol=1e-9)
    assert float(found.data["explained"]) == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum())


def test_the_sign_of_every_axis_is_fixed():
    position = classical_scaling(distances_of(np.random.default_rng(2).normal(size=(6, 3)))).data["position"]
    for axis in position.values.T:
        assert axis[np.abs(axis).argmax()] > 0


@given(st.permutations(range(6)), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_items_changes_nothing(order, seed):
    rng = np.random.default_rng(seed)
    values = squareform(rng.uniform(0.2, 1.0, 15))
    names = list("fbdace")
    plain = classical_scaling(matrix(values, names))
    turned = classical_scaling(matrix(values[np.ix_(order, order)], [names[k] for k in order]))
    xr.testing.assert_allclose(turned.data["position"].sel(item=names), plain.data["position"], atol=ROUND_OFF)
    in_order = [[str(one.data["item"].values[k]) for k in one.data["order"].values] for one in (plain, turned)]
    assert in_order[0] == in_order[1]


def test_distances_that_belong_to_no_map_say_so():
    """A point nearer to three others than the triangle inequality allows."""
    values = np.array([[0, 2, 2, 0.5], [2, 0, 2, 0.5], [2, 2, 0, 0.5], [0.5, 0.5, 0.5, 0]])
    found = classical_scaling(matrix(values))
    assert (found.data["eigenvalue"].values < -0.01).any()
    assert "negative eigenvalue" in found.status
    assert float(found.data["stress"]) > 0.1
    assert float(found.data["explained"]) < 1


def test_equidistant_items_have_no_plane():
    """Four points of a tetrahedron: the plane holds two of three equal eigenvalues."""
    found = classical_scaling(matrix(1.0 - np.eye(4)))
    assert float(found.data["explained"]) == pytest.approx(2 / 3)


def test_clusters_stand_together():
    points = np.concatenate([np.zeros((3, 2)), np.full((3, 2), 9.0), np.full((2, 2), -20.0)])
    points += np.random.default_rng(3).normal(size=points.shape) * 0.1
    shuffled = np.random.default_rng(4).permutation(8)
    found = classical_scaling(distances_of(points[shuffled]))
    cluster = np.array([0, 0, 0, 1, 1, 1, 2, 2])[shuffled][found.data["order"].values]
    assert (np.diff(cluster) != 0).sum() == 2
    # The leaves are those of average linkage: merging heights are the cophenetic distances.
    heights = squareform(cophenet(linkage(pdist(points[shuffled]), "average")))
    order = found.data["order"].values
    assert heights[order[0], order[-1]] == pytest.approx(heights.max())


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_items_have_a_map(n):
    found = classical_scaling(matrix(np.array([[0.0, 3.0], [3.0, 0.0]])[:n, :n]))
    assert found.data["position"].shape == (n, 2)
    apart = np.linalg.norm(found.data["position"].values[0] - found.data["position"].values[-1])
    assert apart == pytest.approx(3.0 if n == 2 else 0.0)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_changes_positions_and_nothing_else(scale):
    points = np.random.default_rng(5).normal(size=(5, 3))
    plain, scaled = classical_scaling(distances_of(points)), classical_scaling(distances_of(points * scale))
    np.testing.assert_allclose(scaled.data["position"] / scale, plain.data["position"], rtol=1e-6, atol=1e-9)
    assert float(scaled.data["stress"]) == pytest.approx(float(plain.data["stress"]))


def test_items_at_one_point_are_at_no_distance():
    found = classical_scaling(matrix(np.zeros((3, 3))))
    assert (found.data["position"].values == 0).all()
    assert float(found.data["stress"]) == 0.0


def test_a_record_comes_back_from_its_dataset():
    found = classical_scaling(distances_of(np.random.default_rng(6).normal(size=(4, 2))))
    again = Embedding.from_dataset(found.to_dataset())
    xr.testing.assert_identical(again.data, found.data)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array([[0, 1.0], [2.0, 0]]), "must be symmetric, but got a difference of 1"),
        (np.array([[0, -1.0], [-1.0, 0]]), "nowhere negative, but got a smallest value of -1"),
        (np.array([[1.0, 1.0], [1.0, 1.0]]), "must be 0 on the diagonal"),
        (np.array([[0, np.nan], [np.nan, 0]]), "must be finite, but got 2 values that are not"),
    ],
)
def test_what_is_no_matrix_of_distances_is_refused(values, sentence):
    with pytest.raises(RatesError, match=sentence):
        classical_scaling(matrix(values))


def test_wrong_dims_and_no_axes_are_refused():
    with pytest.raises(RatesError, match=r"must have the dims \(item, other\)"):
        classical_scaling(xr.DataArray(np.zeros((2, 3)), dims=("item", "other"), coords={"item": ["a", "b"]}))
    with pytest.raises(SettingsError, match="n_axes must be at least 1, but got 0"):
        classical_scaling(matrix(np.zeros((2, 2))), n_axes=0)
