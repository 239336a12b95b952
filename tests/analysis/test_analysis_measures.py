"""What holds for every measure in the table: a contract that a new row inherits."""

from __future__ import annotations

import numpy as np
import pytest
from similarity_samples import latents, noise, population, rates_of, turned

from dynaprobe.analysis.measures import MEASURES, measure_named
from dynaprobe.core.errors import DynaprobeError, RatesError, SettingsError

ROUND_OFF = 1e-6
every = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


@pytest.fixture(scope="module")
def alike():
    return population(latents(), 9, seed=1), population(latents(), 7, seed=5)


@every
def test_the_same_population_is_as_like_as_can_be(measure, alike):
    a, b = alike
    best, other = measure.score(a, a), measure.score(a, b)
    assert measure.sign * best > measure.sign * other
    # Angles near 0 come from cosines near 1 and keep half their digits.
    wanted = 0.0 if measure.kind == "distance" else 1.0
    assert best == pytest.approx(wanted, abs=1e-6 if measure.kind == "distance" else 0.05)


@every
def test_the_name_says_whether_it_is_a_distance(measure):
    assert ("distance" in measure.name) == (measure.kind == "distance")
    assert "(" in measure.title  # the range


@every
def test_a_shared_origin_is_more_like_than_an_unrelated_one(measure, alike):
    a, b = alike
    unrelated = population(latents(seed=9), 7, seed=5)
    assert measure.sign * measure.score(a, b) > measure.sign * measure.score(a, unrelated)


@every
def test_rotation_gain_and_shift_of_one_side_change_nothing(measure, alike):
    a, b = alike
    found = measure.score(turned(a, seed=3, gain=2.5, shift=-4.0), b)
    assert found == pytest.approx(measure.score(a, b), abs=ROUND_OFF)


@every
def test_swapping_the_sides_changes_nothing_where_the_table_says_so(measure, alike):
    forth, back = measure.score(*alike), measure.score(*alike[::-1])
    assert (abs(forth - back) < ROUND_OFF) == measure.is_symmetric


@every
def test_the_order_of_conditions_and_units_does_not_matter(measure, alike):
    a, b = alike
    order = np.random.default_rng(0).permutation(a.sizes["condition"])
    units = np.random.default_rng(1).permutation(a.sizes["unit"])
    found = measure.score(a.isel(condition=order, unit=units), b.isel(condition=order))
    assert found == pytest.approx(measure.score(a, b), abs=ROUND_OFF)


@every
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_tiny_and_huge_rates_change_nothing(measure, alike, scale):
    a, b = alike
    assert measure.score(a * scale, b / scale) == pytest.approx(measure.score(a, b), abs=ROUND_OFF)


@every
def test_hard_data_give_a_number_or_a_sentence(measure):
    """One unit, a constant unit, fewer units than PCs, three conditions: a finite score or an error of ours."""
    base = population(latents(), 5, seed=1)
    constant = base.copy()
    constant[..., 0] = 7.0
    few = rates_of(noise(3, 10, 4, seed=1)), rates_of(noise(3, 10, 4, seed=2))
    for a, b in ((base.isel(unit=[0]), base), (constant, base), few):
        assert np.isfinite(measure.score(a.astype(np.float32), b))
    flat = base.copy(data=np.full(base.shape, 3.0))
    two = base.isel(condition=slice(2)), base.isel(condition=slice(2))
    broken = base.copy()
    broken[0, 0, 0] = np.nan
    for a, b in (two, (broken, base), (base, broken)):
        with pytest.raises(DynaprobeError, match=r"must (be finite|be at least 3)"):
            measure.score(a, b)
    try:
        assert np.nan_to_num(measure.score(flat, base)) == 0.0  # nothing predicted, or not defined
    except RatesError as error:
        assert "must vary over conditions" in str(error)  # noqa: PT017


@every
def test_sides_that_do_not_match_are_refused(measure, alike):
    with pytest.raises(RatesError, match=r"b must have as many values along condition as a"):
        measure.score(alike[0], alike[1].isel(condition=slice(4)))


def test_names_are_unique_and_found():
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    assert all(measure_named(measure.name) is measure for measure in MEASURES)
    with pytest.raises(SettingsError, match=r"measure must be one of cca, .*, but got cosine"):
        measure_named("cosine")
