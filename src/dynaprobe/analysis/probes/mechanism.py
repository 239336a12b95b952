"""One verdict from both causal probes: does the state suffice, and does it decide?

The two ask different things, and a network may answer them differently. Taking the target away at the go cue asks
whether the state is enough to reach by; a swap asks which of state and input wins when they contradict each other.
The mechanism proposed for motor cortex, preparatory activity as the initial state of dynamics that then run by
themselves, says yes to both; a network that is driven by its input says no to both. One whose state would be
enough but which follows the target where it sees another one is neither, and is called mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynaprobe.analysis.probes.causal import (
    INITIAL_CONDITION_ABOVE,
    INPUT_DRIVEN_BELOW,
    InputRemoval,
    Mechanism,
    StateSwap,
)
from dynaprobe.analysis.result import Result

ENDS = ("", "_low", "_high")


@dataclass(frozen=True)
class MechanismVerdict(Result):
    """By which mechanism a network reaches, from both causal probes.

    Variables of `data`, each with ``_low`` and ``_high``:
        suffices: ``remaining`` of the removal, cut to [0, 1]: 1 where the state is enough to reach by.
        decides: ``mechanism_index`` of the swap: 1 where the state wins against the input.
        mechanism_index: their mean. Its bounds are the means of theirs, which is at least as wide as the interval
            of the mean would be.
    The attribute ``mechanism`` of `data` is the verdict: ``initial_condition`` when the whole interval of the
    index lies above 2/3, so that neither probe says less than 1/3; ``input_driven`` when it lies below 1/3, so
    that neither says more than 2/3; ``unclear`` when the swap is unclear or the removal undefined; else ``mixed``.
    """

    @property
    def mechanism(self) -> str:
        """The verdict."""
        return str(self.data.attrs["mechanism"])


def mechanism_verdict(removal: InputRemoval, swap: StateSwap) -> MechanismVerdict:
    """Join the two probes; see `MechanismVerdict`.

    Args:
        removal: the target taken away at the go cue.
        swap: state of one condition and input of another. Both on trials of the task the network was trained on,
            those that show the target longest: an input that it never met may break its movement and say nothing
            of how it moves. Where the task hides the target from the go cue on, both probes find the state, as
            they must.
    """
    suffices = [float(np.clip(float(removal.data[f"remaining{end}"]), 0, 1)) for end in ENDS]
    decides = [float(swap.data[f"mechanism_index{end}"]) for end in ENDS]
    index = [(one + other) / 2 for one, other in zip(suffices, decides, strict=True)]
    data = xr.Dataset(
        {
            f"{name}{end}": value
            for name, values in (("suffices", suffices), ("decides", decides), ("mechanism_index", index))
            for end, value in zip(ENDS, values, strict=True)
        }
    )
    verdict: Mechanism = "mixed"
    if str(swap.data.attrs["mechanism"]) == "unclear" or not np.isfinite(index).all():
        verdict = "unclear"
    elif index[1] > INITIAL_CONDITION_ABOVE:
        verdict = "initial_condition"
    elif index[2] < INPUT_DRIVEN_BELOW:
        verdict = "input_driven"
    failures = {"network whose end points follow neither state nor input": 1} if verdict == "unclear" else {}
    return MechanismVerdict(data.assign_attrs(mechanism=verdict), {}, failures)
