"""The target changes to another one, before or after the go cue: does the network follow, and by which way?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.probes.measures import (
    N_BOOTSTRAP,
    direction_error_deg,
    draw_counts,
    is_too_short,
    weighted_mean,
    with_interval,
)
from dynaprobe.analysis.probes.runs import check_fits, run
from dynaprobe.analysis.probes.scene import REACH, ReachReading, Scene, set_scene
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork

SWITCH_MS = (-300.0, -200.0, -100.0, -50.0, 0.0, 50.0, 100.0, 150.0, 200.0)
# A preparatory state counts as visited when the state comes within this fraction of the way from A's to B's.
VISIT_WITHIN = 0.25
# Where the trials of A and B are closer than this fraction of their largest distance, neither can be told.
TELLING_FRACTION = 0.1
ALIKE = 1e-5


@dataclass(frozen=True)
class TargetSwitchProbe(Result):
    """Trials in which the target changes from A to B, for all ordered pairs of conditions.

    Variables of `data`, over switch times relative to the go cue:
        success ``(switch_ms,)``: fraction of pairs whose end point lies within `within` of the goal of B; a
            movement too short to have a direction has reached nothing.
        end_point_error, direction_error_deg ``(switch_ms,)``: mean distance and mean absolute angle to B's goal;
            movements too short to have a direction are left out of the latter, and counted in `failures`.
        visited ``(switch_ms,)``: fraction of pairs in which the state, from the switch to the end of the movement,
            comes to B's preparatory state within `VISIT_WITHIN` of the distance between those of A and B.
        state_reaction_ms, output_reaction_ms ``(switch_ms,)``: mean time from the switch until states (outputs)
            are closer to those of the trial of B at that moment than to those of A; NaN where they never are.
    these with ``_low`` and ``_high``, and by pair:
        end_point ``(switch_ms, pair, axis)``, goal ``(pair, axis)``, is_success, nearest_to_b,
        state_reaction_by_pair_ms, output_reaction_by_pair_ms ``(switch_ms, pair)``; coordinates ``from_condition``
        and ``to_condition``.
        nearest_to_b is the smallest distance to B's preparatory state in that time, in units of the distance
        between the preparatory states; nearest_to_b_unswitched ``(switch_ms, pair)`` is that of the trial of A.
    The path, means over pairs in the same unit:
        distance_to_a, distance_to_b ``(switch_ms, time)``: distances of the state to both preparatory states.
        progress ``(switch_ms, time)``: the state along the line from A's preparatory state (0) to B's (1).
    """


def target_switch(
    network: AbstractNetwork,
    trials: Trials,
    *,
    after: Trials | None = None,
    switch_ms: Sequence[float] = SWITCH_MS,
    within: float = 0.2,
    reading: ReachReading = REACH,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> TargetSwitchProbe:
    """Switch the target from A to B at several times around the go cue; see `TargetSwitchProbe`.

    Inputs are those of the trial of A before the switch and those of the trial of B from it on; where it comes at
    the go cue or later, those of B in `after`. An earlier switch shows what the task does, so that a network meets
    nothing but the switch that it does not know: one that never had the target in sight while it moved may fail
    with it there even where nothing switches. The preparatory
    state of a condition is its state in the last bin before the go cue. Trials run without noise; intervals are
    95 % percentiles over draws, with replacement, of conditions A and, independently, of conditions B.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        after: what is shown from a switch at the go cue or later, same conditions and timing; default `trials`.
            Where the task takes the target away, give trials of the task with the target visible, or such a switch
            shows nothing.
        switch_ms: times of the switch relative to the go cue.
        within: distance from B's goal that counts as success, in output units.
        reading: names of channels and events.
        n_bootstrap: draws behind the intervals.
        seed: of the draws.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`, or an `after` that does not
            match `trials`.
    """
    check_at_least("n_bootstrap", n_bootstrap, 1)
    check_at_least("number of switch times", len(switch_ms), 1)
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    check_at_least("number of conditions", scene.n_conditions, 2)
    shown = _matched(scene, after, reading)
    from_, to = np.nonzero(~np.eye(scene.n_conditions, dtype=bool))
    bins = [scene.bin_from_go(time, "switch_ms") for time in switch_ms]
    pairs = _Pairs(scene, from_, to, *run(network, scene.inputs))
    found = []
    for at in bins:
        then = shown if at >= scene.go else scene.inputs
        found.append(pairs.measure(*run(network, np.concatenate([scene.inputs[:at, from_], then[at:, to]])), at))
    counts = draw_pairs(scene.n_conditions, from_, to, n_bootstrap=n_bootstrap, seed=seed)
    data = _dataset(scene, pairs, found, within, counts)
    data = data.assign_coords(switch_ms=np.asarray(switch_ms, dtype=np.float64))
    data["switch_ms"].attrs.update(units="ms", event=reading.go)
    reached_for = np.broadcast_to(data["goal"], data["end_point"].shape)
    n_short = int(is_too_short(data["end_point"].values, reached_for).sum())
    return TargetSwitchProbe(
        data,
        {"within": within, "visit_within": VISIT_WITHIN, "reading": reading.model_dump(), "seed": seed},
        {"movement too short to have a direction": n_short} if n_short else {},
    )


class Followed(NamedTuple):
    """Share of pairs that end at B, mean over the switch times of a group; NaN for a group without a time.

    Attributes:
        early: before the go cue.
        early_trained: of these, those that leave B at least the shortest delay of training.
        early_short: of these, those closer to the go cue than any delay of training.
        late: at the go cue or later.
    """

    early: float
    early_trained: float
    early_short: float
    late: float


def shares_followed(data: xr.Dataset, shortest_delay_ms: float) -> Followed:
    """The successes of a `TargetSwitchProbe` by what a switch leaves for preparation.

    Args:
        data: holds ``success (switch_ms,)``.
        shortest_delay_ms: of the network's training; NaN where that is not known, and neither part of the early
            switches then has a time.
    """
    left_ms, success = -data["switch_ms"].values.astype(np.float64), data["success"].values
    early = left_ms > 0
    groups = (early, early & (left_ms >= shortest_delay_ms), early & (left_ms < shortest_delay_ms), ~early)
    return Followed(*(float(success[group].mean()) if group.any() else float("nan") for group in groups))


def draw_pairs(
    n_conditions: int, from_: np.ndarray, to: np.ndarray, *, n_bootstrap: int, seed: int
) -> Float[np.ndarray, "draw pair"]:
    """How often every pair is met when both its sides are drawn with replacement."""
    first, second = (
        draw_counts(n_conditions, seed=seed, name=f"switch {side}", n_bootstrap=n_bootstrap)
        for side in ("from", "to")
    )
    counts: np.ndarray = first[:, from_] * second[:, to]
    return counts


class _Found(NamedTuple):
    end_point: np.ndarray
    state_reaction_ms: np.ndarray
    output_reaction_ms: np.ndarray
    nearest_to_b: np.ndarray
    nearest_unswitched: np.ndarray
    path: dict[str, np.ndarray]


class _Pairs:
    """All ordered pairs of conditions with the trials of each condition left alone."""

    def __init__(
        self, scene: Scene, from_: np.ndarray, to: np.ndarray, states: np.ndarray, outputs: np.ndarray
    ) -> None:
        self.scene, self.from_, self.to = scene, from_, to
        self.states, self.outputs = states.astype(np.float64), outputs
        prepared = self.states[:, scene.go - 1]
        self.a, self.b = prepared[from_], prepared[to]
        apart = np.linalg.norm(self.b - self.a, axis=-1)
        # Two conditions with one preparatory state, to single precision, leave nothing to visit.
        self.apart = np.where(apart > ALIKE * np.linalg.norm(self.b, axis=-1), apart, np.nan)

    def measure(self, states: np.ndarray, outputs: np.ndarray, at: int) -> _Found:
        """What the trials of all pairs did whose target switched at bin `at`."""
        end_point = self.scene.end_points(outputs)
        states = states.astype(np.float64)
        unswitched = self._path(self.states[self.from_])
        path = self._path(states)
        return _Found(
            end_point,
            self._reaction_ms(states, self.states, at),
            self._reaction_ms(outputs, self.outputs, at),
            path["distance_to_b"][:, at : self.scene.end].min(axis=1),
            unswitched["distance_to_b"][:, at : self.scene.end].min(axis=1),
            {name: values.mean(axis=0) for name, values in path.items()},
        )

    def _path(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Distances to both preparatory states and progress between them, ``(pair, time)``."""
        apart = self.apart[:, None]
        line = (self.b - self.a) / apart
        along = np.einsum("ptu,pu->pt", states, line) - np.einsum("pu,pu->p", self.a, line)[:, None]
        return {
            "distance_to_a": np.linalg.norm(states - self.a[:, None], axis=-1) / apart,
            "distance_to_b": np.linalg.norm(states - self.b[:, None], axis=-1) / apart,
            "progress": along / apart,
        }

    def _reaction_ms(self, switched: np.ndarray, alone: np.ndarray, at: int) -> np.ndarray:
        to_a = np.linalg.norm(switched - alone[self.from_], axis=-1)
        to_b = np.linalg.norm(switched - alone[self.to], axis=-1)
        apart = np.linalg.norm(alone[self.from_] - alone[self.to], axis=-1)
        telling = apart > TELLING_FRACTION * apart.max(axis=1, keepdims=True)
        crossed = ((to_b < to_a) & telling)[:, at:]
        first = np.argmax(crossed, axis=1)
        # Bin t holds the state after the step: a change at bin `at` is one step old there.
        return np.where(crossed.any(axis=1), (first + 1) * self.scene.dt_ms, np.nan)


def _matched(
    scene: Scene, after: Trials | None, reading: ReachReading
) -> Float[np.ndarray, "time condition input"]:
    if after is None:
        return scene.inputs
    other = set_scene(after, reading)
    same_table = after.conditions == scene.trials.conditions and np.array_equal(
        np.asarray(after.condition), np.asarray(scene.trials.condition)
    )
    if not same_table or other.inputs.shape != scene.inputs.shape or other.go != scene.go:
        raise DataError(
            "after",
            rule="hold the same conditions, channels and timing as trials",
            received=f"{after.n_trials} trials with the go cue at bin {other.go}, against {scene.n_conditions} "
            f"at {scene.go}",
            remedy="Change only what the task shows, for example target_visible",
        )
    return other.inputs


def _dataset(
    scene: Scene, pairs: _Pairs, found: list[_Found], within: float, counts: Float[np.ndarray, "draw pair"]
) -> xr.Dataset:
    goals = scene.goals[pairs.to]
    end_point = np.stack([one.end_point for one in found])
    error = np.linalg.norm(end_point - goals, axis=-1)
    reached = (error <= within) & ~is_too_short(end_point, np.broadcast_to(goals, end_point.shape))
    nearest = np.stack([one.nearest_to_b for one in found])
    state_ms, output_ms = (
        np.stack([getattr(one, name) for one in found]) for name in ("state_reaction_ms", "output_reaction_ms")
    )
    turned = np.abs(direction_error_deg(end_point, np.broadcast_to(goals, end_point.shape)))
    by_pair = {
        "success": (reached.astype(np.float64), {}),
        "end_point_error": (error, {}),
        "direction_error_deg": (turned, {"units": "degrees"}),
        "visited": (np.where(np.isfinite(nearest), nearest <= VISIT_WITHIN, np.nan), {}),
        "state_reaction_ms": (state_ms, {"units": "ms"}),
        "output_reaction_ms": (output_ms, {"units": "ms"}),
    }
    data = xr.Dataset(
        {
            "end_point": (("switch_ms", "pair", "axis"), end_point),
            "goal": (("pair", "axis"), goals),
            "is_success": (("switch_ms", "pair"), reached),
            "nearest_to_b": (("switch_ms", "pair"), nearest),
            "nearest_to_b_unswitched": (
                ("switch_ms", "pair"),
                np.stack([one.nearest_unswitched for one in found]),
            ),
            "state_reaction_by_pair_ms": (("switch_ms", "pair"), state_ms, {"units": "ms"}),
            "output_reaction_by_pair_ms": (("switch_ms", "pair"), output_ms, {"units": "ms"}),
            **{
                name: (("switch_ms", "time"), np.stack([one.path[name] for one in found]))
                for name in ("distance_to_a", "distance_to_b", "progress")
            },
        },
        coords={
            "from_condition": ("pair", pairs.from_),
            "to_condition": ("pair", pairs.to),
            "time": ("time", scene.time_from_go_ms(), {"units": "ms"}),
        },
    )
    once = np.ones((1, pairs.to.size))
    for name, (values, attrs) in by_pair.items():
        mean, draws = weighted_mean(values, once)[:, 0], weighted_mean(values, counts)
        data = data.assign(with_interval(name, mean, draws, ("switch_ms",), **attrs))
    return data
