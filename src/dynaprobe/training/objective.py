"""What training minimises: masked squared error plus penalties, one row each in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.trials import Trials
from dynaprobe.model.response import Response
from dynaprobe.model.rnn import AbstractNetwork

Scalar = Float[Array, ""]


OfActivity = Callable[[Response, Float[Array, "time trial"]], Scalar]


@dataclass(frozen=True)
class Penalty:
    """One row of the table, before its weight; a row without a function is the vanishing-gradient term.

    That term is no function of weights or activity: it lives in the backward pass
    (`dynaprobe.model.recurrence.evolve`).

    Attributes:
        summary: the term as an equation.
        of_weights: the term as a function of the network.
        of_activity: the term as a function of a response and of one weight per time and trial. These weights
            sum to 1 over the valid bins of a batch, so the terms of its parts add up to the mean over all of it.
    """

    summary: str
    of_weights: Callable[[AbstractNetwork], Scalar] | None = None
    of_activity: OfActivity | None = None


def _mean_squared_rate(response: Response, weight: Float[Array, "time trial"]) -> Scalar:
    return jnp.sum(weight * response.power) / response.rates.shape[-1]


def _mean_squared_weight(matrix: str) -> Callable[[AbstractNetwork], Scalar]:
    return lambda network: jnp.mean(network.weights()[matrix] ** 2)


# By name of the setting (and of the ensemble's hyperparameter) that holds the weight.
PENALTIES: dict[str, Penalty] = {
    "penalty_rate": Penalty("mean r^2 over trials, valid times and units", of_activity=_mean_squared_rate),
    "penalty_weight_in": Penalty("mean W_in^2", _mean_squared_weight("in")),
    "penalty_weight_rec": Penalty("mean W_rec^2", _mean_squared_weight("rec")),
    "penalty_weight_out": Penalty("mean W_out^2", _mean_squared_weight("out")),
    "penalty_vanishing": Penalty("mean (|(dx_t+1/dx_t)' dE/dx_t+1| / |dE/dx_t+1| - 1)^2"),
}


class Terms(eqx.Module):
    """The cost of one batch and its parts.

    Attributes:
        cost: loss + penalties; the vanishing-gradient term appears only together with gradients.
        loss: the masked mean squared error.
        outputs: z.
    """

    cost: Scalar
    loss: Scalar
    outputs: Float[Array, "trial time output"]


def masked_loss(
    outputs: Float[Array, "..."], targets: Float[Array, "..."], mask: Float[Array, "..."], *, n_asked: Scalar
) -> Scalar:
    """Squared error ``sum m (z - target)^2 / n_asked`` over what the mask m asks for here."""
    return jnp.sum(mask * (outputs - targets) ** 2) / n_asked


def valid_bins(mask: Float[Array, "trial time output"]) -> Float[Array, "time trial"]:
    """1 up to and including the last bin in which a trial asks for something, 0 after it."""
    asked = jnp.any(mask > 0, axis=-1).T
    bins = jnp.arange(asked.shape[0])[:, None]
    # A running maximum would say the same and take several times as long.
    return (bins <= jnp.max(jnp.where(asked, bins, -1), axis=0)).astype(mask.dtype)


class Part(eqx.Module):
    """What a part of a batch must know of the whole, for the costs of all parts to add up to that of the batch.

    Attributes:
        n_asked: sum of the mask over the batch.
        n_valid: number of valid bins in the batch.
        fraction: the part's share of the terms that belong to no trial.
        first_trial: number of the part's first trial in the batch.
    """

    n_asked: Scalar
    n_valid: Scalar
    fraction: Scalar
    first_trial: Int[Array, ""]


def whole_batch(trials: Trials) -> Part:
    """The part that is all of a batch."""
    n_valid = jnp.sum(valid_bins(trials.mask))
    return Part(jnp.sum(trials.mask), n_valid, jnp.ones((), n_valid.dtype), jnp.int32(0))


def cost(
    network: AbstractNetwork,
    penalties: Mapping[str, Scalar],
    trials: Trials,
    key: PRNGKeyArray | None,
    *,
    part: Part | None = None,
    n_segments: int = 1,
) -> Terms:
    """Loss and penalties of one network on one batch, or on a part of it.

        cost = sum m (z - target)^2 / sum m + sum_k lambda_k P_k

    The gradient with respect to the weights holds the vanishing-gradient term as well, and the gradient with
    respect to ``penalties["penalty_vanishing"]`` is that term; see `dynaprobe.model.recurrence.evolve`.

    Args:
        network: one network.
        penalties: lambda_k for every row of `PENALTIES`.
        trials: the batch, or the trials of the part.
        key: key of the noise; None runs without.
        part: which part of a batch `trials` are; None for all of it.
        n_segments: into how many segments of time the simulation is cut, of which a gradient remembers the
            states between them alone and simulates one at a time once more.
    """
    part = whole_batch(trials) if part is None else part
    weight = valid_bins(trials.mask) / part.n_valid
    start = jnp.broadcast_to(network.initial_state(), (trials.n_trials, *network.initial_state().shape))
    vanishing = penalties["penalty_vanishing"] * weight
    inputs = jnp.swapaxes(trials.inputs, 0, 1)

    def respond(
        state: Float[Array, "trial unit"], of_segment: tuple[Array, ...]
    ) -> tuple[Float[Array, "trial unit"], tuple[Array, dict[str, Scalar]]]:
        inputs, vanishing, weight, first_time = of_segment
        response = network.respond(inputs, state, key, vanishing, first=(first_time, part.first_trial))
        rows = {name: row.of_activity for name, row in PENALTIES.items() if row.of_activity}
        return response.last, (response.outputs, {name: term(response, weight) for name, term in rows.items()})

    if n_segments == 1:
        _, (outputs, of_activity) = respond(start, (inputs, vanishing, weight, jnp.int32(0)))
    else:
        outputs, of_activity = _in_segments(respond, start, (inputs, vanishing, weight), n_segments)
    outputs = jnp.swapaxes(outputs, 0, 1)
    loss = masked_loss(outputs, trials.targets, trials.mask, n_asked=part.n_asked)
    terms = [penalties[name] * term for name, term in of_activity.items()]
    terms += [
        penalties[name] * part.fraction * row.of_weights(network)
        for name, row in PENALTIES.items()
        if row.of_weights
    ]
    return Terms(loss + sum(terms), loss, outputs)


def _in_segments(
    respond: Callable[..., Any], start: Float[Array, "trial unit"], over_time: tuple[Array, ...], n_segments: int
) -> tuple[Array, dict[str, Scalar]]:
    """Scan `respond` over segments of equal length; the last one is filled up with bins that count for nothing."""
    n_times = over_time[0].shape[0]
    length = -(-n_times // n_segments)

    def cut(values: Array) -> Array:
        padding = [(0, n_segments * length - n_times)] + [(0, 0)] * (values.ndim - 1)
        return jnp.pad(values, padding).reshape(n_segments, length, *values.shape[1:])

    segments = (*map(cut, over_time), jnp.arange(n_segments) * length)
    _, (outputs, terms) = jax.lax.scan(jax.checkpoint(respond), start, segments)
    return outputs.reshape(-1, *outputs.shape[2:])[:n_times], {name: jnp.sum(t) for name, t in terms.items()}


def check_hyperparameters(names: Mapping[str, object]) -> None:
    """Refuse hyperparameters of an ensemble that training does not know.

    Raises:
        SettingsError: when a name is not a row of `PENALTIES`.
    """
    for name in names:
        if name not in PENALTIES:
            raise SettingsError(
                "hyperparameter",
                rule=f"be one of {', '.join(PENALTIES)}",
                received=name,
                remedy="Rename it, or add a row to the table of penalties",
            )
