"""The delayed reach: see a target, wait for the go cue, reach (after Kao 2019)."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from pydantic import Field, model_validator

from dynaprobe.core.timeline import Epoch, Timeline, in_interval, n_bins
from dynaprobe.core.trials import ConditionTable, Trials
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.kinematics import movement_onset_ms

Milliseconds = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Visibility = Literal["throughout", "until_go", "flash", "off_around_go", "from_go"]

# Movement onset is where speed first exceeds this fraction of its peak, for targets and for networks alike.
ONSET_FRACTION = 0.2
# Folded into the key for the time at which the target goes off: the other draws of a trial stay as they are.
OFF_STREAM = 1_000_003
# The target speed peaks at the radius; an output that never gets to a fifth of it is not a reach.
LEAST_PEAK_FRACTION = 0.2


class DelayedReach(AbstractTask):
    """Centre-out delayed reach with straight reaches of bell-shaped speed.

    With time s since the start of the reach (go cue + `reaction_time_ms`), target direction theta and radius rho:

        speed(s)    = rho exp(-(s - c)^2 / (2 sd^2)),   0 <= s < reach_ms,   c = reach_ms / 2, sd = `speed_sd_ms`
        velocity(s) = speed(s) (cos theta, sin theta)
        position(s) = rho (cos theta, sin theta) F(s),  F the integral of the bell, scaled to run from 0 to 1

    Inputs: ``target_x`` and ``target_y``, rho (cos theta, sin theta) while the target is visible, and ``hold``, 1
    until the go cue. Outputs: ``vx, vy, px, py``. A trial is baseline, delay, movement, post; catch trials have no
    go cue and ask for stillness, half of them show a target.

    Attributes:
        dt_ms: bin width.
        n_targets: number of directions, equally spaced from 0 degrees.
        directions_deg: the directions themselves, in place of `n_targets`.
        radii: target distances.
        baseline_mean_ms, baseline_sd_ms, baseline_range_ms: baseline is ``|N(mean, sd)|`` clipped to the range.
        delay_range_ms: delays are uniform in this range; equal ends give a fixed delay.
        no_delay_fraction: fraction of trials in which target and go cue come together.
        analysis_delay_ms: delay of `condition_trials`.
        reaction_time_ms, reach_ms, speed_sd_ms: the reach, as above.
        movement_ms: length of the movement epoch, which starts at the go cue.
        post_ms: time after the movement epoch in which the position must be held.
        catch_fraction, catch_ms: fraction and length of catch trials.
        target_visible: when the target is seen. ``throughout``: from target onset to the end of movement;
            ``until_go``: from target onset to the go cue; ``flash``: for `flash_ms` from target onset;
            ``off_around_go``: from target onset until go cue + U(`target_off_range_ms`), but for `flash_ms` at
            least; ``from_go``: from the go cue to the end of movement. In a catch trial, where no go cue ends it,
            a target that is shown stays to the end, except for a flash.
        flash_ms: length of a flash, and the least time for which a target that goes off at random is seen.
        target_off_range_ms: when the target goes off after the go cue (before it, if negative), drawn uniformly;
            in `condition_trials` it is the middle of the range.
    """

    dt_ms: Annotated[float, Field(gt=0)] = 10.0
    n_targets: Annotated[int, Field(ge=1)] = 8
    directions_deg: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    radii: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0,)
    baseline_mean_ms: Milliseconds = 200.0
    baseline_sd_ms: Milliseconds = 50.0
    baseline_range_ms: tuple[Milliseconds, Milliseconds] = (100.0, 300.0)
    delay_range_ms: tuple[Milliseconds, Milliseconds] = (150.0, 1000.0)
    no_delay_fraction: Fraction = 0.2
    analysis_delay_ms: Milliseconds = 500.0
    reaction_time_ms: Milliseconds = 150.0
    reach_ms: Annotated[float, Field(gt=0)] = 500.0
    speed_sd_ms: Annotated[float, Field(gt=0)] = 71.0
    movement_ms: Annotated[float, Field(gt=0)] = 1000.0
    post_ms: Milliseconds = 300.0
    catch_fraction: Fraction = 0.1
    catch_ms: Annotated[float, Field(gt=0)] = 2000.0
    target_visible: Visibility = "throughout"
    flash_ms: Annotated[float, Field(gt=0)] = 150.0
    target_off_range_ms: tuple[float, float] = (-200.0, 400.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("baseline_range_ms", "delay_range_ms", "target_off_range_ms"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} runs from low to high")
        if self.target_visible == "until_go" and self.no_delay_fraction > 0:
            # Target and go cue together: the target would go off as it comes on, and could not be reached for.
            raise ValueError("no_delay_fraction is 0 with target_visible 'until_go'")
        if self.reaction_time_ms + self.reach_ms > self.movement_ms:
            raise ValueError("movement_ms holds reaction_time_ms and reach_ms")
        return self

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("target_x", "target_y", "hold")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return ("vx", "vy", "px", "py")

    @property
    def conditions(self) -> ConditionTable:
        """Directions of the first radius, then of the second, and so on."""
        step_deg = 360.0 / self.n_targets
        directions_deg = self.directions_deg or tuple(k * step_deg for k in range(self.n_targets))
        rows = tuple((direction, radius) for radius in self.radii for direction in directions_deg)
        return ConditionTable(columns=("direction_deg", "radius"), rows=rows)

    @property
    def shortest_delay_ms(self) -> float:
        """The shortest delay of any trial: 0 where some trials have none."""
        return 0.0 if self.no_delay_fraction > 0 else self.delay_range_ms[0]

    @property
    def timeline(self) -> Timeline:
        """Long enough for the longest trial the settings allow."""
        longest_delay_ms = max(self.delay_range_ms[1], self.analysis_delay_ms)
        reach_trial_ms = self.baseline_range_ms[1] + longest_delay_ms + self.movement_ms + self.post_ms
        longest_ms = max(reach_trial_ms, self.catch_ms if self.catch_fraction > 0 else 0.0)
        epochs = (
            Epoch("baseline", "trial_start", "target_on"),
            Epoch("delay", "target_on", "go_cue"),
            Epoch("movement", "go_cue", "movement_end"),
            Epoch("post", "movement_end", "trial_end"),
        )
        return Timeline(self.dt_ms, n_bins(longest_ms, self.dt_ms), epochs)

    @property
    def response_event(self) -> str:
        """The event before which no output may be asked for."""
        return "go_cue"

    def trials(self, key: PRNGKeyArray, n_trials: int) -> Trials:
        """Random trials as met in training: same key, same trials."""
        keys = jax.random.split(key, 6)
        condition = jax.random.randint(keys[0], (n_trials,), 0, len(self.conditions))
        normal = jax.random.normal(keys[1], (n_trials,), dtype=jnp.float32)
        baseline_ms = jnp.abs(self.baseline_mean_ms + self.baseline_sd_ms * normal)
        baseline_ms = jnp.clip(baseline_ms, *self.baseline_range_ms)
        uniform = jax.random.uniform(keys[2], (n_trials,), dtype=jnp.float32)
        low_ms, high_ms = self.delay_range_ms
        delay_ms = low_ms + (high_ms - low_ms) * uniform
        delay_ms = jnp.where(jax.random.bernoulli(keys[3], self.no_delay_fraction, (n_trials,)), 0.0, delay_ms)
        catch = jax.random.bernoulli(keys[4], self.catch_fraction, (n_trials,))
        shown = ~catch | jax.random.bernoulli(keys[5], 0.5, (n_trials,))
        uniform = jax.random.uniform(jax.random.fold_in(key, OFF_STREAM), (n_trials,), dtype=jnp.float32)
        low_ms, high_ms = self.target_off_range_ms
        events_ms = self._events(baseline_ms, delay_ms, catch, shown, low_ms + (high_ms - low_ms) * uniform)
        return self._build(condition, events_ms, catch)

    def condition_trials(self, n_repeats: int = 1) -> Trials:
        """`n_repeats` trials of every condition with the mean baseline and `analysis_delay_ms`."""
        condition = jnp.repeat(jnp.arange(len(self.conditions)), n_repeats)
        everywhere = jnp.ones(condition.shape, dtype=jnp.float32)
        never = jnp.zeros(condition.shape, dtype=bool)
        baseline_ms = min(max(self.baseline_mean_ms, self.baseline_range_ms[0]), self.baseline_range_ms[1])
        delay_ms, off_ms = self.analysis_delay_ms * everywhere, sum(self.target_off_range_ms) / 2 * everywhere
        return self._build(
            condition, self._events(baseline_ms * everywhere, delay_ms, never, ~never, off_ms), never
        )

    def performance(
        self, outputs: Float[Array, "trial time output"], trials: Trials
    ) -> dict[str, Float[Array, ""]]:
        """R2 of velocity and of position over all masked bins; the score is the smaller of the two.

            R2 = 1 - sum (z - target)^2 / sum (target - mean target)^2

        Both sums run over the two channels, each with its own mean.
        """
        weight = trials.mask
        mean = jnp.sum(weight * trials.targets, (0, 1)) / jnp.sum(weight, (0, 1))
        residual = jnp.sum(weight * (outputs - trials.targets) ** 2, (0, 1))
        total = jnp.sum(weight * (trials.targets - mean) ** 2, (0, 1))
        velocity = 1 - jnp.sum(residual[:2]) / jnp.sum(total[:2])
        position = 1 - jnp.sum(residual[2:]) / jnp.sum(total[2:])
        return {"r2_velocity": velocity, "r2_position": position, "score": jnp.minimum(velocity, position)}

    def measured_events(
        self, outputs: Float[np.ndarray, "trial time output"], trials: Trials
    ) -> dict[str, Float[np.ndarray, " trial"]]:
        """The events with movement onset where the output's speed exceeds `ONSET_FRACTION` of its peak.

        NaN where the peak speed stays below `LEAST_PEAK_FRACTION` of the smallest radius: such a trial has not
        moved.
        """
        events_ms = {name: np.asarray(times, dtype=np.float64) for name, times in trials.events_ms.items()}
        outputs = np.asarray(outputs, dtype=np.float64)
        events_ms["move_onset"] = movement_onset_ms(
            np.hypot(outputs[..., 0], outputs[..., 1]),
            trials.timeline.time_ms,
            start_ms=events_ms["go_cue"],
            stop_ms=events_ms["movement_end"],
            fraction=ONSET_FRACTION,
            least_peak=LEAST_PEAK_FRACTION * min(self.radii),
        )
        return events_ms

    def _events(
        self,
        baseline_ms: Float[Array, " trial"],
        delay_ms: Float[Array, " trial"],
        catch: Bool[Array, " trial"],
        shown: Bool[Array, " trial"],
        off_ms: Float[Array, " trial"],
    ) -> dict[str, Float[Array, " trial"]]:
        """When everything happens; `catch` trials have no go cue, only `shown` ones a target."""
        target_on = jnp.where(shown, baseline_ms, jnp.nan)
        go_cue = jnp.where(catch, jnp.nan, baseline_ms + delay_ms)
        movement_end = go_cue + self.movement_ms
        trial_end = jnp.where(catch, self.catch_ms, movement_end + self.post_ms)
        flash_end = target_on + self.flash_ms
        latest = jnp.where(catch, trial_end, movement_end)
        # NaN where there is no target: the larger and the smaller of NaN and anything are NaN.
        target_off = {
            "throughout": latest,
            "until_go": jnp.where(catch, trial_end, go_cue),
            "flash": jnp.minimum(flash_end, latest),
            "off_around_go": jnp.where(
                catch, trial_end, jnp.clip(go_cue + off_ms, jnp.minimum(flash_end, latest), latest)
            ),
            "from_go": movement_end,
        }[self.target_visible]
        return {
            "trial_start": jnp.zeros_like(baseline_ms),
            "target_on": target_on,
            "go_cue": go_cue,
            "move_onset": go_cue + self.reaction_time_ms + self._onset_after_reach_start_ms(),
            "target_off": jnp.where(shown, target_off, jnp.nan),
            "movement_end": movement_end,
            "trial_end": trial_end,
        }

    def _build(
        self,
        condition: Int[Array, " trial"],
        events_ms: dict[str, Float[Array, " trial"]],
        catch: Bool[Array, " trial"],
    ) -> Trials:
        """Trials from their timing."""
        timeline = self.timeline
        time_ms = jnp.asarray(timeline.time_ms, dtype=jnp.float32)
        go_cue = events_ms["go_cue"]
        table = jnp.asarray(self.conditions.rows, dtype=jnp.float32)[condition]
        theta, radius = jnp.deg2rad(table[:, 0]), table[:, 1]
        target = (radius * jnp.stack([jnp.cos(theta), jnp.sin(theta)])).T

        def within(start_ms: Array, stop_ms: Array) -> Array:
            inside: Array = in_interval(time_ms, start_ms[:, None], stop_ms[:, None], self.dt_ms)
            return inside.astype(jnp.float32)

        first = go_cue if self.target_visible == "from_go" else events_ms["target_on"]
        visible = within(first, events_ms["target_off"])
        # A catch trial ends without go cue: hold then lasts until its end.
        hold = within(events_ms["trial_start"], jnp.where(catch, events_ms["trial_end"], go_cue))
        inputs = jnp.concatenate([visible[..., None] * target[:, None, :], hold[..., None]], axis=-1)

        since_ms = time_ms - (go_cue + self.reaction_time_ms)[:, None]
        since_ms = jnp.where(catch[:, None], -1.0, since_ms)
        speed, travelled = self._bell(since_ms)
        targets = jnp.concatenate(
            [speed[..., None] * target[:, None, :], travelled[..., None] * target[:, None, :]], axis=-1
        )
        inside = within(events_ms["trial_start"], events_ms["trial_end"])
        mask = jnp.broadcast_to(inside[..., None], targets.shape)
        return Trials(
            inputs=inputs,
            targets=targets * mask,
            mask=mask,
            condition=jnp.where(catch, -1, condition),
            events_ms=events_ms,
            timeline=timeline,
            conditions=self.conditions,
            input_names=self.input_names,
            output_names=self.output_names,
        )

    def _bell(self, since_ms: Float[Array, "..."]) -> tuple[Array, Array]:
        """Speed (peak 1) and fraction of the way travelled, at times since the start of the reach."""
        moving = (since_ms >= 0) & (since_ms < self.reach_ms)
        z = (since_ms - self.reach_ms / 2) / self.speed_sd_ms
        edge = math.erf(self.reach_ms / 2 / self.speed_sd_ms / math.sqrt(2))
        travelled = (erf(z / math.sqrt(2)) + edge) / (2 * edge)
        travelled = jnp.where(since_ms >= 0, jnp.clip(travelled, 0.0, 1.0), 0.0)
        return jnp.where(moving, jnp.exp(-0.5 * z**2), 0.0), travelled

    def _onset_after_reach_start_ms(self) -> float:
        """When the bell first exceeds `ONSET_FRACTION` of its peak."""
        rise_ms = self.reach_ms / 2 - self.speed_sd_ms * math.sqrt(-2 * math.log(ONSET_FRACTION))
        return max(rise_ms, 0.0)
