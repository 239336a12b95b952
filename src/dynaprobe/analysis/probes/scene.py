"""Trials as a probe needs them: which channels show the target, when the go cue comes, where a movement ends."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import Field

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.settings import Settings
from dynaprobe.core.timeline import bin_of, in_interval, n_bins
from dynaprobe.core.trials import Trials


class ReachReading(Settings):
    """How to read a movement off the channels of a task; the defaults fit the delayed reach.

    The end point is the mean of the `position` channels over the last `end_window_ms` before the event `end`;
    where a task has no position, it is the integral of the `velocity` channels from `go` to `end`, in output x
    seconds. What is asked for is read off the targets in the same way.

    Attributes:
        target_inputs: input channels that show the target.
        position, velocity: output channels, in the order of the axes; either may be empty, not both.
        onset: event with which preparation begins.
        go, end: events between which the movement happens.
        end_window_ms: as above.
    """

    target_inputs: tuple[str, ...] = ("target_x", "target_y")
    position: tuple[str, ...] = ("px", "py")
    velocity: tuple[str, ...] = ("vx", "vy")
    onset: str = "target_on"
    go: str = "go_cue"
    end: str = "movement_end"
    end_window_ms: Annotated[float, Field(gt=0)] = 100.0


REACH = ReachReading()


class Scene(NamedTuple):
    """Trials of equal timing, one per condition, with what a probe reads off them.

    Attributes:
        trials: the trials.
        inputs: what they show, time-major and without the padding, as all arrays here.
        targets, mask: what is asked, and where it counts.
        target_channels: numbers of the input channels that show the target.
        onset: first bin of the preparatory epoch.
        go, end, stop: first bin of the movement, first bin after it, number of bins of the trial.
        groups: numbers of the output channels of position and velocity, by name.
        end_channels: numbers of the output channels that the end point is read from, one per axis.
        end_weights: weight of every bin; the end point is their sum with the outputs.
        goals: end points of the targets.
    """

    trials: Trials
    inputs: Float[np.ndarray, "time condition input"]
    targets: Float[np.ndarray, "condition time output"]
    mask: Float[np.ndarray, "condition time output"]
    target_channels: list[int]
    onset: int
    go: int
    end: int
    stop: int
    groups: dict[str, list[int]]
    end_channels: list[int]
    end_weights: Float[np.ndarray, " time"]
    goals: Float[np.ndarray, "condition axis"]

    @property
    def n_conditions(self) -> int:
        """Number of conditions, each with one trial."""
        return int(self.inputs.shape[1])

    @property
    def dt_ms(self) -> float:
        """Bin width."""
        return self.trials.timeline.dt_ms

    def end_points(self, outputs: Float[np.ndarray, "*batch time output"]) -> Float[np.ndarray, "*batch axis"]:
        """Where movements end."""
        points: np.ndarray = np.einsum("...ta,t->...a", outputs[..., self.end_channels], self.end_weights)
        return points

    def bin_from_go(self, time_ms: float, name: str) -> int:
        """The bin at a time relative to the go cue.

        Raises:
            SettingsError: when it lies outside the trial.
        """
        at = self.go + int(bin_of(time_ms, self.dt_ms))
        if not 0 <= at < self.stop:
            raise SettingsError(
                name,
                rule=f"lie in the trial, {-self.go * self.dt_ms:g} to {(self.stop - self.go) * self.dt_ms:g} ms"
                " from the go cue",
                received=time_ms,
                remedy="Choose another time, or trials with a longer delay",
            )
        return at

    def time_from_go_ms(self) -> Float[np.ndarray, " time"]:
        """Start of every bin of the trial from the go cue."""
        return (np.arange(self.stop) - self.go) * self.dt_ms

    def condition_coords(self, dim: str = "condition") -> dict[str, Any]:
        """The columns of the condition table as coordinates along `dim`."""
        rows = np.asarray(self.trials.condition)
        table = self.trials.conditions
        return {
            name: (dim, np.array([table.rows[row][k] for row in rows])) for k, name in enumerate(table.columns)
        }


def set_scene(trials: Trials, reading: ReachReading = REACH) -> Scene:
    """Check that trials fit a reading, and find what the probes need.

    Args:
        trials: one trial of every condition, all with the same timing: ``task.condition_trials()``.
        reading: what the channels and events are called.

    Raises:
        SettingsError: a channel or an event that the trials do not have.
        DataError: trials of different timing, repeated conditions, no go cue after the first bin.
    """
    condition = np.asarray(trials.condition)
    if len(set(condition.tolist())) != condition.size or condition.min() < 0:
        raise DataError(
            "trials",
            rule="hold one trial of every condition and no catch trial",
            received=f"{condition.size} trials of {len(set(condition.tolist()))} conditions",
            remedy="Use task.condition_trials()",
        )
    timeline = trials.timeline
    onset_ms, go_ms, end_ms = (_common_time(trials, event) for event in (reading.onset, reading.go, reading.end))
    mask = np.asarray(trials.mask).any(axis=(0, 2))
    onset, go = (n_bins(time_ms, timeline.dt_ms) for time_ms in (onset_ms, go_ms))
    end, stop = n_bins(end_ms, timeline.dt_ms), int(np.flatnonzero(mask)[-1]) + 1
    if not 0 < go < end <= stop:
        raise DataError(
            reading.go,
            rule=f"come after the first bin and before {reading.end}, which lies in the trial",
            received=f"{go_ms:g} ms, {reading.end} at {end_ms:g} ms of {stop * timeline.dt_ms:g} ms",
            remedy="Use trials with a baseline and a movement",
        )
    groups = {
        name: _channels(getattr(reading, name), trials.output_names, name) for name in ("velocity", "position")
    }
    groups = {name: numbers for name, numbers in groups.items() if numbers}
    if not groups:
        raise SettingsError(
            "position and velocity", rule="not both be empty", received=(), remedy="Name the output channels"
        )
    is_position = "position" in groups
    start_ms = max(end_ms - reading.end_window_ms, go_ms) if is_position else go_ms
    inside = in_interval(timeline.time_ms, start_ms, end_ms, timeline.dt_ms).astype(np.float64)
    weights = inside / inside.sum() if is_position else inside * timeline.dt_ms / 1000
    targets, counted = (np.asarray(a, dtype=np.float64)[:, :stop] for a in (trials.targets, trials.mask))
    scene = Scene(
        trials=trials,
        inputs=np.swapaxes(np.asarray(trials.inputs), 0, 1)[:stop],
        targets=targets,
        mask=counted,
        target_channels=_channels(reading.target_inputs, trials.input_names, "target_inputs"),
        onset=min(onset, go),
        go=go,
        end=end,
        stop=stop,
        groups=groups,
        end_channels=groups["position" if is_position else "velocity"],
        end_weights=weights[:stop],
        goals=np.zeros((condition.size, 0)),
    )
    return scene._replace(goals=scene.end_points(targets))


def _common_time(trials: Trials, event: str) -> float:
    if event not in trials.events_ms:
        raise SettingsError(
            "event",
            rule=f"be one of {', '.join(sorted(trials.events_ms))}",
            received=event,
            remedy="Name it in a ReachReading",
        )
    times_ms = np.asarray(trials.events_ms[event], dtype=np.float64)
    if not np.isfinite(times_ms).all() or np.ptp(times_ms) > 1e-3:
        raise DataError(
            event,
            rule="come at one time in all trials",
            received=f"times from {times_ms.min():g} to {times_ms.max():g} ms",
            remedy="Use task.condition_trials(), whose timing is fixed",
        )
    return float(times_ms[0])


def _channels(names: tuple[str, ...], known: tuple[str, ...], what: str) -> list[int]:
    for name in names:
        if name not in known:
            raise SettingsError(
                what,
                rule=f"name channels of the trials ({', '.join(known)})",
                received=name,
                remedy="Say in a ReachReading what they are called",
            )
    return [known.index(name) for name in names]
