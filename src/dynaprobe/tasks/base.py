"""What every task offers. A task is its own settings record: frozen, hashable, readable from TOML."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dynaprobe.core.settings import Settings
from dynaprobe.core.timeline import Timeline
from dynaprobe.core.trials import ConditionTable, Trials


class AbstractTask(Settings):
    """A task: makes trials and says how well outputs solve them.

    `trials` must be a pure function of its key that JAX can trace (no Python branching on random values),
    because training makes fresh trials inside the compiled update.
    """

    dt_ms: float

    @property
    @abstractmethod
    def input_names(self) -> tuple[str, ...]:
        """Names of the input channels."""

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """Names of the output channels."""

    @property
    @abstractmethod
    def conditions(self) -> ConditionTable:
        """All conditions, catch trials excluded."""

    @property
    @abstractmethod
    def timeline(self) -> Timeline:
        """Bin width, number of bins of the longest trial, epochs."""

    @property
    @abstractmethod
    def response_event(self) -> str:
        """The event before which no output may be asked for."""

    @abstractmethod
    def trials(self, key: PRNGKeyArray, n_trials: int) -> Trials:
        """Random trials as met in training: same key, same trials."""

    @abstractmethod
    def condition_trials(self, n_repeats: int = 1) -> Trials:
        """`n_repeats` trials of every condition with fixed timing and no catch trials, for analyses and figures.

        Trial ``i`` has condition ``i // n_repeats``.
        """

    @abstractmethod
    def performance(
        self, outputs: Float[Array, "trial time output"], trials: Trials
    ) -> dict[str, Float[Array, ""]]:
        """Named measures of success, larger is better; ``"score"`` decides whether it was learned."""

    @abstractmethod
    def measured_events(
        self, outputs: Float[np.ndarray, "trial time output"], trials: Trials
    ) -> dict[str, Float[np.ndarray, " trial"]]:
        """The events of the trials, those that only the behaviour decides (movement onset) measured on it."""
