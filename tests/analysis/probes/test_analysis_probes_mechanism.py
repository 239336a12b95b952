"""The verdict from both causal probes: on networks written down, and on probes that contradict each other."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hand_networks import ROUND_OFF, by_hand, reach_trials, silent
from numpy.testing import assert_allclose

from dynaprobe.analysis.probes.causal import InputRemoval, StateSwap, input_removal, state_swap
from dynaprobe.analysis.probes.mechanism import MechanismVerdict, mechanism_verdict

TRIALS = reach_trials()


def verdict_of(remaining: tuple[float, float, float], index: tuple[float, float, float], swap: str = "mixed"):
    """The verdict on probes that found these numbers, each with its bounds."""
    ends = ("", "_low", "_high")
    removal = xr.Dataset({f"remaining{end}": value for end, value in zip(ends, remaining, strict=True)})
    swapped = xr.Dataset({f"mechanism_index{end}": value for end, value in zip(ends, index, strict=True)})
    return mechanism_verdict(InputRemoval(removal), StateSwap(swapped.assign_attrs(mechanism=swap)))


@pytest.mark.parametrize(
    ("part", "mechanism"), [(1.0, "initial_condition"), (0.5, "mixed"), (0.0, "input_driven")]
)
def test_networks_written_down_are_found_out(part, mechanism):
    network = by_hand(part)
    found = mechanism_verdict(input_removal(network, TRIALS), state_swap(network, TRIALS))
    assert found.mechanism == mechanism
    for name in ("suffices", "decides", "mechanism_index"):
        assert_allclose(float(found.data[name]), part, atol=ROUND_OFF)


def test_a_silent_network_has_no_mechanism():
    found = mechanism_verdict(input_removal(silent(), TRIALS), state_swap(silent(), TRIALS))
    assert found.mechanism == "unclear"
    assert found.status == "1 x network whose end points follow neither state nor input"


@pytest.mark.parametrize(
    ("remaining", "index", "mechanism"),
    [
        # The state would be enough, but a target in sight overrules it.
        ((0.9, 0.85, 0.95), (0.05, 0.0, 0.1), "mixed"),
        # Not the other way round either: what decides while the target is seen need not last without.
        ((0.1, 0.0, 0.2), (0.95, 0.9, 1.0), "mixed"),
        ((0.9, 0.8, 1.0), (0.8, 0.7, 0.9), "initial_condition"),
        ((0.9, 0.6, 1.0), (0.8, 0.7, 0.9), "mixed"),  # the interval reaches below 2/3
        ((0.2, 0.0, 0.5), (0.0, 0.0, 0.1), "input_driven"),
        ((0.2, 0.0, 0.6), (0.0, 0.0, 0.1), "mixed"),  # the interval reaches above 1/3
        ((np.nan, np.nan, np.nan), (0.0, 0.0, 0.1), "unclear"),
    ],
)
def test_the_interval_of_the_mean_decides(remaining, index, mechanism):
    assert verdict_of(remaining, index).mechanism == mechanism


def test_what_remains_beyond_the_whole_reach_counts_as_the_whole():
    found = verdict_of((1.3, 1.1, 1.6), (0.5, 0.4, 0.6)).data
    assert_allclose([float(found[f"mechanism_index{end}"]) for end in ("", "_low", "_high")], [0.75, 0.7, 0.8])
    assert float(verdict_of((-0.2, -0.5, 0.0), (0.0, 0.0, 0.0)).data["suffices"]) == 0


def test_an_unclear_swap_leaves_no_verdict():
    assert verdict_of((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), swap="unclear").mechanism == "unclear"


def test_the_record_can_be_stored():
    found = verdict_of((0.9, 0.8, 1.0), (0.8, 0.7, 0.9))
    assert MechanismVerdict.from_dataset(found.to_dataset()).mechanism == "initial_condition"
