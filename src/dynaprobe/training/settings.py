"""Settings of a fit."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dynaprobe.core.settings import Settings

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class FitSettings(Settings):
    """How an ensemble is trained. Penalty weights given per member in the ensemble override those given here.

    Attributes:
        n_updates: number of parameter updates.
        batch_size: fresh trials per update and member.
        learning_rate: highest learning rate of Adam.
        learning_rate_end: learning rate of the last update.
        schedule: how the rate falls in between: ``cosine``, ``exponential``, or ``constant``.
        warmup_updates: the rate first climbs from 0 to the highest over so many updates.
        clip_norm: gradients longer than this are shortened to it, member by member.
        penalty_rate: weight of mean r^2.
        penalty_weight_in, penalty_weight_rec, penalty_weight_out: weights of mean W^2 of each matrix.
        penalty_vanishing: weight of the vanishing-gradient term.
        n_validation_trials: size of the fixed set of held-out trials.
        validate_every: updates between validations.
        threshold: validation score from which a network counts as having learned the task.
        patience: validations without improvement after which a member stops; None trains all updates.
        checkpoint_every: updates between checkpoints; None makes none.
        memory_gb: budget for the activity that gradients remember, of all devices together, in 10^9 bytes. Trials
            too long for it are simulated in segments, each of them twice; the numbers then differ by round-off.
    """

    n_updates: Count = 1000
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    learning_rate_end: Positive = 1e-4
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_updates: Annotated[int, Field(ge=0)] = 0
    clip_norm: Positive = 1.0
    penalty_rate: Weight = 0.0
    penalty_weight_in: Weight = 1e-3
    penalty_weight_rec: Weight = 1e-3
    penalty_weight_out: Weight = 1e-3
    penalty_vanishing: Weight = 2.0
    n_validation_trials: Count = 128
    validate_every: Count = 25
    threshold: Annotated[float, Field(le=1)] = 0.9
    patience: Count | None = None
    checkpoint_every: Count | None = None
    memory_gb: Positive = 2.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.learning_rate_end > self.learning_rate:
            raise ValueError(
                f"learning_rate_end ({self.learning_rate_end:g}) does not exceed "
                f"learning_rate ({self.learning_rate:g})"
            )
        if self.warmup_updates >= self.n_updates:
            raise ValueError(
                f"warmup_updates ({self.warmup_updates}) is smaller than n_updates ({self.n_updates})"
            )
        return self
