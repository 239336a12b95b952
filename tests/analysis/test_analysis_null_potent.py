"""Output-null and output-potent tuning: planted dimensions, regression, loops, error rate, invariances,
messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from population_samples import as_rates, smooth_values, spread_evenly
from scipy.linalg import subspace_angles
from scipy.stats import binom, ortho_group

from dynaprobe.analysis.null_potent import NullPotentResult, null_potent
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-9
E = ortho_group.rvs(8, random_state=0)
READOUT = np.array([[2.0, 1.0], [0.0, 1.0]]) @ E[:2]  # potent: the first two dimensions


def weighted(weights, seed=0):
    """Activity with these variances along the rows of E."""
    return as_rates(spread_evenly(np.eye(len(weights)), seed=seed) * np.sqrt(weights) @ E[: len(weights)])


def test_variances_in_planted_dimensions():
    prep, move = weighted([1.0, 2.0, 5.0, 4.0]), weighted([6.0, 2.0, 3.0, 1.0], seed=1)
    data = null_potent(prep, move, readout=READOUT, n_null=0).data
    assert data["n_dims"].values.tolist() == [6, 2]
    assert_allclose(data["tuning"], [[9, 3], [4, 8]], atol=ROUND_OFF)
    assert_allclose(data["share"], [[0.75, 0.25], [1 / 3, 2 / 3]], atol=ROUND_OFF)
    assert_allclose(data["potent_fraction"], [0.25, 2 / 3], atol=ROUND_OFF)
    assert float(data["ratio"]) == pytest.approx((9 / 3) / (4 / 8))
    assert subspace_angles(data["potent_axes"].values.T, E[:2].T).max() < 1e-6
    assert_allclose(data["null_axes"].values @ READOUT.T, 0, atol=ROUND_OFF)
    assert "p_value" not in data
    assert np.isnan(data["r2"])


def test_preparation_that_drives_nothing_has_no_finite_ratio():
    data = null_potent(weighted([0.0, 0, 1, 1]), weighted([1.0, 1, 1, 1]), readout=READOUT, n_null=50).data
    assert float(data["potent_fraction"][0]) < 1e-20
    assert float(data["ratio"]) > 1e20
    assert float(data["p_value"]) == pytest.approx(1 / 51)


def test_the_readout_is_found_by_regression():
    prep, move = weighted([1.0, 2, 5, 4]), weighted([6.0, 2, 3, 1], seed=1)
    output = move.values @ READOUT.T + 3.0
    data = null_potent(prep, move, output=output, n_pcs=4, n_outputs=2, n_null=0).data
    assert float(data["r2"]) == pytest.approx(1.0)
    assert subspace_angles(data["potent_axes"].values.T, E[:2].T).max() < 1e-6
    known = null_potent(prep, move, readout=READOUT, n_null=0).data
    assert_allclose(data["tuning"], known["tuning"], atol=1e-8)
    # A third output that follows from the others adds nothing, and fewer outputs are fewer potent dimensions.
    third = np.concatenate([output, output.sum(axis=-1, keepdims=True)], axis=-1)
    more = null_potent(prep, move, output=third, n_pcs=4, n_null=0).data
    assert_allclose(more["tuning"], data["tuning"], atol=1e-8)
    assert null_potent(prep, move, output=third, n_outputs=1, n_null=0).data["n_dims"][1] == 1


def test_an_output_that_is_not_linear_in_the_rates_is_explained_in_part():
    prep, move = weighted([1.0] * 8), weighted([1.0] * 8, seed=1)
    noise = np.random.default_rng(0).standard_normal((6, 20, 1))
    signal = (move.values @ E[0])[..., None]
    output = signal / signal.std() + noise / noise.std()
    found = null_potent(prep, move, output=output, n_pcs=8, n_null=0).data
    assert float(found["r2"]) == pytest.approx(0.5, abs=0.1)  # SAMPLING: 120 samples, 8 regressors


def test_tuning_by_loops():
    prep, move = (as_rates(smooth_values(seed) + 3) for seed in (0, 1))
    W = np.random.default_rng(2).standard_normal((3, 12))
    data = null_potent(prep, move, readout=W, n_null=0).data
    for row, rates in enumerate((prep, move)):
        for column, axes in enumerate((data["null_axes"].values, data["potent_axes"].values)):
            held = np.mean([(rates.values[:, t] @ axes.T).var(axis=0).sum() for t in range(20)])
            assert float(data["tuning"][row, column]) == pytest.approx(held)
    assert_allclose(data["share"].sum("dimension"), 1.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-4, 1e4))
def test_rotation_and_scale_do_not_matter(seed, scale):
    prep, move = smooth_values(seed, n_units=6), smooth_values(seed + 1, n_units=6)
    W = np.random.default_rng(seed).standard_normal((2, 6))
    turn = ortho_group.rvs(6, random_state=seed)
    plain = null_potent(as_rates(prep), as_rates(move), readout=W, n_null=0).data
    turned = null_potent(
        as_rates(scale * prep @ turn + 1), as_rates(scale * move @ turn), readout=7 * W @ turn, n_null=0
    ).data
    assert float(turned["ratio"]) == pytest.approx(float(plain["ratio"]), rel=1e-6)
    output = move @ W.T
    by_output = [
        null_potent(as_rates(p), as_rates(m), output=output, n_pcs=4, n_null=0).data
        for p, m in ((prep, move), (scale * prep @ turn, scale * move @ turn))
    ]
    assert_allclose(by_output[1]["share"], by_output[0]["share"], rtol=1e-5)


def test_error_rate_of_the_null():
    # Readouts drawn by the law of chance itself.
    prep, move = weighted([3.0, 1, 4, 1, 5]), weighted([2.0, 7, 1, 8, 2], seed=1)
    tuned = (move.values - move.values.mean(axis=0)).reshape(-1, 8)
    source = np.random.default_rng(4)
    n_sets, level = 200, 0.1
    rejected = 0
    for _ in range(n_sets):
        readout = source.standard_normal((2, len(tuned))) @ tuned
        rejected += float(null_potent(prep, move, readout=readout, n_null=39).data["p_value"]) <= level
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)  # fails once in 10,000
    assert low <= rejected <= high


def test_same_seed_same_chance_and_round_trip():
    prep, move = (as_rates(smooth_values(seed)) for seed in (0, 1))
    first, again, other = (null_potent(prep, move, readout=np.eye(2, 12), n_null=30, seed=s) for s in (0, 0, 1))
    assert first.data.identical(again.data)
    assert not np.allclose(first.data["null_ratio"], other.data["null_ratio"])
    above = int((first.data["null_ratio"] >= first.data["ratio"]).sum())
    assert float(first.data["p_value"]) == (1 + above) / 31
    assert NullPotentResult.from_dataset(first.to_dataset()).data.identical(first.data)


PREP, MOVE = (as_rates(smooth_values(seed)) for seed in (0, 1))
OUTPUT = MOVE.values[..., :3]


@pytest.mark.parametrize(
    ("prep", "move", "options", "sentence"),
    [
        (PREP, MOVE, {}, "readout or output must be given, one of them, but got neither"),
        (PREP, MOVE, {"readout": np.eye(2, 12), "output": OUTPUT}, "but got both"),
        (PREP, MOVE, {"readout": np.eye(2, 11)}, r"readout must be weights .* got shape \(2, 11\)"),
        (PREP, MOVE, {"readout": np.zeros((2, 12))}, "finite and not all zero"),
        (PREP, MOVE, {"readout": np.eye(12)}, "have between 1 and 11 independent rows"),
        (PREP, MOVE, {"output": OUTPUT[:, :5]}, r"output must be finite, of shape \(condition, time, output\)"),
        (PREP, MOVE, {"output": OUTPUT * np.nan}, "output must be finite"),
        (PREP, MOVE, {"output": np.ones((6, 20, 2))}, "output must vary"),
        (PREP, MOVE, {"output": OUTPUT, "n_pcs": 3}, "have between 1 and 2 independent rows, .* but got 3"),
        (
            PREP,
            as_rates(smooth_values(1)[:4]),
            {"readout": np.eye(2, 12)},
            "the same conditions in the same order",
        ),
        (PREP[:1], MOVE[:1], {"readout": np.eye(2, 12)}, "prep.condition must have at least 2 entries"),
        (as_rates(np.ones((6, 5, 12))), MOVE, {"readout": np.eye(2, 12)}, "prep must vary over conditions"),
    ],
)
def test_messages(prep, move, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        null_potent(prep, move, **options)


def test_counts_are_checked():
    with pytest.raises(SettingsError, match="n_null must be at least 0"):
        null_potent(PREP, MOVE, readout=np.eye(2, 12), n_null=-1)
