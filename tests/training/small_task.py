"""A task so small that training on it compiles in seconds: say the sign of the cue after it went off."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dynaprobe.core.timeline import Epoch, Timeline
from dynaprobe.core.trials import ConditionTable, Trials
from dynaprobe.tasks.base import AbstractTask


class SignTask(AbstractTask):
    """Cue of height +1 or -1 for 3 bins; from bin 4 on the output is to hold it. Odd trials end at bin 8 of 10."""

    dt_ms: float = 10.0

    @property
    def input_names(self):
        return ("cue", "go")

    @property
    def output_names(self):
        return ("z",)

    @property
    def conditions(self):
        return ConditionTable(columns=("sign",), rows=((-1,), (1,)))

    @property
    def timeline(self):
        return Timeline(self.dt_ms, 10, (Epoch("cue", "trial_start", "go_cue"),))

    @property
    def response_event(self):
        return "go_cue"

    def trials(self, key, n_trials):
        return self._build(jax.random.randint(key, (n_trials,), 0, 2))

    def condition_trials(self, n_repeats=1):
        return self._build(jnp.repeat(jnp.arange(2), n_repeats))

    def performance(self, outputs, trials):
        error = jnp.sum(trials.mask * (outputs - trials.targets) ** 2)
        return {"score": 1 - error / jnp.sum(trials.mask * trials.targets**2)}

    def measured_events(self, outputs, trials):
        return {name: np.asarray(times) for name, times in trials.events_ms.items()}

    def _build(self, condition):
        sign = (2 * condition - 1).astype(jnp.float32)[:, None]
        time = jnp.arange(10)
        n_bins = 10 - 2 * (jnp.arange(condition.size) % 2)
        inputs = jnp.stack([sign * (time < 3), jnp.ones_like(sign) * (time >= 4)], axis=-1)
        asked = (time >= 4) & (time < n_bins[:, None])
        zero = jnp.zeros(condition.shape, jnp.float32)
        return Trials(
            inputs=inputs,
            targets=(sign * asked)[..., None],
            mask=asked[..., None].astype(jnp.float32),
            condition=condition,
            events_ms={"trial_start": zero, "go_cue": zero + 40, "trial_end": zero + 10.0 * n_bins},
            timeline=self.timeline,
            conditions=self.conditions,
            input_names=self.input_names,
            output_names=self.output_names,
        )
