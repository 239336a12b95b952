"""What a task asks for: inputs, targets, where they count, and which condition each trial is."""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

from dynaprobe.core.timeline import Timeline


@dataclass(frozen=True)
class ConditionTable:
    """The conditions of a task: one row per condition, one column per task variable.

    Frozen and hashable, so that it can ride along with traced arrays.

    Attributes:
        columns: names of the task variables, with units, e.g. ``("direction_deg", "radius")``.
        rows: value of every variable in every condition.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[float | int | str, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """One readable name per condition, e.g. ``direction_deg=45``."""
        return tuple(
            ", ".join(
                f"{name}={value:g}" if isinstance(value, int | float) else f"{name}={value}"
                for name, value in zip(self.columns, row, strict=True)
            )
            for row in self.rows
        )

    def frame(self) -> pd.DataFrame:
        """The table as a data frame, indexed by condition."""
        return pd.DataFrame(list(self.rows), columns=list(self.columns)).rename_axis("condition")


class Trials(eqx.Module):
    """A batch of trials, ready for a network.

    Attributes:
        inputs: what the network sees.
        targets: what it should do.
        mask: weight of every target in the loss; 0 where nothing is asked and in the padding.
        condition: row of `conditions` for every trial, -1 for catch trials.
        events_ms: time of every event from the start of the trial, NaN where a trial lacks it.
        timeline: bin width, number of bins, epochs.
        conditions: what the numbers in `condition` mean.
        input_names, output_names: names of the channels.
    """

    inputs: Float[Array, "trial time input"]
    targets: Float[Array, "trial time output"]
    mask: Float[Array, "trial time output"]
    condition: Int[Array, " trial"]
    events_ms: dict[str, Float[Array, " trial"]]
    timeline: Timeline = eqx.field(static=True)
    conditions: ConditionTable = eqx.field(static=True)
    input_names: tuple[str, ...] = eqx.field(static=True)
    output_names: tuple[str, ...] = eqx.field(static=True)

    @property
    def n_trials(self) -> int:
        """Number of trials in the batch."""
        return int(self.condition.shape[0])

    def epoch_mask(self, name: str) -> Bool[Array, "trial time"]:
        """Which bins of each trial lie in the epoch called `name`; see `Timeline.epoch_mask`."""
        mask: Bool[Array, "trial time"] = self.timeline.epoch_mask(name, self.events_ms)
        return mask
