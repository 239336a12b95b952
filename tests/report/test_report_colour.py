"""Colours: known values of CIELAB, directions all readers can tell apart, looks that differ in markers too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps

from dynaprobe.report.colour import (
    COLOUR_BLINDNESS,
    RECORDING,
    activation_looks,
    as_seen_with,
    direction_colours,
    lab_of_rgb,
    rgb_of_lab,
)
from dynaprobe.report.style import looks_of

ROUND_OFF = 1e-6
# Published values of the sRGB primaries are given to two decimals, for a white that differs in the fifth.
TABLE = 0.02
# A difference of 2.3 is just noticeable side by side; thin lines far apart need several times that.
APART = 20.0


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb, lab):
    np.testing.assert_allclose(lab_of_rgb(np.array(rgb, float)), lab, atol=TABLE)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_lab_and_back(rgb):
    np.testing.assert_allclose(rgb_of_lab(lab_of_rgb(np.array(rgb))), rgb, atol=1e-4)  # matrices have seven digits


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_grey_looks_grey_to_everyone(kind):
    greys = np.repeat(np.linspace(0, 1, 5)[:, None], 3, axis=1)
    np.testing.assert_allclose(as_seen_with(kind, greys), greys, atol=1e-5)  # matrices have six digits


@pytest.mark.parametrize("kind", [None, *COLOUR_BLINDNESS])
@pytest.mark.parametrize("n_directions", [4, 6, 8])
def test_every_reader_can_tell_all_directions_apart(kind, n_directions):
    rgb = direction_colours(np.arange(n_directions) * 360 / n_directions)
    lab = lab_of_rgb(rgb if kind is None else as_seen_with(kind, rgb))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[np.triu_indices(n_directions, 1)].min() > APART


def test_a_rainbow_would_fail_that_test():
    rgb = colormaps["hsv"](np.arange(8) / 8)[:, :3]
    lab = lab_of_rgb(as_seen_with("deuteranopia", rgb))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[np.triu_indices(8, 1)].min() < APART


def test_directions_are_a_circle_inside_srgb_and_readable_on_white():
    deg = np.arange(0, 360, 5.0)
    rgb = direction_colours(deg)
    np.testing.assert_allclose(direction_colours(deg + 360), rgb, atol=ROUND_OFF)
    assert 0 < rgb.min() < rgb.max() < 1
    assert lab_of_rgb(rgb)[:, 0].max() < 80


def test_looks_differ_in_marker_and_colour():
    looks = activation_looks(["tanh", "relu", "softplus", "rectified_tanh", "sigmoid", "new", "newer"])
    everyone = [*looks.values(), RECORDING]
    assert len({look.marker for look in everyone}) == len(everyone)
    assert len({look.colour for look in everyone}) == len(everyone)


def test_two_networks_of_one_activation_differ_in_dashes():
    looks = looks_of({"recording": None, "a": "tanh", "b": "tanh"})
    assert looks["recording"] == RECORDING
    assert looks["a"].colour == looks["b"].colour
    assert looks["a"].dashes != looks["b"].dashes
