"""One update and one validation, for one member at a time; and how they run for all members on all devices."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from dynaprobe.core.trials import Trials
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.training.objective import Part, Terms, cost
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.shares import added_up, over_shares
from dynaprobe.training.state import OPTIMISER, MemberState, Phase

# What one member brings: its state, its key and its penalty weights.
Member = tuple[MemberState, Key[Array, "*member"], dict[str, Float[Array, "*member"]]]


def learning_rate(settings: FitSettings, update: Int[Array, ""]) -> Float[Array, ""]:
    """Learning rate of an update: linear warm-up, then from `learning_rate` to `learning_rate_end`.

    With s from 0 after warm-up to 1 at the last update: ``cosine`` is end + (peak - end)(1 + cos pi s)/2,
    ``exponential`` is peak (end/peak)^s.
    """
    peak, end = settings.learning_rate, settings.learning_rate_end
    n_falling = max(settings.n_updates - 1 - settings.warmup_updates, 1)
    k = update.astype(jnp.float32)
    s = jnp.clip((k - settings.warmup_updates) / n_falling, 0.0, 1.0)
    falling = {
        "cosine": end + (peak - end) * 0.5 * (1 + jnp.cos(jnp.pi * s)),
        "exponential": peak * (end / peak) ** s,
        "constant": jnp.full_like(s, peak),
    }[settings.schedule]
    warming = peak * (k + 1) / max(settings.warmup_updates, 1)
    return jnp.where(k < settings.warmup_updates, warming, falling)


class Layout(NamedTuple):
    """How the work on one member is laid out.

    Attributes:
        n_columns: devices that divide its shares among them.
        n_segments: segments of time of a simulation.
    """

    n_columns: int
    n_segments: int


def update_member(
    task: AbstractTask, settings: FitSettings, member: Member, update: Int[Array, ""], *, layout: Layout
) -> MemberState:
    """One update of one member that is still training.

    When loss or gradient are not finite, nothing changes but the phase: the parameters go back to the best ones.
    """
    state, key, penalties = member
    key_trials, key_noise = jax.random.split(jax.random.fold_in(key, update))
    trials = task.trials(key_trials, settings.batch_size)
    parameters, fixed = eqx.partition(state.network, state.network.trainable())

    def of_share(trials: Trials, part: Part) -> Any:
        def total(of: tuple[Any, dict[str, Array]]) -> tuple[Float[Array, ""], Float[Array, ""]]:
            network = eqx.combine(of[0], fixed)
            terms = cost(network, of[1], trials, key_noise, part=part, n_segments=layout.n_segments)
            return terms.cost, terms.loss

        return jax.value_and_grad(total, has_aux=True)((parameters, penalties))

    shares = over_shares(of_share, trials, n_columns=layout.n_columns)
    (batch_cost, loss), (gradient, by_penalty) = added_up(shares)
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
    shortened = jax.tree.map(lambda g: g * jnp.minimum(1.0, settings.clip_norm / norm), gradient)
    steps, moments = OPTIMISER.update(shortened, state.optimiser)
    rate = learning_rate(settings, update)
    moved = jax.tree.map(lambda p, step: p - rate * step, parameters, steps)
    moved = eqx.combine(moved, fixed).constrained()
    phase = jnp.where(
        ~jnp.isfinite(batch_cost),
        Phase.LOSS_NOT_FINITE,
        jnp.where(jnp.isfinite(norm), Phase.TRAINING, Phase.GRADIENT_NOT_FINITE),
    ).astype(jnp.int32)
    fine = phase == Phase.TRAINING
    vanishing = penalties["penalty_vanishing"] * by_penalty["penalty_vanishing"]
    history = eqx.tree_at(
        lambda h: (h.loss, h.cost, h.gradient_norm),
        state.history,
        (
            state.history.loss.at[update].set(loss),
            state.history.cost.at[update].set(batch_cost + vanishing),
            state.history.gradient_norm.at[update].set(norm),
        ),
    )
    return MemberState(
        network=_choose(fine, moved, state.best),
        optimiser=_choose(fine, moments, state.optimiser),
        phase=phase,
        stopped_at=jnp.where(fine, state.stopped_at, update),
        best=state.best,
        best_cost=state.best_cost,
        best_update=state.best_update,
        n_stale=state.n_stale,
        history=history,
    )


def validate_member(
    trials: Trials, member: Member, update: Int[Array, ""], patience: Int[Array, ""], *, layout: Layout
) -> tuple[MemberState, Float[Array, "trial time output"]]:
    """Cost of one training member on the held-out trials after an update; keeps its parameters if they are best.

    Returns:
        The member, and its outputs, from which the measures of the task are to be made.
    """
    state, key, penalties = member
    # Noise as in training, the same at every validation: the member's own stream beside those of its updates.
    key_noise = jax.random.fold_in(key, np.uint32(2**32 - 1))

    def of_share(trials: Trials, part: Part) -> Terms:
        return cost(state.network, penalties, trials, key_noise, part=part, n_segments=layout.n_segments)

    shares = over_shares(of_share, trials, n_columns=layout.n_columns)
    outputs = shares.outputs.reshape(-1, *shares.outputs.shape[2:])
    validation_cost, validation_loss = added_up((shares.cost, shares.loss))
    better = validation_cost < state.best_cost
    n_stale = jnp.where(better, 0, state.n_stale + 1)
    stops = n_stale >= patience
    past = state.history
    history = eqx.tree_at(
        lambda h: (h.validation_cost, h.validation_loss),
        past,
        (
            past.validation_cost.at[update].set(validation_cost),
            past.validation_loss.at[update].set(validation_loss),
        ),
    )
    validated = MemberState(
        network=state.network,
        optimiser=state.optimiser,
        phase=jnp.where(stops, Phase.OUT_OF_PATIENCE, state.phase).astype(jnp.int32),
        stopped_at=jnp.where(stops, update, state.stopped_at),
        best=_choose(better, state.network, state.best),
        best_cost=jnp.where(better, validation_cost, state.best_cost),
        best_update=jnp.where(better, update, state.best_update),
        n_stale=n_stale,
        history=history,
    )
    return validated, outputs


def _choose(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
