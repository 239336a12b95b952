from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dynaprobe.core.timeline import Epoch, Timeline
from dynaprobe.core.trials import ConditionTable, Trials

TABLE = ConditionTable(("direction_deg", "context"), ((0.0, "pro"), (45.0, "anti")))


def make(**changes: object) -> Trials:
    parts: dict[str, object] = {
        "inputs": jnp.zeros((2, 5, 3)),
        "targets": jnp.zeros((2, 5, 1)),
        "mask": jnp.ones((2, 5, 1)),
        "condition": jnp.array([0, -1]),
        "events_ms": {"go_cue": jnp.array([20.0, jnp.nan]), "trial_end": jnp.array([40.0, 50.0])},
        "timeline": Timeline(10.0, 5, (Epoch("movement", "go_cue", "trial_end"),)),
        "conditions": TABLE,
        "input_names": ("x", "y", "hold"),
        "output_names": ("z",),
    }
    return Trials(**{**parts, **changes})  # type: ignore[arg-type]


def test_a_condition_has_a_readable_name() -> None:
    assert TABLE.labels == ("direction_deg=0, context=pro", "direction_deg=45, context=anti")
    assert len(TABLE) == 2


def test_the_table_as_a_frame() -> None:
    frame = TABLE.frame()
    assert list(frame.columns) == ["direction_deg", "context"]
    assert frame.index.name == "condition"
    assert frame.loc[1].tolist() == [45.0, "anti"]


def test_a_table_can_ride_with_traced_arrays() -> None:
    assert hash(TABLE) == hash(ConditionTable(TABLE.columns, TABLE.rows))
    with pytest.raises(AttributeError):
        TABLE.columns = ()  # type: ignore[misc]


def test_a_row_too_short_is_noticed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        _ = ConditionTable(("a", "b"), ((1.0,),)).labels


def test_trials_know_their_number_and_epochs() -> None:
    trials = make()
    assert trials.n_trials == 2
    np.testing.assert_array_equal(trials.epoch_mask("movement"), [[0, 0, 1, 1, 0], [0, 0, 0, 0, 0]])


@pytest.mark.parametrize("name", ["targets", "mask", "inputs"])
def test_shapes_that_do_not_fit_together_are_refused_in_tests(name: str) -> None:
    with pytest.raises(TypeError, match="trial time"):
        make(**{name: jnp.zeros((2, 4, 1))})
