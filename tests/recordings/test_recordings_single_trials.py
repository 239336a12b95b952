"""Single trials carry the labels that analyses ask for, and average to the PSTHs."""

import numpy as np
import pytest
from recording_samples import make_session

from dynaprobe.analysis.trial_blocks import trial_table
from dynaprobe.core.errors import DataError
from dynaprobe.core.rates import steps_done
from dynaprobe.recordings.binning import PsthSettings, Segment, binned
from dynaprobe.recordings.psth import average
from dynaprobe.recordings.session import Recording
from dynaprobe.recordings.single_trials import trial_rates

SEGMENTS = [Segment("target_on", -100, 400), Segment("move_onset", -100, 200)]


def recording() -> Recording:
    source = np.random.default_rng(0)
    sessions = []
    for name, n_units in (("a", 2), ("b", 3)):
        spikes = [np.sort(source.uniform(0, 48, 900)) for _ in range(n_units)]
        directions = [0.0, 90.0, 180.0] * 4
        events = {"target_on": [0.5] * 12, "move_onset": [1.5] * 12}
        sessions.append(make_session(spikes, direction_deg=directions, identifier=name, **events))
    return Recording(tuple(sessions))


def test_trials_average_to_the_psths_with_the_same_units() -> None:
    rates = binned(recording(), SEGMENTS, settings=PsthSettings(min_trials=2))
    for event in ("target_on", "move_onset"):
        whole = average(rates)[event]
        blocks = trial_rates(rates, event)
        assert [block.sizes["unit"] for block in blocks] == [2, 3]
        assert np.concatenate([b["unit"].values for b in blocks]).tolist() == whole.mean["unit"].values.tolist()
        means = [
            np.stack([b.values[b["direction_deg"].values == d].mean(axis=0) for d in (0.0, 90.0, 180.0)])
            for b in blocks
        ]
        np.testing.assert_allclose(np.concatenate(means, axis=2), whole.mean.values)
        np.testing.assert_array_equal(blocks[0]["time"], whole.mean["time"])
        assert steps_done(blocks[0])[0] == "spikes binned at 10 ms"


def test_blocks_are_what_analyses_take() -> None:
    rates = binned(recording(), SEGMENTS, settings=PsthSettings(min_trials=2))
    table = trial_table(trial_rates(rates, "move_onset"))
    assert table.direction_deg is not None
    np.testing.assert_array_equal(table.direction_deg, [0, 90, 180])
    assert set(table.coords) == {"unit", "session", "subject"}
    assert table.blocks[1].n_trials.tolist() == [4, 4, 4]


def test_an_event_that_was_not_binned_is_named() -> None:
    rates = binned(recording(), SEGMENTS, settings=PsthSettings(min_trials=2))
    with pytest.raises(
        DataError, match="event must be one of the binned segments, target_on, move_onset, but got go"
    ):
        trial_rates(rates, "go_cue")
